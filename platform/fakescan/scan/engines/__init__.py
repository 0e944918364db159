"""The engines of a scan: where they are, which of them work, and what is done about those that do not."""
