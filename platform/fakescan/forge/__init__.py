"""Forges a folder of photographs into a labelled dataset, on Ray: `fakescan data forge`."""
