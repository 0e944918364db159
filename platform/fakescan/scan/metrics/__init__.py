"""The scan's metrics, see `fakescan.telemetry.metric`."""
