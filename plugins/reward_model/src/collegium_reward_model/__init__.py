"""Reward models: trained on preferences, and used as a reward."""
