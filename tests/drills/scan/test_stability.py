"""A strip against a scan of files made by hand, and a variant that kills engines: it costs its score and no row."""

import shutil
from pathlib import Path

import pytest

from fakescan.run.stability.columns import HOLDS, LOGITS, NOTE, SCORES, STRIP_NAMES, VARIANTS
from fakevlm.image_file import read_image
from fakevlm.metrics.distortion import distort
from tests.fakescan.scan.stability.test_strip_scan import is_flagged, run_in, scanned, scanned_with_bad_padding
from tests.scan_process import read_rows

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("ray_cluster")]


def test_a_variant_that_kills_engines_is_poison_and_its_row_is_not(tiny_model: Path, tmp_path: Path) -> None:
    outcome, rows = scanned_with_bad_padding(tmp_path, tiny_model, "die_on_rgb")
    long = rows.pop("long.png")
    assert (long["score_pad"], long["logit_pad"]) == (None, None)
    assert long[NOTE].startswith("pad: poison: ")
    assert None not in [long[name] for name in SCORES[:4]]
    assert long[HOLDS] is (False if any((long[name] >= 0.5) != is_flagged(long) for name in SCORES[:4]) else None)
    assert [row[NOTE] for row in rows.values()] == [None] * 4
    assert (outcome.strip.looked, outcome.strip.incomplete) == (5, 1)


def test_a_variants_score_is_that_of_a_scan_of_the_file_made_by_hand(
    pictures: Path, tiny_model: Path, tmp_path: Path
) -> None:
    """And the row's own numbers are those of a scan without a strip."""
    by_hand, plain, whole = tmp_path / "by-hand", tmp_path / "plain", tmp_path / "whole"
    by_hand.mkdir()
    for path in pictures.iterdir():
        rgb = read_image(path.read_bytes(), max_pixels=10**7).rgb
        rgb.info = {}
        shutil.copy(path, by_hand)
        for variant in VARIANTS:
            distort(rgb, variant.condition, seed=0).save(by_hand / f"{path.name}.{variant.name}.png")
    scanned(by_hand, plain, tiny_model, shard_rows=64)
    scanned(pictures, whole, tiny_model, stability="all")
    alone = {Path(row["uri"]).name: row for row in read_rows(run_in(plain))}
    for row in read_rows(run_in(whole)):
        name = Path(row["uri"]).name
        assert not set(STRIP_NAMES) & set(alone[name])
        for column in ("verdict", "score", "logit", "off_script", "explanation", "sha256", "phash"):
            assert row[column] == alone[name][column]
        made = [alone[f"{name}.{variant.name}.png"] for variant in VARIANTS]
        assert [row[column] for column in SCORES] == [one["score"] for one in made]
        assert [row[column] for column in LOGITS] == [one["logit"] for one in made]
        assert row[HOLDS] is all(one["verdict"] == row["verdict"] for one in made)
