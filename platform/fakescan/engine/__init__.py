"""Engines: the same question asked of vLLM in this process, of vLLM in its own process, or of a simulation."""
