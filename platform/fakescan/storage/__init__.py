"""Objects in any store: where they are, who reads them, how they are read and written."""
