"""Multi-teacher on-policy distillation: many masters, one student."""
