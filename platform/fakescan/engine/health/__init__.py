"""Whether an engine that has started is still at work, and how its processes end."""
