"""Rejudge: verdicts anew from logits, in a new run that verify proves."""

import math
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fakescan.run.folder import RunFolder
from fakescan.run.parts import part_bytes
from fakescan.run.rejudge import rejudge
from fakescan.run.run_file import RunFile
from fakescan.run.verify import verify
from fakescan.storage.store import Store
from fakevlm.errors import UserError
from fakevlm.reading import Meaning, shown
from fakevlm.verdict import Calibration, parse_answer
from tests.conftest import Bucket
from tests.fakescan.run.conftest import make_run

pytestmark = pytest.mark.unit

STRICT = Calibration(threshold=0.8)
"""Logits of the run's fakes go from 1 to 1.77, scores from 0.73 to 0.85."""


@pytest.fixture
def target(tmp_path: Path) -> RunFolder:
    return RunFolder(str(tmp_path / "strict"), Store())


def test_verdicts_follow_the_new_threshold_and_are_proven(run_folder: RunFolder, target: RunFolder) -> None:
    result = rejudge(run_folder, target, STRICT)
    assert verify(target).problems == []
    assert verify(run_folder).problems == []
    before, after = run_folder.rows(run_folder.open()).to_pylist(), target.rows(target.open()).to_pylist()
    changed = 0
    for old, new in zip(before, after, strict=True):
        if old["verdict"] is None:
            assert new == {**old, "run_id": result.run.run_id}
            continue
        expected = "fake" if 1 / (1 + math.exp(-old["logit"])) >= 0.8 else "real"
        assert (new["verdict"], new["logit"], new["uri"]) == (expected, old["logit"], old["uri"])
        assert new["explanation"] == (old["explanation"] if expected == "fake" else None)
        changed += expected != old["verdict"]
    assert changed
    assert dict(result.changed) == {("fake", "real"): changed}
    assert result.unexplained == 0
    assert target.open().rejudged_from == run_folder.open().run_id


def test_a_calibration_changes_scores_and_what_has_no_explanation_is_counted(
    run_folder: RunFolder, target: RunFolder
) -> None:
    result = rejudge(run_folder, target, Calibration(temperature=2.0, bias=1.0))
    assert verify(target).problems == []
    for row in target.rows(target.open()).to_pylist():
        if row["verdict"]:
            assert row["score"] == pytest.approx(1 / (1 + math.exp(-(row["logit"] / 2 + 1))), rel=1e-6)
    assert result.unexplained == result.changed["real", "fake"] > 0


def test_what_stands_beside_a_verdict_is_made_anew(run_folder: RunFolder, target: RunFolder) -> None:
    """An explanation is the model's own, so that it stays with the other verdict where the run explains that one."""
    run = run_folder.open()
    ask = run.identity.ask.model_copy(update={"explain": "all"})
    identity = run.identity.model_copy(update={"ask": ask})
    run_folder.save(run.model_copy(update={"meaning": Meaning.FULL, "identity": identity}))
    result = rejudge(run_folder, target, STRICT)
    before, after = run_folder.rows(run_folder.open()).to_pylist(), target.rows(target.open()).to_pylist()
    turned = [(old, new) for old, new in zip(before, after, strict=True) if old["verdict"] != new["verdict"]]
    assert turned
    for old, new in turned:
        assert new["explanation"] == old["explanation"] == "This is a fake image."
        score, threshold = shown(new["score"], 0.8)
        assert new["remark"] == f"The model leans to fake ({score}), below the threshold of {threshold}."
    assert result.unexplained == sum(row["verdict"] is not None and row["explanation"] is None for row in after)
    assert verify(target).problems == []


def test_what_an_earlier_version_made_the_model_say_is_left_out(run_folder: RunFolder, target: RunFolder) -> None:
    run = RunFile.model_validate({**run_folder.open().model_dump(), "schema_version": "2"})
    ask = run.identity.ask.model_copy(update={"explain": "all", "calibration": STRICT})
    run_folder.save(run.model_copy(update={"identity": run.identity.model_copy(update={"ask": ask})}))
    for shard in range(run.sharding.count):
        rows = pq.read_table(run_folder.part(shard)).drop_columns("remark").to_pylist()
        for row in rows:
            if row["verdict"]:
                row["verdict"] = "fake" if row["score"] >= 0.8 else "real"
                row["explanation"] = f"This is a {row['verdict']} image."
        table = pa.Table.from_pylist(rows, run.result_schema)
        run_folder.write_part(shard, part_bytes(table, run.sharding, shard, run.result_schema))
    rejudge(run_folder, target, Calibration())
    assert verify(target).problems == []
    for old, new in zip(*(each.rows(each.open()).to_pylist() for each in (run_folder, target)), strict=True):
        if old["verdict"]:
            is_own = (old["verdict"] == "fake") == (old["logit"] > 0)
            assert new["explanation"] == (old["explanation"] if is_own else None)
            assert new["explanation"] is None or parse_answer(new["explanation"]) == new["verdict"]


def test_the_same_call_again_gives_the_same_run_and_does_what_is_left(run_folder: RunFolder, target: RunFolder) -> None:
    first = rejudge(run_folder, target, STRICT)
    data = [Path(target.part(shard)).read_bytes() for shard in range(4)]
    Path(target.part(2)).unlink()
    Path(target.part(3)).write_bytes(b"damaged")
    again = rejudge(run_folder, target, STRICT)
    assert again == first
    assert [Path(target.part(shard)).read_bytes() for shard in range(4)] == data


def test_what_cannot_be_rejudged(run_folder: RunFolder, target: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="name another folder than the run itself"):
        rejudge(run_folder, RunFolder(f"{run_folder.url}/", Store()), STRICT)
    rejudge(run_folder, target, STRICT)
    with pytest.raises(UserError, match=r"different settings \(calibration.threshold was 0.8, now 0.9"):
        rejudge(run_folder, target, Calibration(threshold=0.9))
    other = RunFolder(str(tmp_path / "other"), Store())
    make_run(other)
    with pytest.raises(UserError, match="rejudged_from was not set"):
        rejudge(run_folder, other, run_folder.open().identity.ask.calibration)
    Path(run_folder.part(1)).unlink()
    with pytest.raises(UserError, match="is unfinished"):
        rejudge(run_folder, RunFolder(str(tmp_path / "new"), Store()), STRICT)
    with pytest.raises(UserError, match="holds no run"):
        rejudge(RunFolder(str(tmp_path / "nothing"), Store()), target, STRICT)


def test_a_run_in_a_bucket(s3_bucket: Bucket) -> None:
    folder = RunFolder(f"{s3_bucket.url}/run", s3_bucket.store)
    make_run(folder)
    target = RunFolder(f"{s3_bucket.url}/strict", s3_bucket.store)
    rejudge(folder, target, STRICT)
    assert verify(target).problems == []


def test_a_hundred_thousand_rows_take_seconds(tmp_path: Path, target: RunFolder) -> None:
    folder = RunFolder(str(tmp_path / "big"), Store())
    make_run(folder, rows=100_000, shard_rows=256)
    started = time.monotonic()
    assert sum(rejudge(folder, target, STRICT).changed.values()) > 0
    assert time.monotonic() - started < 20
