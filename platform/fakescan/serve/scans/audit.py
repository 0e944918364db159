"""Who started and stopped which scan, from where: one object for each, beside the results; it outlives the cluster."""

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from fakescan.serve.scans.state import Client, ScanRefusedError
from fakescan.storage.errors import classify, store_errors
from fakescan.storage.objects import put_atomic
from fakescan.storage.store import Store
from fakescan.storage.url import redact
from fakevlm.errors import UserError

logger = logging.getLogger("ray.serve.fakescan")

_PATIENCE_S = 5.0
"""Seconds for which a store may be away; the client waits."""


class Audit:
    """The folder `audit` below that of all scans, with an object `<time>-<scan>-<action>.json` for each action."""

    def __init__(self, output: str, store: Store) -> None:
        """`output`: the folder or URL prefix of all scans."""
        self._folder = f"{output}/audit"
        self._store = store

    def write(self, action: str, scan_id: str, client: Client, what: Mapping[str, Any]) -> None:
        """Writes an action that is about to happen. Raises ScanRefusedError (`unavailable`) where it cannot."""
        now = datetime.now(UTC)
        entry = {
            "time": now.isoformat(timespec="milliseconds"),
            "action": action,
            "scan": scan_id,
            "key": client.name,
            "key_id": client.key_id,
            "client": client.address,
            "request_id": client.request_id,
            **what,
        }
        logger.info("audit: %s", json.dumps(entry))
        url = f"{self._folder}/{now:%Y%m%dT%H%M%S.%f}Z-{scan_id}-{action}.json"
        try:
            fs, path = self._store.resolved().filesystem(url, attempts=1)
            put_atomic(fs, path, json.dumps(entry, indent=1).encode() + b"\n", patience_s=_PATIENCE_S)
        except UserError as error:
            raise _unavailable(url, str(error)) from None
        except store_errors() as error:
            raise _unavailable(url, classify(error)[1]) from None


def _unavailable(url: str, reason: str) -> ScanRefusedError:
    logger.error("audit: %s cannot be written: %s", redact(url), reason)
    return ScanRefusedError("unavailable", "the audit of scans cannot be written; the log has the cause")
