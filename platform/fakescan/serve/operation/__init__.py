"""What operates a server: its certificate, its log, the lines of its start."""
