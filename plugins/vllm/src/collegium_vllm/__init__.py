"""Engines that sample with vLLM."""
