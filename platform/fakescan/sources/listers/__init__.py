"""Listing in parallel: many threads, and for big buckets processes, whose tables come out in one order."""
