"""Work that may end its process or never end itself: a limit of time for it, and a child process to do it in."""
