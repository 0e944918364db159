"""What a scan would do, found out without an engine, without Ray, and without a trace at the output."""
