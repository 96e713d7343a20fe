"""Two-step Python expressions, run against tests, as a lab domain of Collegium."""
