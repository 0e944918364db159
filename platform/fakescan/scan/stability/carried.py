"""Which files travel on with their pixels, so that the judge can make variants of them without a second request.

Whether an image is looked at again is known when it is judged; its file is then long decoded. The bytes go along: they
are the ones that were judged, whatever has become of the object or its address since, and a member of a compressed
archive is not unpacked twice. A file is about as large as the pixels that travel anyway.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fakescan.run.parts import PIXEL_BYTES
from fakescan.run.stability.strip import Strip

CARRIED_BYTES = PIXEL_BYTES
"""Bytes of files that travel with one shard, as many as its pixels may have; others are fetched again."""


@dataclass(frozen=True)
class CarriedFiles:
    """Chooses the files of a shard."""

    strip: Strip
    max_bytes: int = CARRIED_BYTES

    def of(self, fetched: pa.Table, codes: list[str | None]) -> pa.Array | pa.ChunkedArray:
        """The column `data` without those that nobody will look at, and without the last ones of too many bytes."""
        keys = fetched["source_key"].to_pylist()
        wanted = np.array(
            [code is None and self.strip.may_look(key) for code, key in zip(codes, keys, strict=True)], bool
        )
        sizes = pc.fill_null(pc.binary_length(fetched["data"]), 0).to_numpy()
        carried = wanted & (np.cumsum(np.where(wanted, sizes, 0)) <= self.max_bytes)
        if carried.all():
            return fetched["data"]
        return pc.if_else(pa.array(carried), fetched["data"], pa.scalar(None, pa.large_binary()))
