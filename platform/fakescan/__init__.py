"""FakeVLM at scale: scan, train and serve on Ray."""
