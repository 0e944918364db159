"""Statistics count what stands in the records."""

import pytest

from fakevlm.data.stats import dataset_stats
from tests.fakevlm.data.labelled import record

pytestmark = pytest.mark.unit


def test_counts_per_category_and_label() -> None:
    records = [record(cate="doc", label=0)] * 3 + [record(cate="doc")] + [record(cate="animal")] * 4
    stats = dataset_stats(records)
    assert [(count.name, count.real, count.fake, count.fake_share) for count in stats.categories] == [
        ("animal", 4, 0, 0.0),
        ("doc", 1, 3, 0.75),
    ]
    assert (stats.total.total, stats.total.fake_share) == (8, 0.375)
    assert stats.families == []


def test_families_by_severity() -> None:
    forged = [record(label=0, family="splice", severity=level) for level in ("subtle", "strong", "strong", None)]
    stats = dataset_stats([*forged, record(label=0, family="blur", severity="visible"), record()])
    assert stats.families == [("blur", {"visible": 1}), ("splice", {"subtle": 1, "strong": 2, "-": 1})]


def test_sizes_leave_out_what_is_unknown_or_absurd() -> None:
    sizes = [(8, 6), (8, 6), (10, 2), (None, None), (8, None), (0, 5), (10**400, 5)]
    (found,) = dataset_stats([record(width=width, height=height) for width, height in sizes]).sizes
    assert (found.label, found.known, found.smallest, found.median, found.largest) == (
        "real",
        3,
        (8, 2),
        (8, 6),
        (10, 6),
    )
    assert found.commonest == (8, 6)
    assert found.commonest_share == pytest.approx(2 / 3)


def test_answers_and_boilerplate() -> None:
    fakes = [record(label=0, answer=f"This is a fake image. {'word ' * count}") for count in range(100)]
    reals = [record(answer="This is a real image. Fine.")] * 3 + [record(answer="This is a real image.")]
    fake, real = dataset_stats([*fakes, *reals]).answers
    assert (fake.label, fake.count, fake.median_words) == ("fake", 100, 5 + 49.5)
    assert fake.p95_words == pytest.approx(5 + 0.95 * 99)
    assert (real.commonest, real.commonest_share) == ("This is a real image. Fine.", 0.75)


def test_nothing_of_nothing() -> None:
    stats = dataset_stats([])
    assert (stats.categories, stats.sizes, stats.answers, stats.total.fake_share) == ([], [], [], 0.0)
