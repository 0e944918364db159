"""The facts of parts, which say what they hold without their rows: as a table, in a cache, of a whole run."""
