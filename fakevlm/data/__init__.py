"""Labelled images: records in FakeClue's format, read, checked, counted, divided, and made into training batches."""
