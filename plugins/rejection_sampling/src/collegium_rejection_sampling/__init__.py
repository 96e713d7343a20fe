"""Rejection sampling: the best of several completions as training data."""
