"""Data stages: curating, filtering by difficulty, pairs by delta learning, Ghost Attention dialogues."""
