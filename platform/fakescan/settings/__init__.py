"""Settings from files and their mistakes in one line, and what several jobs' settings share."""
