"""Every `pip install` of the Dockerfiles, resolved by pip with the index of this machine, in an empty environment.

`--require-hashes` makes pip fetch each file and compare it, so that the GPU's lines take several GB, and minutes.
"""

import re
import shlex
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.cluster_files.docker.dockerfiles import NAMES, ROOT, arguments, pip_lines, stages
from tools import lock

pytestmark = [pytest.mark.unit, pytest.mark.timeout(3600)]


BUILDS = ("setuptools", "numpy")
"""What the packages without wheels are built with: pip must build one to know what it needs, also in a dry run."""


def empty_environment(folder: Path, kind: str) -> Path:
    """A venv with nothing in it but pip and, by their hashes, what packages are built with; its `bin`."""
    venv.create(folder, with_pip=True, symlinks=True)
    pins = [pin for pin in lock.read(ROOT / "constraints" / f"{kind}.txt") if pin.key in BUILDS]
    (folder / "builds.txt").write_text("\n".join(map(str, pins)) + "\n")
    command = [folder / "bin" / "pip", "install", "--no-deps", "--require-hashes", "-r", folder / "builds.txt"]
    subprocess.run(command, check=True, capture_output=True)
    return folder / "bin"


def locks(kind: str, folder: Path) -> None:
    """The lock's parts, by the commands of the Dockerfile's stage."""
    stage = next(stage for stage in stages(kind) if stage.name == "locks")
    shutil.copy(ROOT / "constraints" / f"{kind}.txt", folder)
    for step in stage.all("RUN"):
        subprocess.run(["sh", "-c", step.value], cwd=folder, check=True)


@pytest.mark.parametrize("kind", NAMES)
def test_every_line_resolves(kind: str, tmp_path: Path) -> None:
    locks(kind, tmp_path)
    shutil.copy(ROOT / "constraints" / "build.txt", tmp_path)
    binaries = empty_environment(tmp_path / "venv", kind)
    source = tmp_path / "source"
    for name in ("pyproject.toml", "README.md", "LICENSE", "fakevlm", "platform"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, (source.mkdir(exist_ok=True) or source) / name)
    for line in pip_lines(kind):
        words = shlex.split(re.sub(r"\$\{(\w+)\}", lambda match: arguments(kind)[match[1]], line))
        assert words[0] == "pip"
        words = [word.replace("/opt/fakescan/locks", str(tmp_path)).replace("/wheels", str(tmp_path)) for word in words]
        if words[-1] == "build.txt":
            words[-1] = str(tmp_path / "build.txt")
        if words[-1].endswith("*.whl"):
            (words[-1],) = map(str, tmp_path.glob("*.whl"))
        if words[1] == "install" and not words[-1].endswith("build.txt"):
            words[2:2] = ["--dry-run", "--ignore-installed"]
        done = subprocess.run([binaries / "pip", *words[1:]], cwd=source, capture_output=True, text=True)
        assert done.returncode == 0, f"{line}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        if "--dry-run" in words:
            wanted = len(lock.read(Path(words[-1]))) if words[-1].endswith(".txt") else 1
            (would,) = re.findall(r"(?m)^Would install (.+)$", done.stdout)
            assert len(would.split()) == wanted, line
    assert sys.version_info[:2] == (3, 11), "the images have Python 3.11"
