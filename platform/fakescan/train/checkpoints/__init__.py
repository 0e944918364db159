"""Checkpoints between a worker's memory and the run's storage: each worker moves only what is its own."""
