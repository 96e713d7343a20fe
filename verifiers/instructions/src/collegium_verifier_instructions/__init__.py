"""Verifier for verifiable instructions. Own constraints are added with `constraint`."""

from collegium_verifier_instructions.registry import Unavailable, constraint

__all__ = ["Unavailable", "constraint"]
