"""The verdict online: Ray Serve replicas, the gate in front of them, and the page."""
