"""`fakescan filter`, `diff` and `calibrate --run` as people and programs meet them."""

import json
from pathlib import Path

import pytest

from fakescan.review.sample_file import read_sample
from fakevlm.verdict import Calibration
from tests.fakescan.cli.audit.test_review import call
from tests.fakescan.review.conftest import KnownRun

pytestmark = pytest.mark.unit


def test_filter_says_what_is_left_out(untouched: KnownRun, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out, _ = call(capfd, "filter", untouched.folder.url, "--drop", "fake", "-o", tmp_path / "keep.txt")
    assert "left out as neither real nor fake: 30 images without a verdict; --errors keep keeps them" in out
    kept = len((tmp_path / "keep.txt").read_text().splitlines())
    assert f"kept {kept:,} of 3,000 images: real {kept:,}" in out
    out, _ = call(
        capfd, "filter", untouched.folder.url, "--keep", "real", "-o", tmp_path / "x.csv", "--dry-run", "--json"
    )
    found = json.loads(out)
    assert (found["kept"], found["left_out"]["errors"], found["dry_run"]) == ({"real": kept}, 30, True)
    assert not (tmp_path / "x.csv").exists()


def test_diff(untouched: KnownRun, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    strict = tmp_path / "strict"
    call(capfd, "rejudge", untouched.folder.url, "-o", strict, "--threshold", 0.99)
    out, _ = call(capfd, "diff", untouched.folder.url, strict)
    assert "threshold was 0.5, now 0.99" in out
    assert "fake -> real" in out
    found = json.loads(call(capfd, "diff", untouched.folder.url, strict, "--json", "-q")[0])
    assert (found["new"], found["gone"], found["same"], found["moved"]) == (0, 0, 3000, 0)
    assert list(found["changed"]) == ["fake -> real"]


def test_labels_make_a_calibration_that_rejudge_takes(
    known: KnownRun, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    url = known.folder.url
    call(capfd, "review", "sample", url, "-n", 600)
    sample = read_sample(known.folder, "estimate")
    assert sample is not None
    known.write_labels("ann", sample.rows["sha256"].to_pylist())
    out, _ = call(capfd, "calibrate", "--run", url, "-o", tmp_path / "cal", "--fpr", 0.02)
    assert "a score is the probability that an image of this run is fake" in out
    Calibration.model_validate_json((tmp_path / "cal" / "calibration.json").read_text())
    out, _ = call(capfd, "rejudge", url, "-o", tmp_path / "new", "--calibration", tmp_path / "cal" / "calibration.json")
    assert "have another verdict" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("filter", "RUN", "-o", "k.csv"), "keep: name the verdicts with either --keep or --drop"),
        (("filter", "RUN", "-o", "k.csv", "--keep", "real", "--drop", "fake"), "either --keep or --drop"),
        (("filter", "RUN", "-o", "k.csv", "--keep", "reel"), "keep: 'reel' is none of real, fake, uncertain"),
        (("filter", "RUN", "-o", "k.doc", "--keep", "real"), "must end with .parquet, .csv, .txt"),
        (("filter", "RUN", "-o", "k.csv", "--drop", "fake", "--min-score", "2"), "min_score: 2 does not lie"),
        (("filter", "RUN", "-o", "k.csv", "--drop", "fake", "--ids", "coyo"), "ids: 'coyo' is none of"),
        (("diff", "RUN", "/nowhere"), "/nowhere"),
        (("diff", "RUN", "RUN", "--by", "name"), "by: 'name' is none of"),
        (("diff", "RUN", "RUN", "-o", "c.csv"), "must end with .parquet"),
        (("calibrate", "--run", "RUN", "-o", "c"), "has no sample for estimate"),
        (("calibrate", "--labels", "l.jsonl", "-o", "c"), "run: --labels are of the images of a run"),
        (("calibrate", "--run", "RUN", "--data", "d", "-o", "c"), "either --data or --run"),
        (("calibrate", "--run", "RUN", "-o", "c", "--design", "qa"), "may not feed a calibration"),
        (("data", "from-labels", "RUN", "-o", "d"), "holds no .jsonl file; name one with --labels"),
        (("data", "from-labels", "RUN", "-o", "d", "--category", "cat"), "category: 'cat' is none of"),
    ],
)
def test_bad_input_is_one_line(
    untouched: KnownRun, capfd: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str
) -> None:
    _, err = call(capfd, *(untouched.folder.url if word == "RUN" else word for word in arguments), status=2)
    assert err.count("\n") == 1
    assert words in err


def test_duplicates(untouched: KnownRun, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out, _ = call(capfd, "duplicates", untouched.folder.url, "-o", tmp_path / "p.parquet")
    assert "2,970 judged images are 2,970 pictures" in out  # this run has no hashes: all count as blank
    assert "2,970 images are too blank to be compared" in out
    assert "30 images without a verdict belong to no picture" in out
    found = json.loads(call(capfd, "duplicates", untouched.folder.url, "--json", "-q")[0])
    assert (found["total"], found["errors"], found["output"], found["limit"]) == (2970, 30, None, 24)
