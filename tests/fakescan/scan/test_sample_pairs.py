"""The scan of the sample pairs with all defaults: what `make demo` shows."""

import re
from pathlib import Path

import pytest

from fakevlm.forge import family_of
from tests.conftest import ScannedPairs
from tests.fakescan.scan.test_driver import Command, fakescan  # noqa: F401 - a fixture
from tests.scan_process import read_rows
from tests.serve_process import PAIRS

pytestmark = pytest.mark.cluster


def test_the_built_in_model_is_right_about_the_sample_pairs(
    fakescan: Command,  # noqa: F811
    scanned_pairs: ScannedPairs,
) -> None:
    run = scanned_pairs.run
    rows = read_rows(run)
    assert len(rows) == len(PAIRS)
    assert {row["error_code"] for row in rows} == {None}
    assert {row["model"] for row in rows} == {"builtin-small"}
    for row in rows:
        kind = Path(row["uri"]).stem.rpartition("-")[2]  # real, or the artifact's family
        assert row["verdict"] == ("real" if kind == "real" else "fake"), row["uri"]
        assert row["verdict"] == ("fake" if row["score"] >= 0.5 else "real")
        assert 0 <= row["off_script"] < 0.5
        if kind == "real":
            assert row["explanation"] is None
            assert row["remark"].startswith("No forgery found, which does not make the image real")
        else:
            assert row["explanation"].startswith("This is a fake image. ")
            assert family_of(row["explanation"]) == kind
    (warning,) = [line for line in scanned_pairs.out.splitlines() if line.startswith("warning: ")]
    assert warning.startswith("warning: the model builtin-small learnt from forged photographs")
    said = next(line for line in scanned_pairs.out.splitlines() if line.startswith("rows: "))
    assert re.search(r"   no forgery found \d+   fake \d+   ", said)
    assert "real" not in said
    assert "note: No forgery found, which does not make the image real" in " ".join(scanned_pairs.out.split())
    assert run.open().meaning == "forgeries"
    summary = fakescan("summary", run.url).out
    assert re.search(r"^  no forgery found +\d+ ", summary, re.MULTILINE)
    assert not re.search(r"^  real ", summary, re.MULTILINE)
    fakescan("verify", run.url)
