"""Programs of other projects, each in an environment of its own: they would bring a hundred packages into this one."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


def run(*command: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """What a command did and printed."""
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, **options)


def python_with(folder: Path, *packages: str) -> Path:
    """A Python that has these packages; skips the test where they cannot be had."""
    run(sys.executable, "-m", "venv", folder).check_returncode()
    python = folder / "bin" / "python"
    installed = run(python, "-m", "pip", "install", "-q", *packages)
    if installed.returncode != 0:
        pytest.skip(f"{', '.join(packages)} cannot be installed: {installed.stderr[-200:]}")
    return python
