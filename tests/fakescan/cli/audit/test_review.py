"""`fakescan review` and `fakescan prevalence` as people and programs meet them."""

import json
from pathlib import Path

import pytest

from fakescan.cli.main import main
from fakescan.review.sample_file import read_sample
from fakescan.run.folder import RunFolder
from fakescan.storage.store import Store
from tests.conftest import Bucket
from tests.fakescan.review.conftest import KnownRun, known_run

pytestmark = pytest.mark.unit


def call(capfd: pytest.CaptureFixture[str], *arguments: object, status: int = 0) -> tuple[str, str]:
    with pytest.raises(SystemExit) as exit:
        main([str(argument) for argument in arguments])
    out, err = capfd.readouterr()
    assert (exit.value.code or 0) == status, err
    assert "Traceback" not in err
    return out, err


def drawn(known: KnownRun) -> list[str]:
    sample = read_sample(known.folder, "estimate")
    assert sample is not None
    keys: list[str] = sample.rows["sha256"].to_pylist()
    return keys


def test_from_a_sample_to_a_number(known: KnownRun, capfd: pytest.CaptureFixture[str]) -> None:
    url = known.folder.url
    out, _ = call(capfd, "review", "sample", url, "-n", 400)
    assert "400 of 2,970 images drawn: for a prevalence" in out
    assert f"sample: {url}/review/estimate.parquet" in out
    keys = drawn(known)
    known.write_labels("ann", keys, seconds=2.0)
    known.write_labels("bob", keys[:50], seen_score=True)
    out, _ = call(capfd, "review", "status", url)
    assert "estimate: 400 of 400 images labelled" in out
    assert "ann and bob agree on 50 of 50 images, kappa 1.00" in out
    out, _ = call(capfd, "prevalence", url)
    assert out.startswith("between ")
    assert "of 2,970 images are fake (95 %, 400 reviewed)" in out
    assert "50 images were labelled by somebody who had seen the score" in out
    found = json.loads(call(capfd, "prevalence", url, "--json", "-q")[0])
    judged = [fake for row, fake in enumerate(known.truth.values()) if row % 100 != 3]
    assert found["prevalence"]["low"] <= sum(judged) / len(judged) <= found["prevalence"]["high"]
    assert sum(band["rows"] for band in found["bands"]) == sum(band["rows"] for band in found["verdicts"]) == 2970
    assert (found["images"], found["errors"], found["reviewed"], found["above_zero"]) == (2970, 30, 400, True)


def test_a_second_look_is_said_apart(known: KnownRun, capfd: pytest.CaptureFixture[str]) -> None:
    url = known.folder.url
    call(capfd, "review", "sample", url, "-n", 100)
    keys = drawn(known)
    known.write_labels("ann", keys)
    out, _ = call(capfd, "review", "sample", url, "-n", 20, "--design", "qa")
    assert "20 of 100 images drawn: of labelled images, for a second look by their reviewer or another" in out
    again = read_sample(known.folder, "qa")
    assert again is not None
    keys = again.rows["sha256"].to_pylist()
    assert "qa: 0 of 20 images looked at twice" in call(capfd, "review", "status", url)[0]
    known.write_labels("again", keys[:8], reviewer="ann", second_look=True)
    known.write_labels("bob", keys[6:12], second_look=False)
    out, _ = call(capfd, "review", "status", url)
    assert "qa: 12 of 20 images looked at twice" in out
    assert "ann agrees with ann's own first look on 8 of 8 images, kappa " in out
    assert "ann and bob agree on 6 of 6 images, kappa " in out
    found = json.loads(call(capfd, "review", "status", url, "--json", "-q")[0])
    assert [(own["reviewer"], own["images"], own["agreed"]) for own in found["selves"]] == [("ann", 8, 8)]
    assert found["replaced"] == 0


def test_prevalence_by_picture(known: KnownRun, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    url, place = known.folder.url, tmp_path / "pictures.parquet"
    call(capfd, "review", "sample", url, "-n", 200)
    known.write_labels("ann", drawn(known))
    call(capfd, "duplicates", url, "-o", place)
    out, _ = call(capfd, "prevalence", url, "--pictures", place)
    assert "by picture: between" in out
    assert "of 2,970 pictures are fake (95 % or more, 200 reviewed)" in out
    found = json.loads(call(capfd, "prevalence", url, "--pictures", place, "--json", "-q")[0])
    assert found["by_picture"]["share"] == found["prevalence"]  # no image has a copy
    _, err = call(capfd, "prevalence", url, "--pictures", tmp_path / "none.parquet", status=2)
    assert "none.parquet" in err
    assert "Traceback" not in err


def test_no_fake_among_the_labels_cannot_be_told_from_zero(
    known: KnownRun,
    capfd: pytest.CaptureFixture[str],
) -> None:
    call(capfd, "review", "sample", known.folder.url, "-n", 400)
    known.write_labels("ann", [key for key in drawn(known) if not known.truth[key]][:300])
    out, _ = call(capfd, "prevalence", known.folder.url)
    assert out.startswith("at most ")
    assert out.splitlines()[0].endswith("(95 %, 300 reviewed, none of them fake); it cannot be told from zero")


def test_labels_that_somebody_chose_are_told(known: KnownRun, capfd: pytest.CaptureFixture[str]) -> None:
    """Half of the sample in its order is as good as random; the other half, the highest scores or labels of another
    sample, is not."""
    call(capfd, "review", "sample", known.folder.url, "-n", 200)
    keys = drawn(known)
    known.write_labels("ann", keys[:100])
    warning = "the labelled images are not the first ones of the sample"
    assert warning not in call(capfd, "prevalence", known.folder.url)[0]
    known.write_labels("ann", keys[100:])
    assert warning in call(capfd, "prevalence", known.folder.url)[0]


def test_a_few_fakes_make_a_bound_and_no_interval(known: KnownRun, capfd: pytest.CaptureFixture[str]) -> None:
    call(capfd, "review", "sample", known.folder.url, "-n", 400)
    keys = drawn(known)
    fakes = [key for key in keys if known.truth[key]]
    known.write_labels("ann", [key for key in keys if not known.truth[key]] + fakes[:3])
    out, _ = call(capfd, "prevalence", known.folder.url)
    assert out.splitlines()[0].startswith("at most ")
    assert out.splitlines()[0].endswith(" reviewed, 3 of them fake)")
    found = json.loads(call(capfd, "prevalence", known.folder.url, "--json", "-q")[0])
    assert (found["prevalence"]["kind"], found["prevalence"]["low"], found["above_zero"]) == ("at_most", 0, True)


def test_a_run_that_was_reviewed_entirely(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    small = known_run(RunFolder(str(tmp_path / "small"), Store()), rows=100, fakes=0.2)
    call(capfd, "review", "sample", small.folder.url, "-n", 500)
    small.write_labels("ann", drawn(small))
    fakes = sum(fake for row, fake in enumerate(small.truth.values()) if row != 3)
    out, _ = call(capfd, "prevalence", small.folder.url)
    assert out.startswith(f"{fakes / 0.99:.0f} % of 99 images are fake (95 %, 99 reviewed)")


def test_a_run_that_changed_after_the_sample(known: KnownRun, capfd: pytest.CaptureFixture[str]) -> None:
    call(capfd, "review", "sample", known.folder.url, "-n", 200)
    known.write_labels("ann", drawn(known))
    next(iter(sorted(Path(known.folder.path, "parts").iterdir()))).unlink()
    out, _ = call(capfd, "prevalence", known.folder.url)
    assert "the run has changed since the sample was drawn: 2,717 images have a verdict now; draw again" in out


def test_reviewers_who_never_agree(known: KnownRun, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    call(capfd, "review", "sample", known.folder.url, "-n", 60)
    keys = drawn(known)
    known.write_labels("ann", keys)
    bob = KnownRun(known.folder, {key: not fake for key, fake in known.truth.items()})
    bob.write_labels("bob", keys)
    out, _ = call(capfd, "review", "status", known.folder.url)
    assert "60 images are disputed" in out
    _, err = call(capfd, "prevalence", known.folder.url, status=2)
    assert "0 of the 60 images of the sample are called real or fake, 60 are unsure" in err
    labels = f"{known.folder.url}/labels"
    _, err = call(capfd, "calibrate", "--run", known.folder.url, "--labels", labels, "-o", tmp_path / "cal", status=2)
    assert "has one that says real or fake" in err
    _, err = call(capfd, "data", "from-labels", known.folder.url, "-o", tmp_path / "data", status=2)
    assert "no image of this run has a label that says real or fake" in err


def test_without_labels_error_rates_give_a_range_or_nothing_does(
    untouched: KnownRun,
    capfd: pytest.CaptureFixture[str],
) -> None:
    out, _ = call(capfd, "prevalence", untouched.folder.url)
    assert "it is not known how many of 2,970 images are fake" in out
    rates = ("--sensitivity", "90/100", "--specificity", "700/1000")
    out, _ = call(capfd, "prevalence", untouched.folder.url, *rates)
    assert "it cannot be told from zero" in out
    assert "if the detector errs here as it did" in out


def test_a_run_in_a_bucket(untouched: KnownRun, s3_bucket: Bucket, capfd: pytest.CaptureFixture[str]) -> None:
    url = s3_bucket.upload(Path(untouched.folder.path), "run")
    options = {name: secret.get_secret_value() for name, secret in s3_bucket.store.options.items()}
    flags = ["--output-endpoint", s3_bucket.store.endpoint_url]
    flags += [flag for name, value in options.items() for flag in ("--output-option", f"{name}={value}")]
    call(capfd, "review", "sample", url, "-n", 100, *flags)
    out, _ = call(capfd, "prevalence", url, *flags)
    assert "not known" in out
    folder = RunFolder(url, s3_bucket.store)
    sample = read_sample(folder, "estimate")
    assert sample is not None
    lines = [
        json.dumps({"sha256": key, "label": "fake" if untouched.truth[key] else "real", "reviewer": "ann"}) + "\n"
        for key in sample.rows["sha256"].to_pylist()
    ]
    folder.fs.pipe_file(f"{folder.path}/labels/ann.jsonl", "".join(lines).encode())
    assert "100 of 100 images labelled" in call(capfd, "review", "status", url, *flags)[0]
    out, _ = call(capfd, "prevalence", url, *flags)
    assert "100 reviewed" in out
    call(capfd, "filter", url, "--drop", "fake", "-o", f"{url}-keep.csv", *flags)
    assert folder.fs.cat_file(f"{folder.path}-keep.csv").startswith(b'"uri",')


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("review", "sample", "RUN", "-n", "0"), "n: 0 is not from 1 to 100,000"),
        (("review", "sample", "RUN", "-n", "1"), "n: 1 is fewer than the 2 bands of the sample"),
        (("review", "sample", "RUN", "-n", "9", "--design", "best"), "design: 'best' is none of estimate, threshold"),
        (("review", "sample", "RUN", "-n", "9", "--design", "qa"), "labels: the design qa repeats labelled images"),
        (("review", "sample", "RUN", "-n", "9", "--design", "disagree"), "against: --design disagree takes"),
        (("review", "sample", "/nowhere", "-n", "9"), "/nowhere"),
        (("review", "status", "RUN"), "has no sample; draw one"),
        (("prevalence", "RUN", "--labels", "/nowhere.jsonl"), "/nowhere.jsonl"),
        (("prevalence", "RUN", "--sensitivity", "8/10"), "it takes both"),
        (("prevalence", "RUN", "--sensitivity", "11/10", "--specificity", "9/10"), "--sensitivity: '11/10' is not"),
        (("prevalence", "RUN", "--evaluation", "RUN"), "holds no metrics.json"),
        (("prevalence", "RUN", "--design", "qa"), "the others tell no prevalence"),
    ],
)
def test_bad_input_is_one_line(
    untouched: KnownRun,
    capfd: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    words: str,
) -> None:
    _, err = call(capfd, *(untouched.folder.url if word == "RUN" else word for word in arguments), status=2)
    assert err.count("\n") == 1
    assert words in err


def test_labels_of_other_images_are_too_few(known: KnownRun, capfd: pytest.CaptureFixture[str]) -> None:
    path = known.write_labels("ann", list(known.truth))
    _, err = call(capfd, "prevalence", known.folder.url, "--labels", path, status=2)
    assert "has no sample for estimate" in err
    call(capfd, "review", "sample", known.folder.url, "-n", 100)
    known.write_labels("ann", drawn(known)[:10])
    _, err = call(capfd, "prevalence", known.folder.url, status=2)
    assert "10 of the 100 images of the sample are called real or fake, 0 are unsure; it takes at least 20" in err


def test_error_rates_of_another_detector_are_refused(
    known: KnownRun,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    counts = {f"{a}_{b}": 5 for a in ("fake", "real") for b in ("as_fake", "as_real", "uncertain")}
    metrics = {"weights_sha256": "0" * 64, "temperature": 1.0, "bias": 0.0, "threshold": 0.5, "overall": counts}
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    out, _ = call(capfd, "prevalence", known.folder.url, "--evaluation", tmp_path)
    assert out.startswith("anything from 0 % to 100 % of")
    (tmp_path / "metrics.json").write_text(json.dumps({**metrics, "threshold": 0.7}))
    _, err = call(capfd, "prevalence", known.folder.url, "--evaluation", tmp_path, status=2)
    assert "threshold 0.7, and the run has 0.5" in err


def test_a_dry_run_leaves_nothing(known: KnownRun, capfd: pytest.CaptureFixture[str]) -> None:
    out, _ = call(capfd, "review", "sample", known.folder.url, "-n", 50, "--dry-run", "--json")
    assert json.loads(out)["dry_run"] is True
    assert read_sample(RunFolder(known.folder.url, Store()), "estimate") is None
