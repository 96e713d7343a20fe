"""The executor `slurm`: stages as jobs of a Slurm cluster."""
