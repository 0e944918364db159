"""The run folder: whoever reads or writes a run does it through this package."""
