"""Reward functions in TRL's signature, as a reward source."""
