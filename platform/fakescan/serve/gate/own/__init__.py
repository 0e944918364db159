"""What the gate says itself, in place of a replica."""
