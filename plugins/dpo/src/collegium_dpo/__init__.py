"""Preference training on pairs of a better and a worse completion."""
