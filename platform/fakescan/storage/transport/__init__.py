"""The bytes of one object, or of a span of it, from each kind of store."""
