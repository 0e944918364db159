"""A scan with a stability strip, through Ray: exact, provable, resumable, and never at the price of a row."""

import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from fakescan.audit.run_diff import compare
from fakescan.engine.judged_values import judged_values
from fakescan.engine.judging_options import JudgingOptions, with_threshold
from fakescan.engine.simulated import pretend
from fakescan.run.compact import compact
from fakescan.run.folder import RunFolder
from fakescan.run.rejudge import rejudge
from fakescan.run.stability.columns import HOLDS, LOGITS, NOTE, SCORES, STRIP_NAMES, VARIANTS
from fakescan.run.summary.summary import summarize
from fakescan.run.verify import verify
from fakescan.scan.call import scan
from fakescan.scan.execution import ScanOutcome
from fakescan.storage.store import Store
from fakevlm.distortion.operators import BACKGROUND
from fakevlm.errors import UserError
from fakevlm.image_file import read_image
from fakevlm.metrics.distortion import distort
from fakevlm.preprocess import decode
from fakevlm.verdict import Calibration
from tests.scan_process import read_rows

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("ray_cluster")]

Scan = Callable[..., ScanOutcome]


def scanned(source: Path, output: Path, model: Path, **settings: Any) -> ScanOutcome:
    values = {"engine": {"kind": "fake"}, "shard_rows": 8, "model": str(model), **settings}
    return scan(source, output, **values)


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def run_in(output: Path) -> RunFolder:
    return RunFolder(str(output), Store())


def is_flagged(row: dict[str, Any]) -> bool:
    return bool(row["score"] >= 0.5)


@pytest.fixture(scope="module")
def whole(pictures: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, ScanOutcome]:
    """All of the pictures looked at again; for reading only."""
    output = tmp_path_factory.mktemp("whole") / "run"
    outcome = scanned(pictures, output, tiny_model, stability="all")
    return run_in(output), outcome


def test_a_variants_score_is_that_of_a_file_made_by_hand(whole: tuple[RunFolder, ScanOutcome], pictures: Path) -> None:
    """What the fake engine says of the pixels that decoding a saved file gives; a drill scans such files."""
    spec, options = whole[0].open().identity.image, JudgingOptions()
    for row in read_rows(whole[0]):
        data = (pictures / Path(row["uri"]).name).read_bytes()
        rgb = read_image(data, max_pixels=10**7).rgb
        rgb.info = {}  # else Pillow writes the orientation, which the pixels have already
        files = [data, *(png(distort(rgb, variant.condition, seed=0)) for variant in VARIANTS)]
        judgements = [pretend(decode(file, spec, max_pixels=10**7).pixels, options) for file in files]
        own, *made = [judged_values(judgement, options.calibration) for judgement in judgements]
        assert [row[name] for name in ("score", *SCORES)] == [np.float32(one.score) for one in (own, *made)]
        assert [row[name] for name in ("logit", *LOGITS)] == [np.float32(one.logit) for one in (own, *made)]
        assert row["verdict"] == own.verdict
        assert row[HOLDS] is all(one.verdict is own.verdict for one in made)
        assert row[NOTE] is None
        assert row["explanation"] == own.explanation


def test_the_counts_and_the_proof(whole: tuple[RunFolder, ScanOutcome]) -> None:
    folder, outcome = whole
    rows = read_rows(folder)
    unstable = sum(row[HOLDS] is False for row in rows)
    assert 0 < unstable <= 30
    assert (outcome.strip.looked, outcome.strip.unstable, outcome.strip.incomplete) == (30, unstable, 0)
    assert outcome.strip.variants <= 150
    assert verify(folder).problems == []
    strip = summarize(folder).strip
    assert strip is not None
    assert (strip.looked, strip.changes, strip.holds, strip.unknown) == (30, unstable, 30 - unstable, 0)
    for variant in strip.variants:
        changed = sum((row[f"score_{variant.name}"] >= 0.5) != is_flagged(row) for row in rows)
        assert (variant.judged, variant.changed) == (30, changed)


def test_the_remark_says_how_a_verdict_changes(whole: tuple[RunFolder, ScanOutcome]) -> None:
    folder, _ = whole
    assert all(row["remark"] == "This verdict means nothing: no trained model gave it." for row in read_rows(folder))


def test_other_settings_are_refused_by_name(
    whole: tuple[RunFolder, ScanOutcome], pictures: Path, tiny_model: Path
) -> None:
    output = Path(whole[0].path)
    again = scanned(pictures, output, tiny_model, stability="all")
    assert again.already_complete
    for settings, told in (
        ({}, "stability was all, now none"),
        ({"stability": "flagged"}, "stability was all, now flagged"),
        ({"stability": "sample", "stability_share": 0.5}, "stability_share was not set, now 0.5"),
        ({"stability": "all", "unstable": "uncertain"}, "unstable was keep, now uncertain"),
    ):
        with pytest.raises(UserError, match=told):
            scanned(pictures, output, tiny_model, **settings)


def test_settings_that_do_nothing_together_are_refused(pictures: Path, tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^stability_share: .*stability sample"):
        scanned(pictures, tmp_path / "run", tiny_model, stability="flagged", stability_share=0.1)
    with pytest.raises(UserError, match=r"^unstable: .*give flagged, sample or all"):
        scanned(pictures, tmp_path / "run", tiny_model, unstable="uncertain")
    with pytest.raises(UserError, match=r"^stability: .*flaged"):
        scanned(pictures, tmp_path / "run", tiny_model, stability="flaged")
    assert not (tmp_path / "run").exists()


def test_verdicts_made_anew_are_held_to_the_same_variants(whole: tuple[RunFolder, ScanOutcome], tmp_path: Path) -> None:
    folder, _ = whole
    target = run_in(tmp_path / "strict")
    calibration = with_threshold(Calibration(temperature=2.0, bias=0.3), 0.7)
    result = rejudge(folder, target, calibration)
    assert result.unlooked == 0
    assert verify(target).problems == []
    for before, row in zip(read_rows(folder), read_rows(target), strict=True):
        assert [row[name] for name in LOGITS] == [before[name] for name in LOGITS]
        verdicts = {row[name] >= 0.7 for name in SCORES}
        assert row[HOLDS] is (verdicts == {row["verdict"] == "fake"})
    compact(target)
    assert verify(target).problems == []
    assert pq.read_table(next(Path(target.path, "compact").glob("*.parquet"))).schema.names[-2:] == [HOLDS, NOTE]
    assert compare(folder, target).same == 30


def test_flagged_rows_alone_are_looked_at_and_what_does_not_hold_is_uncertain(
    whole: tuple[RunFolder, ScanOutcome], pictures: Path, tiny_model: Path, tmp_path: Path
) -> None:
    """With copies judged once, a part lost and done again, and errors scanned again: the same rows as in one go."""
    images, output = tmp_path / "images", tmp_path / "run"
    shutil.copytree(pictures, images)
    for path in sorted(images.iterdir())[:6]:
        shutil.copy(path, images / f"z-{path.name}")
    broken = sorted(images.iterdir())[9]
    good = broken.read_bytes()
    broken.write_bytes(b"")
    settings: dict[str, Any] = {"stability": "flagged", "unstable": "uncertain", "dedupe": True}
    first = scanned(images, output, tiny_model, max_error_rate=1.0, **settings)
    (output / "parts" / "part-00000000.parquet").unlink()
    broken.write_bytes(good)
    again = scanned(images, output, tiny_model, retry_errors=True, **settings)
    folder = run_in(output)
    assert verify(folder).problems == []
    truth = {row["sha256"]: row for row in read_rows(whole[0])}
    rows = read_rows(folder)
    assert len(rows) == 36
    for row in rows:
        own = truth[row["sha256"]]
        assert (row["score"], row["logit"], row["explanation"]) == (own["score"], own["logit"], own["explanation"])
        for name in STRIP_NAMES:
            assert row[name] == (own[name] if is_flagged(own) else None), name
        turned = is_flagged(own) and own[HOLDS] is False
        assert row["verdict"] == ("uncertain" if turned else own["verdict"])
    flagged = [row for row in rows if is_flagged(row)]
    contents = {row["sha256"] for row in flagged}
    assert 0 < len(contents) < len(flagged) < 36
    # Variants of copies are judged once, and those of the part that was lost are known from the others or judged again.
    assert first.strip.variants <= 5 * len(contents)
    assert again.strip.variants <= 5 * 9
    assert first.strip.looked == sum(is_flagged(row) for row in rows if Path(row["uri"]) != broken)
    summary = summarize(folder)
    assert summary.strip is not None
    assert summary.strip.looked == len(flagged)
    assert summary.outcomes.uncertain == summary.strip.changes == sum(row["verdict"] == "uncertain" for row in rows)


def noise(size: tuple[int, int], seed: int) -> bytes:
    levels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return png(Image.fromarray(levels))


def test_a_variant_that_the_engine_refuses_costs_its_score_and_no_row(tiny_model: Path, tmp_path: Path) -> None:
    """The engine refuses the colour that pictures are padded with: only the picture that is not square is padded."""
    outcome, rows = scanned_with_bad_padding(tmp_path, tiny_model, "fail_on_rgb")
    long = rows.pop("long.png")
    assert (long["score_pad"], long["logit_pad"]) == (None, None)
    assert long[NOTE].startswith("pad: judge_failed: ")
    assert None not in [long[name] for name in SCORES[:4]]
    assert long[HOLDS] is (False if any((long[name] >= 0.5) != is_flagged(long) for name in SCORES[:4]) else None)
    for row in rows.values():
        assert row[NOTE] is None
        assert row["score_pad"] == row["score"]  # a square is not padded
    assert (outcome.strip.looked, outcome.strip.incomplete, outcome.strip.variants) == (5, 1, 4 * 4 + 5)


def test_errors_scanned_again_are_failed_variants_too(tiny_model: Path, tmp_path: Path) -> None:
    """And no row is worse for it: one whose file is gone, and one whose file is another, keep what they have."""
    images, output = tmp_path / "images", tmp_path / "run"
    images.mkdir()
    for name in ("gone", "other", "long"):
        (images / f"{name}.png").write_bytes(noise((180, 90), len(name)))
    for number in range(6):
        (images / f"{number}.png").write_bytes(noise((90, 90), number))
    settings: dict[str, Any] = {"shard_rows": 3, "stability": "all"}
    engine = {"kind": "fake", "fail_on_rgb": BACKGROUND}
    outcome = scanned(images, output, tiny_model, engine=engine, **settings)
    assert (outcome.strip.incomplete, outcome.strip.failed) == (3, 3)
    before = {Path(row["uri"]).name: row for row in read_rows(run_in(output))}
    (images / "gone.png").unlink()
    (images / "other.png").write_bytes(noise((180, 90), 9))
    again = scanned(images, output, tiny_model, retry_errors=True, **settings)
    rows = {Path(row["uri"]).name: row for row in read_rows(run_in(output))}
    long = rows.pop("long.png")
    assert (long[NOTE], before.pop("long.png")["score_pad"]) == (None, None)
    assert None not in [long[name] for name in SCORES]
    assert rows == before
    assert (again.whole.rows, again.whole.failed, again.scanned.rows) == (9, 0, 1)
    assert (again.strip.looked, again.strip.failed) == (1, 0)
    assert verify(run_in(output)).problems == []


def scanned_with_bad_padding(folder: Path, model: Path, drill: str) -> tuple[ScanOutcome, dict[str, dict[str, Any]]]:
    """Scan four squares and one picture that is none; the engine cannot bear the colour of the padding."""
    images, output = folder / "images", folder / "run"
    images.mkdir()
    for number in range(4):
        (images / f"{number}.png").write_bytes(noise((90, 90), number))
    (images / "long.png").write_bytes(noise((180, 90), 5))
    engine = {"kind": "fake", drill: BACKGROUND}
    outcome = scanned(images, output, model, engine=engine, shard_rows=4, stability="all")
    rows = {Path(row["uri"]).name: row for row in read_rows(run_in(output))}
    assert {row["error_code"] for row in rows.values()} == {None}
    assert verify(run_in(output)).problems == []
    return outcome, rows
