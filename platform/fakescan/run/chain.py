"""The chain of runs that a new one follows: what they have scanned need not be scanned again."""

import re
from collections.abc import Iterator, Sequence
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fakescan.run.facts.run_facts import read_facts
from fakescan.run.facts.table import errors_of
from fakescan.run.folder import RunFolder
from fakescan.run.run_file import RunFile
from fakescan.sources.source import versions
from fakescan.sources.uri_set import UriSet
from fakescan.storage.objects import patiently
from fakescan.storage.store import Store
from fakescan.storage.url import canonical, redact
from fakevlm.errors import ErrorCode, UserError

WEATHER = frozenset({ErrorCode.FETCH_FAILED, ErrorCode.DENIED, ErrorCode.CHANGED, ErrorCode.JUDGE_FAILED})
"""Errors that say nothing about the image: the next run of a chain tries it again."""

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


def newest_run(runs: str, before: date, store: Store) -> str | None:
    """URL of the newest run before a day in a folder of runs that are named by their days; None where there is none.

    A folder without run.json, of a start that came to nothing, is no run. A run that was not finished is one: what it
    has not scanned is new to whoever follows it.
    """
    filesystem, path = store.filesystem(runs)
    filesystem.invalidate_cache()
    try:
        entries = patiently(lambda: filesystem.ls(path, detail=True), f"listing {redact(runs)}")
    except FileNotFoundError:
        return None
    names = {str(entry["name"]).rstrip("/").rpartition("/")[2] for entry in entries if entry["type"] == "directory"}
    for name in sorted(names, reverse=True):
        if _DAY.fullmatch(name) and name < before.isoformat():
            url = f"{runs.rstrip('/')}/{name}"
            if RunFolder(url, store).load() is not None:
                return url
    return None


def scanned_before(runs: Sequence[str], store: Store) -> UriSet:
    """The versions of images, as `versions` names them, that these runs and those they follow have scanned.

    Not scanned are rows that are not done, and those that ended in an error of `WEATHER`. Takes 16 bytes per row, and
    one byte per row of the largest run. Raises UserError for a folder that holds no run.
    """
    known = UriSet()
    for folder, run in chain(runs, store):
        scanned = _scanned_rows(folder, run)
        for table in folder.manifest(run).tables():
            row_ids = table["row_id"].to_numpy()
            known.add(versions(table.filter(pa.array(scanned[row_ids]))))
    return known


def chain(runs: Sequence[str], store: Store) -> Iterator[tuple[RunFolder, RunFile]]:
    """The runs, and the ones that each of them follows, each once."""
    waiting = [(url, "") for url in runs]
    visited: set[str] = set()
    while waiting:
        url, follower = waiting.pop(0)
        if canonical(url) in visited:
            continue
        visited.add(canonical(url))
        folder = RunFolder(url, store)
        run = folder.load()
        if run is None:
            followed = f", which {redact(follower)} follows," if follower else ""
            raise UserError(f"new_since: {redact(url)}{followed} holds no run (run.json is missing)")
        yield folder, run
        earlier = run.identity.selection.new_since
        waiting += [(one, url) for one in ([earlier] if isinstance(earlier, str) else earlier or ())]


def _scanned_rows(folder: RunFolder, run: RunFile) -> np.typing.NDArray[np.bool_]:
    """Bool[rows]: whether each row of a run is done, and not by an error of the weather."""
    scanned = np.zeros(run.rows, dtype=bool)
    sharding = run.sharding
    facts = read_facts(folder, run, folder.listing().below(sharding.count), keep=False)
    for shard, errors in zip(facts.table["shard"].to_pylist(), facts.table["errors"].to_pylist(), strict=True):
        first = sharding.first(shard)
        scanned[first : first + sharding.size(shard)] = True
        if errors and WEATHER & errors_of(errors).keys():
            part = folder.read_part(shard, ["row_id", "error_code"])
            if part is not None:
                failed = pc.is_in(part["error_code"], pa.array([str(code) for code in WEATHER]))
                scanned[part.filter(failed)["row_id"].to_numpy()] = False
    return scanned
