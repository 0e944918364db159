"""Tests of the two packages, of the jobs and of the packaging."""
