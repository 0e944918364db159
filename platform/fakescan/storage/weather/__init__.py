"""Faults of a store as a whole: told from those of one object, answered with fewer requests, waited out, and said."""
