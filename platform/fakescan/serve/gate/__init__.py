"""The gate in Serve's proxies, which decides what reaches a replica; Serve is told `fakescan.serve.gate:middleware`."""

from fakescan.serve.gate.gate import middleware

__all__ = ["middleware"]
