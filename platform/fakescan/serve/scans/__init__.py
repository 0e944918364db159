"""Scans that clients start over HTTP, as Ray jobs."""
