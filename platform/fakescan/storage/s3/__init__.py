"""Pages of an S3 listing: asked for, and read."""
