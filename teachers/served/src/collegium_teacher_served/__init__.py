"""Teachers behind an OpenAI-compatible server that returns the log-probs of prompts."""
