"""Labelled images: records in FakeClue's format, read, checked, counted, split, and made into training batches."""
