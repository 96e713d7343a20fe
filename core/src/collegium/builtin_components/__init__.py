"""The core's own components: their options in light modules, their classes beside them."""
