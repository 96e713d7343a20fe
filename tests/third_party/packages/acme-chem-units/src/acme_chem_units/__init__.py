"""Verifier of chemical quantities, equal up to unit and tolerance."""
