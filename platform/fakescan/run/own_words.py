"""Explanations that are not the model's own, as versions before schema 3 wrote them."""

import pyarrow as pa
import pyarrow.compute as pc

from fakescan.run.run_file import RunFile
from fakevlm.verdict import Verdict

COLUMNS = ("verdict", "logit", "explanation")
"""Columns that it takes to find them."""


def overruled(rows: pa.Table) -> pa.BooleanArray | pa.ChunkedArray:
    """Bool[rows]: whether calibration or threshold made another verdict than the likelier of the model's two words.

    Needs `verdict` and `logit`. Verdicts that are uncertain are none of them.
    """
    logit, verdict = rows["logit"], rows["verdict"]
    is_fake = pc.and_(pc.equal(verdict, str(Verdict.FAKE)), pc.less(logit, 0.0))
    is_real = pc.and_(pc.equal(verdict, str(Verdict.REAL)), pc.greater(logit, 0.0))
    return pc.fill_null(pc.or_(is_fake, is_real), False)


def own_words_only(rows: pa.Table, run: RunFile) -> pa.Table:
    """The rows of a run without explanations that open with a word which is not the model's. Needs `COLUMNS`.

    Versions before schema 3 put the verdict's word into the prompt where it was not the model's own.
    """
    if run.has_own_words:
        return rows
    index = rows.schema.get_field_index("explanation")
    nothing = pa.nulls(rows.num_rows, pa.string())
    kept = pc.if_else(overruled(rows), nothing, rows["explanation"])
    return rows.set_column(index, rows.schema.field(index), kept)
