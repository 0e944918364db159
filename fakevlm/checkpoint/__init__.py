"""Checkpoints: opened and checked, converted where vLLM would refuse them, and written."""
