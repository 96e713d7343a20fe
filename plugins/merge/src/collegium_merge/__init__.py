"""Merging of models: averages, task arithmetic, TIES and DARE."""
