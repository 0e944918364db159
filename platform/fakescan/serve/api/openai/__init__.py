"""OpenAI's API: its requests, read as far as they concern an image, and its responses."""
