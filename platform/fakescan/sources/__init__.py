"""Whatever holds images, as rows of a manifest, and the bytes of those rows."""
