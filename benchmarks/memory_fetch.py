"""A fetch stage that reads the real manifest and serves every image from memory."""

import hashlib
import io
import os
import time
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from fakescan.run.object_key import source_key
from fakescan.scan.stages import Fetch
from fakescan.scan.tables import FETCHED_SCHEMA
from fakevlm.preprocess import ImageSpec

BEGUN = "FAKESCAN_BENCH_BEGUN"
"""Environment variable: a file that gets the Unix time at which the first shard was fetched."""
SPEC = ImageSpec(shortest_edge=16, crop=(16, 16))
"""The images' own size: decoding costs next to nothing."""
VARIANTS = 64
OBJECT = ("etag", "version", "last_modified", "kept")
"""Columns of what a store says of an object, which memory has nothing to say to."""


@cache
def png(variant: int) -> tuple[bytes, str]:
    """One of a few 16 x 16 PNGs and its sha256."""
    pixels = np.random.default_rng(variant).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "PNG", compress_level=1)
    return sink.getvalue(), hashlib.sha256(sink.getvalue()).hexdigest()


class MemoryFetch(Fetch):
    """Fetch without a store: row `i` of the manifest is the PNG number `i % VARIANTS`."""

    def __call__(self, table: pa.Table) -> pa.Table:
        """See `Fetch`."""
        started = time.process_time()
        note_begin()
        rows = self._rows(table["shard"][0].as_py())
        files = [png(row_id % VARIANTS) for row_id in rows["row_id"].to_pylist()]
        empty = pa.nulls(len(files), pa.string())
        columns = [
            rows["row_id"],
            rows["uri"],
            pa.array([data for data, _ in files], pa.large_binary()),
            pa.array([sha256 for _, sha256 in files], pa.string()),
            pa.array([len(data) for data, _ in files], pa.int64()),
            empty,
            empty,
            pa.array(np.full(len(files), time.process_time() - started)),
            pa.array([source_key(uri) for uri in rows["uri"].to_pylist()], pa.string()),
            *(pa.nulls(len(files), field.type) for field in FETCHED_SCHEMA if field.name in OBJECT),
        ]
        return pa.table(columns, schema=FETCHED_SCHEMA)


@cache
def note_begin() -> None:
    """Say once when work began; where two processes do it at once, the later one's time stands."""
    path = Path(os.environ[BEGUN])
    if not path.exists():
        path.write_text(str(time.time()))
