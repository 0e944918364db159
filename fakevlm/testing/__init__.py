"""Models that tests and benchmarks build for themselves."""
