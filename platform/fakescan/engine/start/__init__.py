"""How an engine starts: its number types, its share of a GPU, the user's own arguments, and what it says meanwhile."""
