"""Before a worker starts: the inputs opened and checked, the images decoded, what the run will need."""
