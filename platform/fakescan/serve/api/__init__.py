"""The HTTP application of one replica."""
