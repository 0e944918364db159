"""A run's parts in bulk: list them, call something for each on threads, work on them in batches."""
