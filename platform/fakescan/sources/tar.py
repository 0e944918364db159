"""WebDataset shards: the images inside tar files, each by the byte range that holds it."""

import tarfile
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pyarrow as pa

from fakescan.sources.manifest import ENTRY_SCHEMA
from fakescan.sources.reading import Reading
from fakescan.storage.errors import classify
from fakescan.storage.store import Store
from fakescan.storage.url import redact
from fakevlm.errors import UserError

_SHARDS_AT_ONCE = 8
_BLOCK_BYTES = 2**18
"""Read-ahead between member headers, in bytes: small members come many to a request, big ones are jumped over."""


TAR_EXTENSIONS = (".tar",)
"""File names that are tar files, for `str.endswith` in lower case."""


def tar_entries(tars: Iterable[pa.Table], reading: Reading) -> Iterator[pa.Table]:
    """All regular members of the tar files in tables of `ENTRY_SCHEMA`, one output table per tar, in their order."""
    shards = (
        shard for table in tars for shard in zip(table["uri"].to_pylist(), table["etag"].to_pylist(), strict=True)
    )
    with ThreadPoolExecutor(_SHARDS_AT_ONCE, thread_name_prefix="fakescan-tar") as pool:
        waiting: deque[Future[pa.Table]] = deque()
        for uri, etag in shards:
            waiting.append(pool.submit(_members, uri, etag, reading.store))
            if len(waiting) > _SHARDS_AT_ONCE:  # no more than that wait in memory
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _members(uri: str, etag: str | None, store: Store) -> pa.Table:
    filesystem, path = store.filesystem(uri)
    names: list[str] = []
    sizes: list[int] = []
    offsets: list[int] = []
    try:
        with (
            filesystem.open(path, "rb", block_size=_BLOCK_BYTES) as file,
            tarfile.open(fileobj=file, mode="r:", errors="surrogateescape") as archive,
        ):
            for member in archive:
                if member.isreg() and not member.issparse():
                    names.append(member_uri(member.name, uri))
                    sizes.append(member.size)
                    offsets.append(member.offset_data)
                archive.members = []  # type: ignore[attr-defined]  # tarfile keeps every header it has read
    except tarfile.TarError as error:
        raise UserError(f"{redact(uri)} is not a readable, uncompressed tar file: {error}") from None
    except OSError as error:
        raise UserError(f"cannot read {redact(uri)}: {classify(error)[1]}") from None
    columns = [
        pa.array(names, pa.string()),
        pa.array(sizes, pa.int64()),
        pa.array([etag] * len(names), pa.string()),
        pa.array([uri] * len(names), pa.string()),
        pa.array(offsets, pa.int64()),
    ]
    return pa.table(columns, schema=ENTRY_SCHEMA)


def member_uri(name: str, tar: str) -> str:
    """`tar://MEMBER::TAR`, which `fsspec.open` understands."""
    return f"tar://{name.encode(errors='surrogateescape').decode(errors='replace')}::{tar}"
