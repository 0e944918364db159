"""How good a checkpoint is: benchmarks run through the scan's own pipeline, and what follows from their scores."""
