"""The training substrate: batches, log-probs, surrogates, generation, checkpoints. Needs ``collegium[train]``."""
