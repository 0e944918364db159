"""Artifact families: deterministic, inside their box, stronger with severity, and seen on a real photograph."""

from pathlib import Path

import numpy as np
import pytest

from fakevlm.data.record import CATEGORIES
from fakevlm.forge import FAMILIES, SEVERITIES, NotApplicableError, Severity, crop, families_for, forge
from fakevlm.image_file import read_image
from tests.fakevlm.forge.scenes import Pixels, leaves, page

pytestmark = pytest.mark.unit

SAMPLES = Path(__file__).resolve().parents[3] / "samples" / "images"
EDGE = 96


def scene(family: str, seed: int, edge: int = EDGE) -> Pixels:
    return page(edge, seed) if FAMILIES[family].categories == ("doc",) else leaves(edge, seed)


def change(before: Pixels, after: Pixels) -> float:
    return float(np.abs(after.astype(float) - before.astype(float)).mean())


def test_twelve_families_or_more_spread_over_the_categories() -> None:
    assert len(FAMILIES) >= 12
    for category in CATEGORIES:
        assert len(families_for(category)) >= 7, category
    assert "garbled_text" in families_for("doc")
    assert "self_blend" in families_for("deepfake")
    with pytest.raises(KeyError):
        families_for("medicine")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("severity", SEVERITIES)
def test_the_same_state_forges_the_same_pixels_and_leaves_the_rest_alone(family: str, severity: Severity) -> None:
    for seed in range(4):
        rgb, donor = scene(family, seed), leaves(EDGE, seed + 50)
        kept = rgb.copy()
        forged = forge(rgb, family, severity, np.random.default_rng(seed), donor)
        again = forge(rgb, family, severity, np.random.default_rng(seed), donor)
        assert np.array_equal(forged.rgb, again.rgb)
        assert forged.box == again.box
        assert np.array_equal(rgb, kept), "the original was written to"
        assert forged.rgb.dtype == np.uint8
        assert forged.rgb.shape == rgb.shape
        box = forged.box
        assert 0 <= box.x0 < box.x1 <= 1
        assert 0 <= box.y0 < box.y1 <= 1
        inside = np.zeros(rgb.shape[:2], bool)
        rows = slice(round(box.y0 * EDGE), round(box.y1 * EDGE))
        columns = slice(round(box.x0 * EDGE), round(box.x1 * EDGE))
        inside[rows, columns] = True
        assert np.array_equal(forged.rgb[~inside], rgb[~inside])
        assert change(rgb[rows, columns], forged.rgb[rows, columns]) == pytest.approx(forged.facts["change"], abs=0.01)
        assert forged.facts["change"] >= FAMILIES[family].floors[severity]


@pytest.mark.parametrize("family", FAMILIES)
def test_another_state_forges_another_artifact(family: str) -> None:
    rgb, donor = scene(family, 0), leaves(EDGE, 50)
    forged = {forge(rgb, family, "visible", np.random.default_rng(seed), donor).rgb.tobytes() for seed in range(6)}
    assert len(forged) == 6


@pytest.mark.parametrize("family", FAMILIES)
def test_more_severe_is_more_changed(family: str) -> None:
    mean = {
        severity: np.mean(
            [
                change(
                    scene(family, seed),
                    forge(scene(family, seed), family, severity, np.random.default_rng(seed), leaves(EDGE, 99)).rgb,
                )
                for seed in range(12)
            ]
        )
        for severity in SEVERITIES
    }
    assert mean["subtle"] * 1.3 < mean["visible"]
    assert mean["visible"] * 1.2 < mean["strong"]


@pytest.mark.parametrize("family", [name for name in FAMILIES if name not in ("garbled_text", "checkerboard")])
def test_a_blank_picture_is_refused(family: str) -> None:
    blank = np.full((64, 64, 3), 128, np.uint8)
    if family in ("lighting", "banding"):  # they bring what is seen with them
        forged = forge(blank, family, "visible", np.random.default_rng(0), blank)
        assert forged.facts["change"] >= FAMILIES[family].floors["visible"]
        return
    with pytest.raises(NotApplicableError) as refused:
        forge(blank, family, "visible", np.random.default_rng(0), blank)
    assert refused.value.family == family


def test_a_splice_needs_a_donor_of_any_size() -> None:
    rgb = leaves(64, 1)
    with pytest.raises(NotApplicableError, match="splice"):
        forge(rgb, "splice", "strong", np.random.default_rng(0))
    for shape in ((40, 90), (300, 80), (64, 64)):
        donor = np.resize(leaves(96, 2), (*shape, 3))
        assert forge(rgb, "splice", "subtle", np.random.default_rng(0), donor).rgb.shape == rgb.shape


@pytest.mark.parametrize("shape", [(32, 32), (48, 131), (150, 70), (225, 224)])
@pytest.mark.parametrize("family", FAMILIES)
def test_any_shape_down_to_the_least(family: str, shape: tuple[int, int]) -> None:
    height, width = shape
    rgb = np.ascontiguousarray(scene(family, 3, max(shape))[:height, :width])
    for seed in range(3):
        assert forge(rgb, family, "strong", np.random.default_rng(seed), leaves(64, 4)).rgb.shape == rgb.shape


def test_smaller_than_the_least_is_refused() -> None:
    with pytest.raises(ValueError, match="31 x 200"):
        forge(np.zeros((200, 31, 3), np.uint8), "halo", "strong", np.random.default_rng(0))


def test_real_photographs_can_carry_nearly_everything() -> None:
    photos = [read_image((SAMPLES / name).read_bytes(), max_pixels=10**7).rgb for name in ("cat.webp", "palace.jpg")]
    for family in FAMILIES:
        for severity in SEVERITIES:
            shown = 0
            for seed in range(4):
                rng = np.random.default_rng(seed)
                rgb, donor = crop(photos[seed % 2], 128, rng), crop(photos[1 - seed % 2], 128, rng)
                try:
                    forge(rgb, family, severity, rng, donor)
                except NotApplicableError:
                    continue
                shown += 1
            assert shown >= 3, (family, severity)
