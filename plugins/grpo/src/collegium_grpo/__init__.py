"""Group-relative policy optimisation and its descendants: GRPO, Dr. GRPO, DAPO, GSPO, CISPO."""
