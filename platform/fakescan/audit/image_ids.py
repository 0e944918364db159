"""What other tools call the images of a run: columns of a keep-list for img2dataset and for WebDataset."""

import posixpath
from collections.abc import Callable
from typing import Literal, get_args

import pyarrow as pa

from fakevlm.errors import UserError

Ids = Literal["fakescan", "img2dataset", "webdataset"]
IDS: tuple[Ids, ...] = get_args(Ids)


def id_columns(ids: Ids) -> tuple[pa.Schema, Callable[[pa.Table], pa.Table]]:
    """The columns of a keep-list, the first of which is the id, and what makes them from rows of a run."""
    if ids == "fakescan":
        return _OWN, lambda rows: rows.select(_OWN.names).cast(_OWN)
    if ids == "img2dataset":
        return _IMG2DATASET, _img2dataset
    return _WEBDATASET, _webdataset


_JUDGED = [pa.field("verdict", pa.string()), pa.field("score", pa.float32())]
_OWN = pa.schema(
    [pa.field("uri", pa.string()), pa.field("row_id", pa.int64()), pa.field("sha256", pa.string()), *_JUDGED]
)
_IMG2DATASET = pa.schema(
    [pa.field("key", pa.string()), pa.field("shard_id", pa.string()), pa.field("url", pa.string()), *_JUDGED]
)
_WEBDATASET = pa.schema([pa.field("__key__", pa.string()), pa.field("__url__", pa.string()), *_JUDGED])


def tar_member(uri: str) -> tuple[str, str] | None:
    """Tar and member of an address such as `tar://12.jpg::s3://bucket/00000.tar`; None for another one."""
    if not uri.startswith("tar://"):
        return None
    member, found, tar = uri[len("tar://") :].partition("::")
    return (tar, member) if found else None


def member_key(member: str) -> str:
    """The sample that a member belongs to: its path up to the first dot of its name, as WebDataset has it."""
    folder, name = posixpath.split(member)
    return posixpath.join(folder, name.split(".", 1)[0])


def _img2dataset(rows: pa.Table) -> pa.Table:
    """`key` and `shard_id` as in img2dataset's own metadata; `url` where the run was of a list of addresses."""
    keys, shards, urls = [], [], []
    for uri in rows["uri"].to_pylist():
        found = tar_member(uri)
        keys.append(posixpath.basename(member_key(found[1])) if found else None)
        shards.append(posixpath.basename(found[0]).split(".", 1)[0] if found else None)
        urls.append(None if found else uri)
    return pa.table([keys, shards, urls, rows["verdict"], rows["score"]], schema=_IMG2DATASET)


def _webdataset(rows: pa.Table) -> pa.Table:
    keys, tars = [], []
    for uri in rows["uri"].to_pylist():
        found = tar_member(uri)
        if found is None:
            raise UserError(f"ids: {uri} lies in no tar file and has no id of WebDataset; use --ids fakescan")
        keys.append(member_key(found[1]))
        tars.append(found[0])
    return pa.table([keys, tars, rows["verdict"], rows["score"]], schema=_WEBDATASET)
