"""Running: jobs from a plan, the run directory, the lock, and the scheduler that drives an executor."""
