"""FakeVLM, the model: prompt, verdict, preprocessing and checkpoints, importable without Ray."""

__version__ = "0.1.0"
