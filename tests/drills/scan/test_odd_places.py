"""A local Ray wherever the command runs: what lies in its folder, and how long its temporary folder's name is."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from fakescan.run.folder import RunFolder
from fakescan.storage.store import Store
from tests.scan_process import fakescan, read_rows

pytestmark = pytest.mark.cluster

SAMPLES = Path(__file__).parents[3] / "samples" / "images"
HOSTILE = ("numpy", "pyarrow", "PIL", "json", "logging", "ray", "fsspec")


def test_odd_places_do_no_harm(tmp_path: Path) -> None:
    """Modules of well-known names in the current folder, a TMPDIR of 100 letters, and names that are not UTF-8."""
    here = tmp_path / "here"
    here.mkdir()
    for name in HOSTILE:
        (here / f"{name}.py").write_text(f"raise SystemExit('{name}.py of the current folder was imported')\n")
    images = os.fsencode(here) + b"/b\xfccher"
    os.mkdir(images)
    for path in sorted(SAMPLES.glob("*.*"))[:3]:
        shutil.copy(path, os.path.join(images, b"caf\xe9-" + os.fsencode(path.name)))
    long = tmp_path / ("t" * 100)
    long.mkdir()
    output = os.fsdecode(b"run\xff")
    environment = {"TMPDIR": str(long)}
    command = ("scan", os.fsdecode(b"b\xfccher"), "--output", output, "--explain", "none", "--engine", "fake")
    done = fakescan(*command, environment=environment, folder=here)
    assert "3 of 3" in done.out, done.out
    rows = read_rows(RunFolder(f"file://{here}/run%FF", Store()))
    assert {row["error_code"] for row in rows} == {None}
    assert all("/b%FCcher/caf%E9-" in row["uri"] for row in rows), rows
    again = fakescan(*command, environment=environment, folder=here)
    assert "3 of 3" in again.out
    assert tempfile.gettempdir() != str(long)
