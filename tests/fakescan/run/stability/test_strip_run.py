"""Runs with a strip: what verify proves, what a summary counts, and verdicts made anew."""

import json
from pathlib import Path
from typing import Any

import pytest

from fakescan.run.compact import compact
from fakescan.run.folder import RunFolder
from fakescan.run.part_tables import PartTable, part_tables
from fakescan.run.rejudge import rejudge
from fakescan.run.run_file import differences
from fakescan.run.stability.columns import HOLDS, LOGITS, NOTE, SCORES, VARIANTS
from fakescan.run.summary.summary import summarize
from fakescan.run.verify import verify
from fakescan.storage.store import Store
from fakevlm.verdict import Calibration
from tests.fakescan.run.stability.conftest import NO_STRIP, change_row, make_strip_run

pytestmark = pytest.mark.unit

Rows = list[dict[str, Any]]


def rows_of(folder: RunFolder) -> Rows:
    run = folder.open()
    return [row for shard in range(run.sharding.count) for row in folder.whole_part(shard).to_pylist()]


@pytest.mark.parametrize("stability", ["flagged", "sample", "all"])
@pytest.mark.parametrize("unstable", ["keep", "uncertain"])
def test_a_sound_run_is_proved_merged_and_counted(folder: RunFolder, stability: str, unstable: str) -> None:
    share = 0.5 if stability == "sample" else None
    make_strip_run(folder, stability=stability, stability_share=share, unstable=unstable)
    compact(folder)
    assert verify(folder).problems == []
    rows = rows_of(folder)
    looked = [row for row in rows if row[HOLDS] is not None or row[NOTE] is not None]
    assert 0 < len(looked) < len(rows)
    found = summarize(folder).strip
    assert found is not None
    holds = [row[HOLDS] for row in looked]
    assert (found.looked, found.holds, found.changes, found.unknown) == (
        len(looked), holds.count(True), holds.count(False), holds.count(None),
    )  # fmt: skip
    for number, variant in enumerate(found.variants):
        judged = [row for row in looked if row[SCORES[number]] is not None]
        changed = [row for row in judged if (row[SCORES[number]] >= 0.5) != (row["score"] >= 0.5)]
        assert (variant.name, variant.judged, variant.changed) == (VARIANTS[number].name, len(judged), len(changed))
    turned = holds.count(False) if unstable == "uncertain" else 0
    assert sum(row["verdict"] == "uncertain" for row in rows) == turned


def test_a_run_without_a_strip_has_neither_columns_nor_counts(folder: RunFolder) -> None:
    run = make_strip_run(folder, stability="none")
    assert not {*SCORES, *LOGITS, HOLDS, NOTE} & set(folder.whole_part(0).column_names)
    assert verify(folder).problems == []
    assert summarize(folder).strip is None
    assert not run.strip.is_on


def test_a_run_of_an_earlier_version_is_one_without_a_strip(folder: RunFolder) -> None:
    now = make_strip_run(folder, stability="none")
    path = Path(folder.path, "run.json")
    old = json.loads(path.read_text())
    for name in ("stability", "stability_share", "unstable"):
        del old["identity"][name]
    path.write_text(json.dumps(old | {"schema_version": "4"}))
    run = folder.open()
    assert not run.strip.is_on
    assert run.result_schema.names == now.result_schema.names[:23]
    assert differences(run, now.identity, None) == []
    wanted = now.identity.model_copy(update={"stability": "flagged"})
    assert differences(run, wanted, None) == ["stability was none, now flagged"]
    (part,) = part_tables(folder, run, [0], ["row_id", *LOGITS, HOLDS])
    assert isinstance(part, PartTable)
    assert part.table[HOLDS].null_count == part.table.num_rows


@pytest.mark.parametrize(
    ("row", "values", "told"),
    [
        (13, {"score_flip": 0.123}, "has a score_flip that does not follow from logit_flip in row 13"),
        (13, {"score_flip": None}, "has a score_flip that does not follow from logit_flip in row 13"),
        (13, {"score_flip": None, "logit_flip": None}, "has a variant without a score and without a reason in row 13"),
        (13, {"strip_note": "why"}, "has a strip_note too many in row 13"),
        (9, {"verdict_holds": True}, "has a verdict in row 9 that does not follow from its score"),
        (
            9,
            {"verdict_holds": None, "verdict": "fake"},
            "has a verdict_holds that does not follow from the scores in row 9",
        ),
        (13, NO_STRIP, "lacks a stability strip in row 13"),
        (3, {"score_pad": 0.5}, "has errors with a stability strip"),
        (9, {"verdict": "fake"}, "has a verdict in row 9 that does not hold and is not uncertain: fake"),
        (13, {"verdict": "uncertain"}, "has a verdict in row 13 that does not follow from its score"),
    ],
)
def test_whatever_does_not_follow_is_found(folder: RunFolder, row: int, values: dict[str, Any], told: str) -> None:
    make_strip_run(folder, unstable="uncertain")
    assert verify(folder).problems == []
    change_row(folder, row, **values)
    (problem,) = verify(folder).problems
    assert told in problem


def test_a_strip_that_nobody_asked_for_is_found(folder: RunFolder) -> None:
    make_strip_run(folder, stability="flagged")
    before = rows_of(folder)
    assert before[1]["verdict"] == "real"
    change_row(folder, 1, **{name: before[13][name] for name in NO_STRIP})
    (problem,) = verify(folder).problems
    assert "has a stability strip that was not asked for in row 1" in problem


@pytest.mark.parametrize("unstable", ["keep", "uncertain"])
def test_verdicts_are_made_anew_with_their_strips(folder: RunFolder, unstable: str) -> None:
    make_strip_run(folder, stability="flagged", unstable=unstable)
    target = RunFolder(f"{folder.url}-strict", Store())
    result = rejudge(folder, target, Calibration(threshold=0.4, temperature=1.5))
    assert verify(target).problems == []
    rows, before = rows_of(target), rows_of(folder)
    flagged = [row for row in rows if row["score"] is not None and row["score"] >= 0.4]
    lacking = [row for row in flagged if row[NOTE] is None and row[LOGITS[0]] is None]
    assert 0 < len(lacking) == result.unlooked
    for row, old in zip(rows, before, strict=True):
        assert [row[name] for name in (*LOGITS, NOTE)] == [old[name] for name in (*LOGITS, NOTE)]
        verdicts = {score >= 0.4 for name in SCORES if (score := row[name]) is not None}
        if verdicts:
            own = row["score"] >= 0.4
            holds = False if verdicts != {own} else None if row[NOTE] else True
            assert row[HOLDS] is holds
            assert row["verdict"] == (
                "uncertain" if unstable == "uncertain" and holds is False else "fake" if own else "real"
            )
            assert (row["explanation"] is not None) == (own and old["explanation"] is not None)
    remarks = [row["remark"] for row in rows if row[HOLDS] is False]
    assert remarks
    assert all("The verdict does not hold: " in words for words in remarks)
