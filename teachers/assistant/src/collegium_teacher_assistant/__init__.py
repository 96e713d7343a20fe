"""Short instructions answered politely or not, requests to refuse, and the preferences that follow from them."""
