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

from tests.cluster_files.docker.dockerfiles import NAMES, ROOT, arguments, context, pip_lines, stages
from tests.drills.cluster_files.image_build import other_index
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


def words_of(line: str, given: dict[str, str], folder: Path) -> list[str]:
    """A command's words after `pip`, with the image's folders in one of ours."""
    words = shlex.split(re.sub(r"\$\{(\w+)\}", lambda match: given[match[1]], line))
    assert words.pop(0) == "pip"
    here = [re.sub(r"^/(?:opt/fakescan/)?(locks|wheels?)\b", f"{folder}/\\1", word) for word in words]
    return [found for word in here for found in (sorted(map(str, Path("/").glob(word[1:]))) if "*" in word else [word])]


@pytest.mark.parametrize("kind", NAMES)
def test_every_line_resolves(kind: str, tmp_path: Path) -> None:
    (tmp_path / "locks").mkdir()
    locks(kind, tmp_path / "locks")
    shutil.copy(ROOT / "constraints" / "build.txt", tmp_path / "locks")
    binaries = empty_environment(tmp_path / "venv", kind)
    source = tmp_path / "source"
    for name in context():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    given = arguments(kind) | other_index(kind)
    for line in pip_lines(kind):
        words = words_of(line, given, tmp_path)
        files = [lock.read(Path(word)) if word.endswith(".txt") else [word] for word in words if word[0] == "/"]
        if words[0] == "install" and "build.txt" not in line:
            words[1:1] = ["--dry-run", "--ignore-installed"]
        done = subprocess.run([binaries / "pip", *words], cwd=source, capture_output=True, text=True)
        assert done.returncode == 0, f"{line}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        if "--dry-run" in words:
            (would,) = re.findall(r"(?m)^Would install (.+)$", done.stdout)
            assert len(would.split()) == sum(map(len, files)) > 0, line
    assert sys.version_info[:2] == (3, 11), "the images have Python 3.11"
