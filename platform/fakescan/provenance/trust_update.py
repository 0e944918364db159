"""Fetches the C2PA trust lists into the cache folder, with a record of their addresses, date and hashes."""

import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from fakescan.check.named_files import fetch
from fakescan.errors import JobFailedError
from fakescan.sources.fetch import Fetcher
from fakescan.storage.store import Store
from fakescan.storage.url import scheme_of
from fakevlm.errors import UserError, one_line
from fakevlm.provenance import TrustLists
from fakevlm.provenance.trust import CACHE_NAME, RECORD_NAME

_FOLDER = "https://raw.githubusercontent.com/c2pa-org/conformance-public/main/trust-list"
OFFICIAL = (f"{_FOLDER}/C2PA-TRUST-LIST.pem", f"{_FOLDER}/C2PA-TSA-TRUST-LIST.pem")
"""Where the conformance programme of the C2PA publishes its lists (CC-BY-4.0): signers, time-stamping authorities."""
_MAX_BYTES = 8 * 2**20


def update_trust(addresses: Sequence[str], cache: Path, store: Store | None = None) -> TrustLists:
    """Fetches lists, and puts them in the place of those in the cache once they are found to be lists.

    Raises JobFailedError where one cannot be had or is no list; then those in the cache stay. Raises UserError where
    the cache folder cannot be written to.
    """
    fetcher = Fetcher((store or Store()).resolved(), max_bytes=_MAX_BYTES, concurrency=len(addresses))
    texts: list[str] = []
    hashes: dict[str, str | None] = {}
    for uri, fetched in fetch(addresses, fetcher):
        if fetched.data is None:
            raise JobFailedError(f"trust list {uri}: {fetched.error_code}: {fetched.error_message}")
        hashes[os.path.abspath(uri) if scheme_of(uri) == "file" else uri] = fetched.sha256
        texts.append(fetched.data.decode("ascii", errors="replace"))
    source, dated = " ".join(hashes), datetime.now(UTC).date().isoformat()
    try:
        lists = TrustLists.of(texts, source, dated)
    except UserError as error:
        raise JobFailedError(str(error)) from None
    _keep(lists, hashes, cache / CACHE_NAME)
    return lists


def _keep(lists: TrustLists, hashes: dict[str, str | None], folder: Path) -> None:
    """Writes lists and record, each in one step, so that a reader never finds a half of one."""
    record = json.dumps({**lists.facts(), "files": hashes}, indent=1) + "\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in (("lists.pem", lists.pem), (RECORD_NAME, record)):
            partial = folder / f".{name}.{os.getpid()}"
            partial.write_text(text, encoding="utf-8")
            partial.replace(folder / name)
        for other in folder.glob("*.pem"):
            if other.name != "lists.pem":
                other.unlink()
    except OSError as error:
        raise UserError(f"cannot write to the cache folder {folder}: {one_line(error)}; set FAKEVLM_CACHE") from None
