"""Commands of `fakescan data` that make datasets of what others have."""
