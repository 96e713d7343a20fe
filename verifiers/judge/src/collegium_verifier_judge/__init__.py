"""Verifiers by model: an LLM judge over an endpoint, and a reward model from a checkpoint."""
