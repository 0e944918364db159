"""The rows of a report: sorted, counted, and written so that a page can read pieces of them."""
