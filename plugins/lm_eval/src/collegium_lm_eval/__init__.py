"""The stage `lm-eval`: lm-evaluation-harness tasks with local data."""
