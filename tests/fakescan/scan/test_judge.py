"""Judge: rows from judgements, the ledger's orders followed, and one shard alone in the engine when it must be."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from fakescan.engine.config import SimulatedConfig, VllmConfig
from fakescan.engine.contract import Judgement
from fakescan.engine.judging_options import JudgingOptions
from fakescan.engine.simulated import pretend
from fakescan.scan.engines.start import EngineNotStartedError
from fakescan.scan.judge import POISON, Judge, JudgeSettings, _ExclusiveLock
from fakescan.scan.ledger import remote_ledger
from fakescan.scan.poison.deaths import SHARD_DEATHS, SPLIT
from fakescan.scan.tables import JUDGED_SCHEMA, decoded_schema
from fakescan.storage.store import Store
from fakevlm.checkpoint.checkpoint import Checkpoint, open_checkpoint
from fakevlm.errors import UserError
from fakevlm.reading import Meaning, Reader

OPTIONS = JudgingOptions()
SHARD_ROWS = 40


@pytest.fixture(scope="module")
def checkpoint(tiny_model: Path) -> Checkpoint:
    return open_checkpoint(str(tiny_model))


@pytest.fixture
def ledger(ray_cluster: str) -> Any:
    return remote_ledger()


def settings(checkpoint: Checkpoint, **changes: Any) -> JudgeSettings:
    values = {
        "engine": SimulatedConfig(),
        "device": "cpu",
        "model": checkpoint.location,
        "model_store": Store(),
        "model_name": "the model",
        "weights_sha256": checkpoint.weights_sha256,
        "options": OPTIONS,
        "run_id": "the run",
        "shard_rows": SHARD_ROWS,
        "reader": Reader(Meaning.FULL, OPTIONS.calibration, checkpoint.image),
    }
    return JudgeSettings(**{**values, **changes})


def decoded(shard: int, *, failed: tuple[int, ...] = ()) -> pa.Table:
    """What decode hands on: noise, and errors at some positions."""
    pixels = np.random.default_rng(shard).integers(0, 256, (SHARD_ROWS, 84, 84, 3), dtype=np.uint8)
    pixels[list(failed)] = 0
    rows = []
    for position in range(SHARD_ROWS):
        row: dict[str, Any] = {"row_id": shard * SHARD_ROWS + position, "uri": f"s3://b/{position}"}
        if position in failed:
            row |= {"error_code": "denied", "error_message": "forbidden"}
        else:
            row |= {"sha256": "ab", "num_bytes": 9, "width": 5, "height": 6, "format": "PNG"}
        rows.append(row)
    schema = decoded_schema(84, 84)
    facts = pa.Table.from_pylist(rows, pa.schema([field for field in schema if field.name != "pixels"]))
    columns = [*facts.columns, pa.FixedShapeTensorArray.from_numpy_ndarray(pixels)]
    return pa.table(columns, names=[*facts.schema.names, "pixels"]).select(schema.names).cast(schema)


def expected(table: pa.Table) -> list[str | None]:
    pixels = table["pixels"].combine_chunks().to_numpy_ndarray()
    return [pretend(image, OPTIONS).explanation for image in pixels]


@pytest.mark.cluster
def test_every_row_gets_its_own_judgement_and_errors_pass_through(checkpoint: Checkpoint, ledger: Any) -> None:
    table = decoded(3, failed=(0, 7, 39))
    result = Judge(settings(checkpoint), ledger)(table)
    assert result.schema.equals(JUDGED_SCHEMA)
    for name in ("row_id", "uri", "sha256", "width", "format", "num_bytes"):
        assert result[name].equals(table[name].cast(result[name].type))
    for position, (row, explanation) in enumerate(zip(result.to_pylist(), expected(table), strict=True)):
        assert (row["model"], row["run_id"]) == ("the model", "the run")
        if position in (0, 7, 39):
            assert (row["error_code"], row["error_message"]) == ("denied", "forbidden")
            assert (row["verdict"], row["score"], row["logit"], row["off_script"]) == (None,) * 4
        else:
            assert row["error_code"] is None
            assert row["score"] == pytest.approx(1 / (1 + np.exp(-row["logit"])), abs=1e-6)
            assert row["verdict"] == ("fake" if row["score"] >= 0.5 else "real")
            assert row["explanation"] == explanation


@pytest.mark.cluster
def test_a_shard_without_one_image_needs_no_engine(checkpoint: Checkpoint, ledger: Any) -> None:
    result = Judge(settings(checkpoint), ledger)(decoded(0, failed=tuple(range(SHARD_ROWS))))
    assert result["error_code"].to_pylist() == ["denied"] * SHARD_ROWS


def with_contents(table: pa.Table, numbers: list[int]) -> pa.Table:
    """A decoded shard whose images have these contents, and pixels that depend on them alone."""
    pixels = np.stack([np.full((84, 84, 3), number, np.uint8) for number in numbers])
    columns = {
        "sha256": pa.array([f"{number:064x}" for number in numbers]),
        "pixels": pa.FixedShapeTensorArray.from_numpy_ndarray(pixels),
    }
    for name, column in columns.items():
        table = table.set_column(table.schema.get_field_index(name), table.schema.field(name), column)
    return table


@pytest.mark.cluster
def test_shards_with_the_same_contents_on_two_engines_share_the_judging(checkpoint: Checkpoint, ledger: Any) -> None:
    """Each of eight shards has what the others have, in its own order: any two could wait for each other."""
    random = np.random.default_rng(0)
    engine = SimulatedConfig(max_num_seqs=4, step_s=0.002)
    judges = [Judge(settings(checkpoint, engine=engine, dedupe=True), ledger) for _ in range(2)]
    orders = [[int(number) for number in random.permutation(SHARD_ROWS) // 2] for _ in range(8)]
    tables = [with_contents(decoded(shard), order) for shard, order in enumerate(orders)]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda shard: judges[shard % 2](tables[shard]), range(8), timeout=60))
    assert sum(judge._engine.stats.running for judge in judges) == SHARD_ROWS // 2
    rows = [row for result in results for row in result.to_pylist()]
    alone = {row["sha256"]: row for row in Judge(settings(checkpoint), ledger)(tables[0]).to_pylist()}
    for row in rows:
        for name in ("verdict", "score", "logit", "off_script", "explanation", "error_code"):
            assert row[name] == alone[row["sha256"]][name], name
    assert [row["row_id"] for row in rows] == list(range(8 * SHARD_ROWS))
    assert sum(not row["is_copy"] for row in rows) == SHARD_ROWS // 2


@pytest.mark.cluster
def test_a_suspect_shard_is_judged_in_spans_with_the_same_results(checkpoint: Checkpoint, ledger: Any) -> None:
    """What two engines died of is cut in pieces; images that no engine died of alone are judged after all."""
    import ray

    table = decoded(5, failed=(2,))
    judge = Judge(settings(checkpoint), ledger)
    undisturbed = judge(table)
    for number in range(SHARD_DEATHS):
        ray.get(ledger.inquire.remote(5, f"dead-{number}"))
        ray.get(ledger.begin.remote(5, f"dead-{number}"))
    # One more engine died of a span of three, and two of its middle image alone: the fifth good one, row 5.
    for number, span in enumerate([(3, 6), (4, 5), (4, 5)]):
        ray.get(ledger.inquire.remote(5, f"alone-{number}"))
        ray.get(ledger.begin.remote(5, f"alone-{number}", span))
    assert -(-(SHARD_ROWS - 1) // SPLIT) == 3
    result = judge(table)
    assert result["error_code"].to_pylist() == ["denied" if i == 2 else "poison" if i == 5 else None for i in range(40)]
    others = [index for index in range(SHARD_ROWS) if index != 5]
    assert result["score"].take(others).equals(undisturbed["score"].take(others))


@pytest.mark.cluster
def test_the_engines_errors_are_rows(checkpoint: Checkpoint, ledger: Any) -> None:
    table = decoded(0)
    good = Judgement(-0.1, -2.4)
    judgements = {0: Judgement(error="the engine refused the image"), 1: POISON, 2: Judgement(-0.5, float("-inf"))}
    judge = Judge(settings(checkpoint), ledger)
    every = dict.fromkeys(range(SHARD_ROWS), good) | judgements
    result = judge._rows(table, {index: judge._values(one) for index, one in every.items()}, np.array([3]), {})
    rows = result.to_pylist()
    assert [row["error_code"] for row in rows[:4]] == ["judge_failed", "poison", None, None]
    assert rows[0]["error_message"] == "the engine refused the image"
    assert (rows[2]["score"], rows[2]["logit"], rows[2]["verdict"]) == (1.0, float("inf"), "fake")
    assert [index for index, row in enumerate(rows) if row["is_copy"]] == [3]


@pytest.mark.cluster
def test_other_weights_than_the_drivers_are_the_nodes_fault(checkpoint: Checkpoint, ledger: Any) -> None:
    """Its cache may be old: the scan goes on where there are the right ones."""
    import ray

    with pytest.raises(EngineNotStartedError, match="other weights on this node"):
        Judge(settings(checkpoint, engine=VllmConfig(), weights_sha256="0" * 64), ledger)
    situation = ray.get(ledger.situation.remote())
    assert situation.mistake is None
    assert "other weights on this node" in next(iter(situation.faults.values()))


@pytest.mark.cluster
def test_a_checkpoint_that_is_wrong_everywhere_is_a_mistake(
    checkpoint: Checkpoint, ledger: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    def unfit(*_: Any) -> Any:
        raise UserError("model: its prompt format is wrong")

    monkeypatch.setattr("fakescan.scan.judge.open_engine", unfit)
    with pytest.raises(UserError, match="its prompt format"):
        Judge(settings(checkpoint), ledger)
    assert ray.get(ledger.situation.remote()).mistake == "model: its prompt format is wrong"


@pytest.mark.cluster
def test_a_shard_goes_on_where_the_ledger_has_forgotten_it(checkpoint: Checkpoint, ledger: Any) -> None:
    import ray

    ray.get(ledger.begin.remote(99, "nobody that it knows"))
    ray.get(ledger.end.remote(98))
    judge = Judge(settings(checkpoint), ledger)
    ray.kill(ledger, no_restart=False)
    assert judge(decoded(99))["error_code"].null_count == SHARD_ROWS


@contextmanager
def entered(gate: Any, kind: str, inside: list[str], name: str) -> Iterator[None]:
    with gate.shared() if kind == "shared" else gate.alone():
        inside.append(name)
        yield
        inside.remove(name)


@pytest.mark.unit
def test_the_gate_lets_shards_in_together_and_one_alone() -> None:
    gate, inside = _ExclusiveLock(), list[str]()
    together = threading.Barrier(3, timeout=30)
    overlaps: list[str] = []

    def share(name: str) -> None:
        with entered(gate, "shared", inside, name):
            together.wait()  # proves that three are inside at once

    def alone(name: str) -> None:
        with entered(gate, "alone", inside, name):
            if inside != [name]:
                overlaps.append(f"{name} with {inside}")

    with ThreadPoolExecutor(6) as pool:
        for future in [pool.submit(share, f"shared-{number}") for number in range(3)]:
            future.result(30)
        for future in [pool.submit(alone, f"alone-{number}") for number in range(20)]:
            future.result(30)
    assert overlaps == []
    assert inside == []


@pytest.mark.unit
def test_one_that_waits_to_be_alone_is_not_kept_waiting_by_newcomers() -> None:
    gate, order = _ExclusiveLock(), list[str]()
    leave, entered_alone = threading.Event(), threading.Event()

    def first() -> None:
        with gate.shared():
            leave.wait(30)

    def alone() -> None:
        with gate.alone():
            order.append("alone")
            entered_alone.set()

    def newcomer() -> None:
        with gate.shared():
            order.append("newcomer")

    with ThreadPoolExecutor(3) as pool:
        holder = pool.submit(first)
        while not gate._inside:
            pass
        waiting = pool.submit(alone)
        while not gate._alone_wanted:
            pass
        late = pool.submit(newcomer)
        assert not entered_alone.wait(0.05)
        leave.set()
        for future in (holder, waiting, late):
            future.result(30)
    assert order == ["alone", "newcomer"]
