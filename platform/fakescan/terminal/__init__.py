"""What a person sees: tables, durations, and a live display."""
