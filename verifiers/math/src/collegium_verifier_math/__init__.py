"""Verifier for mathematical answers."""
