"""The overview: one file that needs nothing else."""
