"""Which entries of a listing are images to scan: by their names, and where those say nothing by their content."""
