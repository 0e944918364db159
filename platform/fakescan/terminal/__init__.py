"""Output for people: tables, durations, and a live display."""
