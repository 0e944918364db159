"""Tar and Parquet files that hold images."""
