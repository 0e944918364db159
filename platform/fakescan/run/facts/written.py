"""The facts of a part that has just been written, on their way from the process that wrote it to the run's cache."""

from datetime import datetime
from typing import Any

from fakescan.run.bulk.listing import stamp_of_written
from fakescan.run.counts import Counts
from fakescan.run.facts.table import ReadFacts
from fakescan.run.folder import RunFolder
from fakescan.run.parts import PartFacts, Sharding, footer_facts


def facts_of_written(folder: RunFolder, sharding: Sharding, shard: int, data: bytes) -> dict[str, Any]:
    """The facts as JSON can hold them. `data` is the part, which was written at this moment."""
    facts = footer_facts(data, sharding, shard)
    assert facts is not None, f"shard {shard} was written with a footer of another one"
    counts = facts.counts
    return {
        "size": len(data),
        "stamp": stamp_of_written(folder.fs, folder.parts, shard, data),
        "counts": [counts.rows, counts.real, counts.fake, counts.uncertain, counts.errors, counts.provenance],
        "last_scanned_at": facts.last_scanned_at.isoformat() if facts.last_scanned_at else None,
        "seal": facts.seal,
    }


def read_back(shard: int, written: dict[str, Any]) -> ReadFacts:
    """The inverse of `facts_of_written`."""
    at = written["last_scanned_at"]
    facts = PartFacts(Counts(*written["counts"]), datetime.fromisoformat(at) if at else None, written["seal"])
    return ReadFacts(shard, written["size"], written["stamp"], facts)
