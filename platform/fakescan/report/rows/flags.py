"""What else there is to say of a row in one bit each, for filters."""

from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fakescan.run.own_words import overruled
from fakescan.run.stability.columns import HOLDS
from fakevlm.provenance import Basis
from fakevlm.reading import DISTRUST


class Flag(NamedTuple):
    """One bit."""

    name: str
    label: str
    """For people."""


FLAGS: Final = (
    Flag("explained", "has an explanation"),
    Flag("remarked", "has a remark"),
    Flag("overruled", "verdict is not the model's own word"),
    Flag("noted", "judged in spite of a damaged file"),
    Flag("distrusted", "model would have said something else"),
    Flag("trusted", "origin signed by a trusted signer"),
    Flag("unstable", "verdict does not hold"),
)
"""A flag's bit is its place: new ones are added at the end."""


def flags_of(rows: pa.Table) -> NDArray[np.int32]:
    """The flags of each row, int32[rows]."""
    judged = rows["verdict"].is_valid()
    masks = (
        rows["explanation"].is_valid(),
        rows["remark"].is_valid(),
        overruled(rows),
        pc.and_(judged, rows["error_message"].is_valid()),
        pc.fill_null(pc.greater_equal(rows["off_script"], DISTRUST), False),
        pc.fill_null(pc.equal(rows["provenance_basis"], Basis.C2PA_TRUSTED), False),
        _unstable(rows),
    )
    found = np.zeros(rows.num_rows, np.int32)
    for bit, mask in enumerate(masks):
        found |= mask.to_numpy().astype(np.int32) << np.int32(bit)
    return found


def _unstable(rows: pa.Table) -> pa.ChunkedArray:
    """Bool[rows]: whether the image has another verdict when it is changed; no row of a run without a strip."""
    if HOLDS not in rows.column_names:
        return pa.chunked_array([np.zeros(rows.num_rows, bool)])
    return pc.fill_null(pc.equal(rows[HOLDS], False), False)
