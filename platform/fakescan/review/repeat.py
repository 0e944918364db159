"""The sample for a second look: images that somebody has labelled, for another reviewer who does not know how."""

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fakescan.review.labels import Labels
from fakescan.review.plan import SamplePlan, Stratum
from fakescan.review.random_keys import mixed
from fakescan.review.sample_file import SAMPLE_SCHEMA, Sample, read_samples
from fakescan.run.folder import RunFolder
from fakescan.run.run_file import RunFile
from fakevlm.errors import UserError


def repeated(folder: RunFolder, run: RunFile, labels: Labels, n: int, seed: int) -> Sample:
    """`n` images of the run's samples that have a label, or all if they are fewer, at random.

    Raises UserError where none has.
    """
    samples = [sample for sample in read_samples(folder) if sample.plan.design != "qa"]
    tables = [sample.rows for sample in samples] or [SAMPLE_SCHEMA.empty_table()]
    rows = pa.concat_tables(tables)
    rows = rows.filter(pc.is_in(rows["sha256"], pa.array(list(labels.of_image), pa.string())))
    _, firsts = np.unique(np.array(rows["sha256"].to_pylist(), object).astype(str), return_index=True)
    rows = rows.take(pa.array(firsts))
    if not rows.num_rows:
        raise UserError("labels: none of them is of an image in a sample of this run; review a sample first")
    keys = mixed(np.array([int(key[:16], 16) for key in rows["sha256"].to_pylist()], np.uint64) ^ np.uint64(seed))
    chosen = rows.take(pa.array(np.argsort(keys, kind="stable")[:n]))
    stratum = Stratum(name="labelled", verdict="any", rows=rows.num_rows, drawn=chosen.num_rows)
    chances = pa.array(np.full(chosen.num_rows, stratum.probability))
    chosen = chosen.set_column(
        SAMPLE_SCHEMA.names.index("stratum"), "stratum", pa.array([0] * chosen.num_rows, pa.int32())
    )
    index = SAMPLE_SCHEMA.names.index("inclusion_probability")
    chosen = chosen.set_column(index, "inclusion_probability", chances).cast(SAMPLE_SCHEMA)
    plan = SamplePlan(
        design="qa", seed=seed, run_id=run.run_id, model=run.model, drawn_at=datetime.now(UTC), rows=rows.num_rows,
        errors=0, strata=[stratum],
    )  # fmt: skip
    return Sample(plan, chosen)
