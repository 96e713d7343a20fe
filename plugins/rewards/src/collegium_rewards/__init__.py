"""Rewards composed of others, rewards from rubrics, and controls of length and entropy."""
