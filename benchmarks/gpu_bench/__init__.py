"""The parts of `benchmarks/gpu.py`; each measurement runs in a process of its own."""
