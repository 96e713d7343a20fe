"""Additions and subtractions from GSM8K's worked answers, as a lab domain of Collegium."""
