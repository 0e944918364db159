"""Evaluations and calibrations with the built-in model, on real vLLM and Ray."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fakescan.evaluate.calibrate import run_calibration
from fakescan.evaluate.config import CalibrateConfig, EvaluateConfig
from fakescan.evaluate.driver import EvaluationOutcome, run_evaluation
from fakevlm.builtin import BUILT_IN
from fakevlm.checkpoint.card import read_card
from fakevlm.errors import UserError
from tests.conftest import Bucket
from tests.fakescan.conftest import Rows
from tests.fakevlm.data.published import dd_vqa, loki_questions

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]


def config(data: Path, output: Path, **more: Any) -> EvaluateConfig:
    return EvaluateConfig(data=str(data), output=str(output), benchmark="folder", **more)


def settings(turned: Path, output: Path, **more: Any) -> EvaluateConfig:
    """Of the evaluation that the tests share."""
    return config(turned, output, training=str(turned), conditions=("flip",), max_new_tokens=16, threshold=0.25, **more)


@pytest.fixture(scope="module")
def done(turned: Path, ray_cluster: str, tmp_path_factory: pytest.TempPathFactory) -> EvaluationOutcome:
    output = tmp_path_factory.mktemp("evaluation")
    return run_evaluation(settings(turned, output), ray_address=ray_cluster)


def test_an_evaluation_leaves_numbers_and_a_report(done: EvaluationOutcome) -> None:
    overall = done.results.overall
    assert (overall.images, overall.fakes) == (128, 64)
    assert overall.auroc is not None
    assert overall.auroc > 0.8
    assert set(done.results.generators) == {
        "smoothing", "frequency", "checkerboard", "splice", "lighting", "inpainting", "repetition", "warp",
    }  # fmt: skip
    written = json.loads((Path(done.url) / "metrics.json").read_text())
    assert written["overall"]["auroc"] == overall.auroc
    assert "<svg" in (Path(done.url) / "report.html").read_text()


def test_the_threshold_decides(done: EvaluationOutcome) -> None:
    assert done.results.threshold == 0.25
    judged = done.judged["none"]
    assert done.results.overall.accuracy == ((judged.score >= 0.25) == judged.is_fake).mean()
    assert ((judged.verdict == "fake") == (judged.score >= 0.25)).all()


def test_near_duplicates_are_found(done: EvaluationOutcome) -> None:
    controls = done.results.controls
    assert controls.duplicates is not None
    assert controls.unhashed is not None
    assert controls.duplicates >= 120, "the set is its own training set here"


def test_conditions_change_the_pixels_that_are_judged(done: EvaluationOutcome) -> None:
    clean, flipped = (done.judged[name].logit for name in ("none", "flip"))
    assert not np.allclose(clean, flipped, atol=1e-3)
    assert np.sort(flipped) == pytest.approx(np.sort(clean), abs=1e-3), "the set holds each image's mirror image"


def test_its_scores_are_those_of_a_scan(done: EvaluationOutcome, turned: Path, scanned_mixed: Rows) -> None:
    real = turned / "pictures" / "real"
    scanned = {uri: row["logit"] for uri, row in scanned_mixed.items() if Path(uri).parent == real}
    judged = done.judged["none"]
    evaluated = dict(zip(judged.rows["uri"].to_pylist(), judged.logit.tolist(), strict=True))
    assert len(scanned) == 64
    for uri, logit in scanned.items():
        assert evaluated[uri] == pytest.approx(logit, abs=1e-3)


def test_the_same_command_again_judges_nothing_and_other_images_are_refused(
    done: EvaluationOutcome, turned: Path, tmp_path: Path
) -> None:
    output = Path(done.url)
    parts = {file: file.stat().st_mtime_ns for file in Path(done.url).glob("*/parts/*")}
    assert run_evaluation(settings(turned, output)).results == done.results
    assert {file: file.stat().st_mtime_ns for file in Path(done.url).glob("*/parts/*")} == parts
    with pytest.raises(UserError, match=r"^output: .* was started with different settings \(listed_sha256 was "):
        run_evaluation(settings(turned, output, sample=64))
    with pytest.raises(UserError, match=r"\(calibration.threshold was 0.25, now 0.3\)"):
        run_evaluation(settings(turned, output).model_copy(update={"threshold": 0.3}))


def test_a_calibration_is_stored_with_the_checkpoint(turned: Path, ray_cluster: str, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(BUILT_IN, model)
    settings = CalibrateConfig(
        data=str(turned), output=str(tmp_path / "out"), benchmark="folder", model=str(model), fpr=0.1, missed=0.2
    )
    outcome = run_calibration(settings, ray_address=ray_cluster)
    assert read_card(model).calibration == outcome.fit.calibration
    assert outcome.card == str(model / "fakevlm.json")
    again = settings.model_copy(update={"threshold": 0.9})  # which is what is fitted
    assert run_calibration(again, ray_address=ray_cluster).fit.calibration == outcome.fit.calibration


@pytest.mark.parametrize("benchmark", ["fakeclue", "folder"])
def test_data_and_results_in_a_bucket(
    benchmark: str, s3_bucket: Bucket, labelled: Path, tiny_model: Path, ray_cluster: str
) -> None:
    data = s3_bucket.upload(labelled, "data")
    store = s3_bucket.settings()
    settings = EvaluateConfig.model_validate(
        {
            "benchmark": benchmark,
            "data": data,
            "split": "val" if benchmark == "fakeclue" else None,
            "output": f"{s3_bucket.url}/evaluation",
            "model": str(tiny_model),
            "engine": {"kind": "fake"},
            "conditions": ("flip",),
            "training": data if benchmark == "fakeclue" else None,
            "data_store": store,
            "output_store": store,
        }
    )
    done = run_evaluation(settings, ray_address=ray_cluster)
    expected = (16, 8) if benchmark == "fakeclue" else (56, 28)
    assert (done.results.overall.images, done.results.overall.fakes) == expected
    assert done.results.errors == {}
    assert set(done.results.conditions) == {"none", "flip"}
    if benchmark == "fakeclue":
        assert done.results.split == "val"
        assert done.results.controls.duplicates is not None, "hashes are made of what is in the bucket"
    fs, path = s3_bucket.store.filesystem(f"{s3_bucket.url}/evaluation")
    fs.invalidate_cache()
    assert {"metrics.json", "images.parquet", "report.html"} <= {name.rpartition("/")[2] for name in fs.ls(path)}
    assert "data:image/jpeg;base64," in fs.cat(f"{path}/report.html").decode(), "mistakes are shown with their images"


def _published_set(benchmark: str, root: Path) -> tuple[dict[str, Any], tuple[int, int], dict[str, int]]:
    """A benchmark in its published shape; the settings for it, its images and fakes, and images by category."""
    images: list[str] = []
    more: dict[str, Any] = {}
    if benchmark == "loki":
        kinds = [("sence", True), ("sence", False), ("person", True), ("animals", True), ("doc", False)]
        items = [item for number, (name, fake) in enumerate(kinds) for item in loki_questions(name, number, fake=fake)]
        (root / "true_or_false.json").write_text(json.dumps(items))
        images = [item["image_path"] for item in items]
        expected = ((5, 3), {"scene": 2, "human": 1, "animal": 1, "doc": 1})
        data = root / "true_or_false.json"
    elif benchmark == "dd-vqa":
        for name, videos in (("Deepfakes", ("0_000_003", "0_114_102")), ("Original", ("5_044",))):
            (root / "test_set" / name).mkdir(parents=True)
            (root / "test_set" / name / f"{name}.json").write_text(json.dumps(dd_vqa(*videos)))
        frames = "ff/manipulated_sequences/Deepfakes/c23/frames"
        images = [f"{frames}/{video}/{number}.png" for video in ("000_003", "114_102") for number in range(9, 13)]
        images += [f"ff/original_sequences/youtube/c23/frames/044/{number}.png" for number in range(9, 13)]
        expected = ((9, 6), {"deepfake": 9})
        data, more = root / "test_set", {"image_folder": str(root / "ff")}
    else:
        images = ["sd/ai/1.png", "sd/ai/2.png", "sd/nature/3.png", "x/0_real/4.png", "x/1_fake/5.png", "stray.png"]
        expected = ((5, 3), {"sd": 3, "x": 2})
        data, more = root, {"labels": ("ai=fake", "nature=real")}
    for number, image in enumerate(dict.fromkeys(images)):
        (root / image).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32), (number * 9, 99, 33)).save(root / image)
    return {"data": str(data), **more}, *expected


@pytest.mark.parametrize("benchmark", ["loki", "dd-vqa", "folder"])
def test_a_benchmark_as_published_is_evaluated(
    benchmark: str, tiny_model: Path, ray_cluster: str, tmp_path: Path
) -> None:
    (tmp_path / "set").mkdir()
    place, counts, categories = _published_set(benchmark, tmp_path / "set")
    config = EvaluateConfig.model_validate(
        {
            **place,
            "benchmark": benchmark,
            "output": str(tmp_path / "out"),
            "model": str(tiny_model),
            "engine": {"kind": "fake"},
            "explain": True,
        }
    )
    done = run_evaluation(config, ray_address=ray_cluster)
    results, judged = done.results, done.judged["none"]
    assert (results.overall.images, results.overall.fakes) == counts
    assert {name: one.images for name, one in results.categories.items()} == categories
    assert (results.errors, results.repeated) == ({}, 0)
    assert (results.left_out, results.left_out_names) == ((1, ["stray.png"]) if benchmark == "folder" else (0, []))
    # By hand: each number once more, from the scores that were written down.
    pairs = list(zip(judged.score.tolist(), judged.is_fake.tolist(), strict=True))
    hits = sum(score >= 0.5 for score, fake in pairs if fake)
    alarms = sum(score >= 0.5 for score, fake in pairs if not fake)
    fakes, reals = counts[1], counts[0] - counts[1]
    assert results.overall.recall_fake == hits / fakes
    assert results.overall.precision_fake == (hits / (hits + alarms) if hits + alarms else None)
    assert results.overall.accuracy == (hits + reals - alarms) / counts[0]
    wins = sum((a > b) + (a == b) / 2 for a, fake in pairs if fake for b, other in pairs if not other)
    assert results.overall.auroc == pytest.approx(wins / (fakes * reals))
    assert results.texts is not None
    assert results.texts.compared == (9 if benchmark == "dd-vqa" else 0), "Yes and No are no references"
