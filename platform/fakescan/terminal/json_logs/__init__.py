"""Logs for machines: every line on stderr is one JSON object, whoever has written it; see docs/logs.md."""
