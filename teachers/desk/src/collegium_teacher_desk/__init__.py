"""Small errands that need a calculator, a database or a Python prompt, as a lab domain of Collegium."""
