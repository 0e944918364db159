"""The sample of images on which two runs disagree, by pair of verdicts."""

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fakescan.audit.run_join import joined
from fakescan.review.plan import SamplePlan, Stratum
from fakescan.review.random_keys import mixed
from fakescan.review.sample import MAX_IMAGES, Drawn, finish
from fakescan.review.sample_file import SAMPLE_SCHEMA, Sample, read_sample
from fakescan.review.strata import allocate, with_drawn
from fakescan.run.facts.run_facts import OnParts, nobody
from fakescan.run.folder import RunFolder
from fakescan.storage.url import redact
from fakevlm.errors import UserError

_NAMES = ("row_id", "sha256", "uri", "verdict", "score", "logit")


def draw_disagreements(
    folder: RunFolder,
    other: RunFolder,
    n: int,
    *,
    seed: int | None = None,
    on_parts: OnParts = nobody,
    write: bool = True,
) -> Drawn:
    """Draw `n` images that `folder` and `other` judge and with different verdicts; equally many of each pair of them.

    Only images that are the same bytes in both. Raises UserError where there are none.
    """
    run, before = folder.open(), read_sample(folder, "disagree")
    if before is not None and before.plan.run_id != run.run_id:
        before = None
    if not 1 <= n <= MAX_IMAGES:
        raise UserError(f"n: {n:,} is not from 1 to {MAX_IMAGES:,}")
    used = before.plan.seed if before is not None and seed is None else seed or 0
    rows = 0
    pieces: list[pa.Table] = []
    counts: dict[str, int] = {}
    for table in joined(folder, other, on_parts=on_parts):
        rows += int(pc.sum(pc.is_valid(table["verdict_a"]), min_count=0).as_py())
        differ = pc.and_(
            pc.equal(table["sha256_a"], table["sha256_b"]), pc.not_equal(table["verdict_a"], table["verdict_b"])
        )
        found = table.filter(pc.fill_null(differ, False))
        pairs = pc.binary_join_element_wise(found["verdict_a"], found["verdict_b"], " here, there ")
        for item in pairs.value_counts().to_pylist():
            counts[item["values"]] = counts.get(item["values"], 0) + item["counts"]
        keys = mixed(found["row_id_a"].to_numpy().astype(np.uint64) ^ mixed(np.array([used], np.uint64)))
        found = found.select([f"{name}_a" for name in _NAMES]).rename_columns(list(_NAMES))
        pieces.append(_lowest(pa.concat_tables([*pieces[-1:], _with(found, pairs, keys)]), n))
        del pieces[:-1]
    if not counts:
        raise UserError(f"against: no image of both runs has another verdict in {redact(other.url)}")
    names = sorted(counts)
    strata = [Stratum(name=name, verdict=name.split(" ")[0], rows=counts[name], drawn=0) for name in names]
    strata = with_drawn(strata, allocate([counts[name] for name in names], [1.0] * len(names), n))
    chosen = [
        _chosen(pieces[-1].filter(pc.equal(pieces[-1]["pair"], stratum.name)), number, stratum)
        for number, stratum in enumerate(strata)
    ]
    drawn = pa.concat_tables(chosen)
    order = np.argsort(mixed(drawn["row_id"].to_numpy().astype(np.uint64) ^ np.uint64(used + 1)), kind="stable")
    plan = SamplePlan(
        design="disagree", seed=used, run_id=run.run_id, model=run.model, drawn_at=datetime.now(UTC), rows=rows,
        errors=0, strata=strata,
    )  # fmt: skip
    return finish(folder, Sample(plan, drawn.take(pa.array(order))), before, write=write)


def _with(rows: pa.Table, pairs: pa.ChunkedArray, keys: "np.ndarray[tuple[int], np.dtype[np.uint64]]") -> pa.Table:
    return rows.append_column("pair", pairs).append_column("turn", pa.array(keys, pa.uint64()))


def _lowest(rows: pa.Table, n: int) -> pa.Table:
    """Of each pair the `n` rows whose turn comes first."""
    rows = rows.sort_by("turn")
    pairs = np.array(rows["pair"].to_pylist(), object)
    kept = np.concatenate(
        [np.flatnonzero(pairs == name)[:n] for name in sorted(set(pairs.tolist()))] or [np.array([], np.int64)]
    )
    return rows.take(pa.array(np.sort(kept), pa.int64())).combine_chunks()


def _chosen(rows: pa.Table, number: int, stratum: Stratum) -> pa.Table:
    rows = rows.slice(0, stratum.drawn)
    columns = {name: rows[name] for name in _NAMES}
    columns["stratum"] = pa.array([number] * rows.num_rows, pa.int32())
    columns["inclusion_probability"] = pa.array([stratum.probability] * rows.num_rows, pa.float64())
    return pa.table([columns[name] for name in SAMPLE_SCHEMA.names], schema=SAMPLE_SCHEMA)
