"""The options of commands: made from settings, grouped for --help, and turned back into settings."""
