"""Scans from a script of its own, with a Ray that the first of them starts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.cluster
def test_a_script_without_a_cluster_of_its_own(pictures: Path, tmp_path: Path) -> None:
    """Two scans in one process, on a thread, with a Ray that the first one starts; nothing but progress on stderr."""
    program = f"""
import threading, fakescan
def scan(name):
    outcome = fakescan.scan({str(pictures)!r}, output={str(tmp_path)!r} + "/" + name, engine="fake", limit=5)
    print(outcome.whole.rows, flush=True)
scan("first")
thread = threading.Thread(target=scan, args=("second",))
thread.start()
thread.join()
frame = fakescan.open_run({str(tmp_path)!r} + "/first").to_pandas()
print(len(frame), fakescan.open_run({str(tmp_path)!r} + "/second").counts.rows)
"""
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=200, env=environment)
    assert done.stdout == "5\n5\n5 5\n", done.stderr
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
