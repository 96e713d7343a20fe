"""Verifier for tool use."""
