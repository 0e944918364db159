"""The second look at an image: its variants are made of its file, and judged by the engine that judged the image."""
