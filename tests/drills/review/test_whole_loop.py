"""The loop of an audit on forged pictures, by public commands alone: scan, review, prevalence, calibrate, scan again.

It prints the figures that docs/review.md has. Labels are the truth, as a reviewer who never errs would give them.
"""

import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.scan_process import fakescan

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

PHOTOGRAPHS = Path(__file__).parents[3] / "samples/images"
PER_PHOTO = 90
ONE_FAKE_IN = 12
"""Forged pictures of which one is in the bucket; of the real ones all are."""
REVIEWED = 400


def test_the_loop_ends_with_better_figures(tmp_path: Path) -> None:
    fakescan("data", "forge", PHOTOGRAPHS, "-o", tmp_path / "forged", "--per-photo", PER_PHOTO, "--edge", 112)
    bucket = tmp_path / "bucket"
    truth = fill(bucket, tmp_path / "forged")
    share = sum(truth.values()) / len(truth)
    run, again = tmp_path / "audit", tmp_path / "audit-2"

    fakescan("scan", bucket, "-o", run, "--explain", "none")
    fakescan("review", "sample", run, "-n", REVIEWED)
    label(run, truth)
    status = report("review", "status", run)
    assert status["samples"][0]["labelled"] == REVIEWED
    before = report("prevalence", run)
    calibrate = ("calibrate", "--run", run, "--labels", run / "labels", "--missed", 0.5, "-o", tmp_path / "calibration")
    output = fakescan(*calibrate).out
    fakescan(
        *("scan", bucket, "-o", again, "--explain", "none"),
        *("--calibration", tmp_path / "calibration/calibration.json"),
    )
    # The labels of the first run serve the second one, as far as its sample holds the same pictures.
    fakescan("review", "sample", again, "-n", REVIEWED, "--labels", run / "labels")
    known = report("review", "status", again, "--labels", run / "labels")["samples"][0]["labelled"]
    label(again, truth)
    after = report("prevalence", again)
    fakescan("filter", again, "--drop", "fake", "-o", tmp_path / "keep.parquet")

    figures = {name: measured(folder, truth) for name, folder in (("before", run), ("after", again))}
    kept = pq.read_table(tmp_path / "keep.parquet", columns=["sha256"])["sha256"].to_pylist()
    print(f"\n{len(truth):,} pictures, {share:.2%} forged; {known} of {REVIEWED} labels serve the second sample")
    print(f"kept {len(kept):,}, forged {sum(truth[key] for key in kept) / len(kept):.2%}\n{output}")
    for name, found in (("before", before), ("after", after)):
        print(name, found["statement"], figures[name], [one for one in found["verdicts"] if one["name"] == "fake"])
    for found in (before, after):
        assert found["prevalence"]["low"] <= share <= found["prevalence"]["high"]
        assert found["prevalence"]["kind"] == "interval"
    assert figures["after"]["precision"] > 1.3 * figures["before"]["precision"]
    assert figures["after"]["error"] < figures["before"]["error"] / 3
    assert known > REVIEWED / 4
    assert sum(truth[key] for key in kept) / len(kept) < share


def fill(bucket: Path, forged: Path) -> dict[str, bool]:
    """All real pictures and some forged ones, in folders that do not tell; which are forged, by SHA-256."""
    bucket.mkdir()
    truth: dict[str, bool] = {}
    records = json.loads((forged / "data_json/train.json").read_text())
    fakes = [record for record in records if record["label"] == 0]
    for number, record in enumerate([one for one in records if one["label"] == 1] + fakes[::ONE_FAKE_IN]):
        source = next(forged.rglob(record["image"]))
        key = hashlib.sha256(source.read_bytes()).hexdigest()
        truth[key] = record["label"] == 0
        folder = bucket / key[0]
        folder.mkdir(exist_ok=True)
        shutil.copyfile(source, folder / f"{number:05}{source.suffix}")
    return truth


def label(run: Path, truth: dict[str, bool]) -> None:
    """The labels of the run's sample."""
    keys = pq.read_table(run / "review/estimate.parquet", columns=["sha256"])["sha256"].to_pylist()
    (run / "labels").mkdir()
    lines = [
        {"sha256": key, "label": "fake" if truth[key] else "real", "reviewer": "truth", "seen_score": False}
        for key in keys
    ]
    (run / "labels/truth.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def report(*arguments: object) -> dict[str, Any]:
    """What a command says as JSON."""
    found: dict[str, Any] = json.loads(fakescan(*arguments, "--json", "-q").out)
    return found


def measured(run: Path, truth: dict[str, bool]) -> dict[str, float]:
    """By the truth, over all pictures of a run."""
    rows = pq.read_table(run / "parts", columns=["sha256", "verdict", "score"]).to_pylist()
    fakes = sum(truth.values())
    flagged = [truth[row["sha256"]] for row in rows if row["verdict"] == "fake"]
    mean = sum(row["score"] for row in rows) / len(rows)
    return {
        "flagged": len(flagged), "precision": round(sum(flagged) / max(1, len(flagged)), 3),
        "found": round(sum(flagged) / fakes, 3),
        "false_alarms": round((len(flagged) - sum(flagged)) / (len(rows) - fakes), 4),
        "mean_score": round(mean, 4), "error": abs(mean - fakes / len(rows)),
    }  # fmt: skip


def test_the_page_has_its_commands() -> None:
    """The documented loop is this one."""
    text = (Path(__file__).parents[3] / "docs/review.md").read_text()
    block = re.search(r"## The whole loop.*?```\n(.*?)```", text, re.DOTALL)
    assert block is not None
    words = [" ".join(line.split()[1:3]).split(" audit")[0] for line in block[1].splitlines()]
    assert words == ["scan bucket", "review sample", "review status", "prevalence", "calibrate --run", "scan bucket",
                     "review sample", "prevalence", "filter"]  # fmt: skip
