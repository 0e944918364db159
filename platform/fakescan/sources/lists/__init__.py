"""Lists of addresses, in text and in Parquet."""
