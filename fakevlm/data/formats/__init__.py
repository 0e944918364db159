"""Forms in which others publish labelled images, and how each becomes FakeClue's."""
