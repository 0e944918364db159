"""What the commands say of a stability strip."""

import json
from pathlib import Path

import pytest

from fakescan.cli.main import main
from fakescan.cli.reports.json_report import scan_report
from fakescan.cli.reports.scan import strip_line
from fakescan.run.counts import Counts
from fakescan.run.folder import RunFolder
from fakescan.scan.execution import ScanOutcome
from fakescan.scan.tables import StripCounts
from fakescan.storage.store import Store
from tests.fakescan.run.stability.conftest import make_strip_run

pytestmark = pytest.mark.unit


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A run whose flagged images were looked at again."""
    folder = RunFolder(str(tmp_path / "run"), Store())
    make_strip_run(folder, stability="flagged", unstable="uncertain")
    return folder


def test_a_scan_says_what_it_found_and_what_that_took(folder: RunFolder) -> None:
    outcome = ScanOutcome(folder.open(), folder.url)
    outcome.scanned = Counts(1000, 950, 40, 0, {"not_found": 6, "judge_failed": 4})
    outcome.strip = StripCounts(looked=40, unstable=7, incomplete=0, variants=198)
    assert strip_line(outcome) == ("40 looked at again, 7 verdicts do not hold; 198 more prefills (19.9% of 994)")
    outcome.strip.incomplete, outcome.strip.failed = 2, 3
    assert ", 3 variants of 2 images could not be judged (strip_note says why); " in strip_line(outcome)
    report = scan_report(outcome)
    assert report.strip is not None
    assert (report.strip.looked, report.strip.variants) == (40, 198)


def test_a_summary_counts_by_variant(folder: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        main(["summary", folder.url, "--json"])
    assert not exit.value.code
    strip = json.loads(capsys.readouterr().out)["strip"]
    with pytest.raises(SystemExit):
        main(["summary", folder.url])
    lines = capsys.readouterr().out.splitlines()
    assert f"stability (flagged): {strip['looked']:,} images looked at again" in lines
    (changed,) = [line for line in lines if "does not hold" in line]
    assert changed.split()[3] == str(strip["changes"])
    assert changed.endswith("and counts as uncertain")
    for variant in strip["variants"]:
        failed = f", {variant['failed']:,} not judged" if variant["failed"] else ""
        assert variant["failed"] == strip["looked"] - variant["judged"]
        (line,) = [line for line in lines if line.endswith(f"other verdicts {variant['words']}{failed}")]
        assert line.split()[:2] == [variant["name"], str(variant["changed"])]
