"""What became of rows, as numbers that can be counted in one go."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fakevlm.verdict import Verdict

OUTCOMES = (*(str(verdict) for verdict in Verdict), "errors")
"""Names of the outcomes: a row's number is the index of its own. Those before the last are verdicts."""
ERROR = len(OUTCOMES) - 1
"""The outcome of a row without a verdict."""


def outcome_numbers(verdicts: pa.ChunkedArray) -> NDArray[np.int64]:
    """The outcome of each row, from the column of verdicts."""
    found = pc.index_in(verdicts, pa.array(OUTCOMES[:ERROR]))
    numbers: NDArray[np.int64] = pc.fill_null(found, ERROR).to_numpy().astype(np.int64)
    return numbers
