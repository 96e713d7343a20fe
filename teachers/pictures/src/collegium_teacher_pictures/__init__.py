"""Drawings to count, locate and read, as lab domains of Collegium."""
