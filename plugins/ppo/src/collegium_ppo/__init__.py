"""Proximal policy optimisation with a value function: the RL stages of InstructGPT, Llama 2 and Tulu 3."""
