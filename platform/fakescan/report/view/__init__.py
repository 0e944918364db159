"""A server for one person on this machine: the report, its full images, and labels."""
