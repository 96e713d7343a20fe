"""Supervised stages: pretraining on text, fine-tuning on demonstrations."""
