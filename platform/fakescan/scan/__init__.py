"""Scan: every image under a prefix gets a row with a verdict or an error, in Parquet."""
