"""Places in each kind of store, what tests of sources put into them, and how they read them."""

import gzip
import io
import os
import tarfile
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pytest

from fakescan.sources.manifest import ENTRY_SCHEMA
from fakescan.sources.source import Source, open_source
from fakescan.storage.store import Store
from fakevlm.image_file import FORMATS
from tests.image_bytes import picture, saved

IMAGES = {name: saved(picture(24, 16), name) for name in FORMATS}
"""A small image in each format that is read."""

JPEG = IMAGES["JPEG"]
NO_IMAGES = {
    "README": b"# Readme\n" * 20,
    "LICENSE": b"Apache License",
    "Makefile": b"all:\n\tmake\n",
    "_SUCCESS": b"",
    "page": b"<!DOCTYPE html><html></html>",
    "drawing": b"<svg xmlns='http://www.w3.org/2000/svg'></svg>",
    "paper": b"%PDF-1.7\n",
    "packed": gzip.compress(b"text" * 100),
    "short": b"\xff\xd8",
}
"""Files without an extension that are no images."""


class Place(NamedTuple):
    """A folder or prefix of its own in some store."""

    url: str
    store: Store

    def put(self, name: str, data: bytes) -> None:
        """Write one object below the place."""
        fs, root = self.store.filesystem(self.url)
        if self.url.startswith("s3"):
            bucket, _, prefix = root.partition("/")
            fs.call_s3("put_object", Bucket=bucket, Key=f"{prefix}/{name}" if prefix else name, Body=data)
            return
        fs.makedirs(os.path.dirname(f"{root}/{name}"), exist_ok=True)
        fs.pipe_file(f"{root}/{name}", data)


@pytest.fixture(params=["file", "s3", "memory"])
def each_place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty place in each kind of store."""
    if request.param == "s3":
        bucket = request.getfixturevalue("s3_bucket")
        return Place(bucket.url, bucket.store)
    return Place(str(tmp_path / "in") if request.param == "file" else f"memory://{tmp_path.name}", Store())


def fill(folder: Path, files: dict[str, bytes]) -> str:
    """Write files into a local folder, and return its path."""
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return str(folder)


def tar_bytes(members: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    """A tar file of regular members, then symbolic links."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
    return buffer.getvalue()


def rows_of(source: Source) -> list[str]:
    """The URIs of a source, all of which adds up."""
    table = pa.concat_tables(source)
    assert table.schema == ENTRY_SCHEMA
    assert source.left_out.seen == table.num_rows + source.left_out.total
    return [str(uri) for uri in table["uri"].to_pylist()]


def read(url: str, store: Store | None = None, **options: Any) -> tuple[Source, list[str]]:
    """A source, and its URIs, those below it without what they all begin with."""
    source = open_source(url, store or Store(), **options)
    return source, [uri.removeprefix(f"{url}/") for uri in rows_of(source)]
