"""What the platform tells those who watch it."""
