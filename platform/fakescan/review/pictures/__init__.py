"""Pictures of a run, of which near-duplicates are one, as a review counts them."""
