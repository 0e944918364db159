"""Provenance of single files on the command line, and the trust lists that it is checked against."""
