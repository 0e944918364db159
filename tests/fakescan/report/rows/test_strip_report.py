"""A report of a run with a stability strip: its numbers are those of the parts, and the pages show it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from fakescan.report.build import ReportSettings, build_report
from fakescan.report.report_file import ReportFile
from fakescan.run.folder import RunFolder
from fakescan.run.stability.columns import HOLDS, LOGITS, NOTE, SCORES, VARIANTS
from fakescan.storage.store import Store
from tests.fakescan.run.stability.conftest import make_strip_run

pytestmark = pytest.mark.unit


@dataclass(frozen=True)
class StripReport:
    target: RunFolder
    file: ReportFile
    parts: list[dict[str, Any]]

    def rows(self) -> list[dict[str, Any]]:
        folder = Path(self.target.path, self.file.data)
        found: list[dict[str, Any]] = pq.read_table(
            [str(folder / file.name) for file in self.file.rows.files]
        ).to_pylist()
        return found


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> StripReport:
    root = tmp_path_factory.mktemp("strip")
    folder, target = RunFolder(str(root / "run"), Store()), RunFolder(str(root / "report"), Store())
    run = make_strip_run(folder, stability="flagged", unstable="uncertain", prefix=f"{root}/images/")
    file = build_report(folder, target, ReportSettings(thumbs=40))
    parts = [row for shard in range(run.sharding.count) for row in folder.whole_part(shard).to_pylist()]
    return StripReport(target, file, parts)


def test_the_numbers_are_those_of_the_parts(report: StripReport) -> None:
    strip = report.file.strip
    assert strip is not None
    looked = [row for row in report.parts if row[HOLDS] is not None or row[NOTE] is not None]
    changes = sum(row[HOLDS] is False for row in looked)
    assert (strip.looked, strip.changes, strip.stability) == (len(looked), changes, "flagged")
    flag = next(flag for flag in report.file.flags if flag.name == "unstable")
    assert (flag.rows, flag.label) == (changes, "verdict does not hold")
    for number, variant in enumerate(strip.variants):
        changed = sum(row[SCORES[number]] is not None and row[SCORES[number]] < 0.5 for row in looked)
        assert (variant.changed, variant.judged) == (changed, sum(row[SCORES[number]] is not None for row in looked))
    bit = 1 << flag.bit
    by_id = {row["row_id"]: row for row in report.parts}
    for row in report.rows():
        part = by_id[row["row_id"]]
        assert [row[name] for name in (*SCORES, HOLDS, NOTE)] == [part[name] for name in (*SCORES, HOLDS, NOTE)]
        assert bool(row["flags"] & bit) is (part[HOLDS] is False)
    assert not set(LOGITS) & set(report.rows()[0])


def test_cards_show_the_strip_of_their_image(report: StripReport) -> None:
    folder = Path(report.target.path, report.file.data)
    thumbs = pq.read_table([str(folder / file.name) for file in report.file.thumbs.files]).to_pylist()
    by_id = {row["row_id"]: row for row in report.parts}
    assert any(thumb["strip"] for thumb in thumbs)
    for thumb in thumbs:
        part = by_id[thumb["row_id"]]
        shown = json.loads(thumb["strip"] or "[]")
        if part[HOLDS] is None and part[NOTE] is None:
            assert shown == []
            continue
        assert [name for name, _, _ in shown] == [variant.name for variant in VARIANTS]
        for (_, score, turned), name in zip(shown, SCORES, strict=True):
            assert score == (None if part[name] is None else pytest.approx(part[name], abs=1e-6))
            assert turned is (part[name] is not None and part[name] < 0.5)
    html = Path(report.target.path, "report.html").read_text()
    assert "Do the verdicts hold?" in html
    assert 'class="turned"' in html
    assert "at 512 pixels as a JPEG of quality 40" in html
    strip = report.file.strip
    assert strip is not None
    assert f"The verdict of {strip.changes}, " in html


def test_a_report_of_a_run_without_a_strip_says_nothing_of_it(tmp_path: Path) -> None:
    folder, target = RunFolder(str(tmp_path / "run"), Store()), RunFolder(str(tmp_path / "report"), Store())
    make_strip_run(folder, stability="none", rows=20)
    file = build_report(folder, target, ReportSettings(thumbs=0))
    assert file.strip is None
    assert "Do the verdicts hold?" not in Path(target.path, "report.html").read_text()
    assert not {*SCORES, HOLDS} & set(pq.read_schema(Path(target.path, file.data, file.rows.files[0].name)).names)
