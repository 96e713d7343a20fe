"""Real words under checkable constraints of form, as a lab domain of Collegium."""
