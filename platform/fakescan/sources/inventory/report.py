"""The manifest.json of an S3 Inventory: where it is, what it says, and where its data files are."""

import hashlib
import json
import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fakescan.sources.reading import Reading
from fakescan.storage.errors import store_errors
from fakescan.storage.explanation import explain
from fakescan.storage.objects import list_names, patiently, read_bytes
from fakescan.storage.prefixes import is_below, roots_of
from fakescan.storage.s3.listing import list_page, next_page
from fakescan.storage.store import Store, is_local, is_s3
from fakescan.storage.url import redact, scheme_of, split_bucket
from fakevlm.errors import UserError

MANIFEST_NAME = "manifest.json"
_CHECKSUM_NAME = "manifest.checksum"
_DATED = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}-\d{2}Z")
_DATE_FORMAT = "%Y-%m-%dT%H-%MZ"
_BUCKET = re.compile(r"[A-Za-z0-9._-]{3,255}")
_MD5 = re.compile(r"[0-9a-f]{32}")
_BEGINNING = 65_536
_FORMATS = ("csv", "parquet", "orc")
_OTHERS = {
    frozenset({"report_config", "report_shards_file_names"}): "Google's Storage Insights",
    frozenset({"destinationContainer", "inventoryCompletionTime"}): "Azure's blob inventory",
}
"""Names of fields by which the manifests of other clouds are known."""


class _File(BaseModel):
    model_config = ConfigDict(extra="ignore")

    key: str = Field(min_length=1)
    size: int | None = None
    md5: str | None = Field(default=None, alias="MD5checksum")


class _Report(BaseModel):
    """What is used of a manifest.json; Amazon adds fields."""

    model_config = ConfigDict(extra="ignore")

    source_bucket: str = Field(alias="sourceBucket")
    destination_bucket: str = Field(alias="destinationBucket")
    created: int | str | None = Field(default=None, alias="creationTimestamp")
    format: str | None = Field(default=None, alias="fileFormat")
    schema_text: str = Field(default="", alias="fileSchema")
    files: list[_File]


@dataclass(frozen=True)
class DataFile:
    """One of the files in which the objects are. `size` in bytes and `md5` in hex are what the manifest says."""

    url: str
    size: int | None
    md5: str | None


@dataclass(frozen=True)
class Inventory:
    """One inventory of one bucket."""

    url: str
    """Of its manifest.json."""
    bucket: str
    """The bucket whose objects it lists."""
    created: datetime | None
    format: str
    """`csv`, `parquet` or `orc`."""
    columns: tuple[str, ...]
    """Names of the columns of CSV files, which have no header; empty for the other formats."""
    files: tuple[DataFile, ...]

    @property
    def known_bytes(self) -> int:
        """Bytes of the data files, as far as the manifest says."""
        return sum(file.size or 0 for file in self.files)


def names_inventory(url: str, store: Store) -> bool:
    """Whether a JSON file begins like the manifest of an inventory. Raises UserError for another cloud's."""
    filesystem, path = store.filesystem(url)
    try:
        beginning = patiently(lambda: bytes(filesystem.cat_file(path, end=_BEGINNING)), f"reading {redact(url)}")
    except store_errors():  # an empty file among others: whoever reads it as a list says what is wrong
        return False
    if not beginning.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        return False
    fields = {name.decode() for name in re.findall(rb'"(\w{4,30})"\s*:', beginning)}
    _refuse_others(url, fields)
    return {"sourceBucket", "destinationBucket"} <= fields


def is_inventory(document: Any, url: str) -> bool:
    """Whether a manifest.json is that of an inventory. Raises UserError for another cloud's."""
    if not isinstance(document, dict):
        return False
    _refuse_others(url, set(document))
    return {"sourceBucket", "destinationBucket"} <= set(document)


def _refuse_others(url: str, fields: set[str]) -> None:
    for signs, kind in _OTHERS.items():
        if signs <= fields:
            raise UserError(
                f"{redact(url)} is a manifest of {kind}, which is not read as such: make a list with the objects' "
                "addresses of its CSV or Parquet files, and name that as the source"
            )


def newest_inventory(url: str, reading: Reading) -> str | None:
    """URL of the newest complete manifest.json below the folder of an inventory's configuration; None for others.

    A date without a manifest.json is still being written.
    """
    filesystem, path = reading.store.filesystem(url)
    folders = _folders(filesystem, path, reading.store, url)
    dates = sorted((name for name in folders if _DATED.fullmatch(name)), reverse=True)
    if not dates or not {"data", "hive"} & folders:
        return None
    base = url.rstrip("/")
    for date in dates:
        names = {name for name, _ in list_names(filesystem, f"{path}/{date}")}
        if MANIFEST_NAME in names:
            reading.note(
                f"of the inventories in {redact(base)}, {len(dates):,} in all, the newest complete one is {date}"
            )
            return f"{base}/{date}/{MANIFEST_NAME}"
    raise UserError(f"{redact(base)} holds no complete inventory: there is no {MANIFEST_NAME} in any of its dates")


def _folders(filesystem: Any, path: str, store: Store, url: str) -> set[str]:
    """Names of the folders directly in a folder; none of one without a date among the first."""
    folders: set[str] = set()
    try:
        if is_local(filesystem):
            return set(filter(_is_part_of_it, os.listdir(path))) if os.path.isdir(path) else folders
        if not is_s3(filesystem):  # Amazon writes inventories to S3 alone
            return folders
        bucket, key = split_bucket(path)
        prefix = f"{key.rstrip('/')}/" if key.strip("/") else ""
        following: dict[str, str] | None = {}
        while following is not None:
            arguments = {"Bucket": bucket, "Prefix": prefix, "Delimiter": "/", **following}
            page = patiently(partial(list_page, filesystem, **arguments), f"listing {redact(url)}")
            folders |= {item["Prefix"][len(prefix) :].rstrip("/") for item in page.get("CommonPrefixes", [])}
            if not any(_DATED.fullmatch(name) for name in folders):
                return set()
            following = next_page(page)
        return folders
    except store_errors() as error:
        raise error if isinstance(error, UserError) else UserError(explain("list", url, store, error)) from None


def _is_part_of_it(name: str) -> bool:
    return name in {"data", "hive"} or _DATED.fullmatch(name) is not None


def open_inventory(url: str, reading: Reading) -> Inventory:
    """What a manifest.json says, checked against its manifest.checksum. Raises UserError for what cannot be used."""
    name, store = redact(url), reading.store
    filesystem, path = store.filesystem(url)
    folder, _, own_name = path.rpartition("/")
    try:
        data = read_bytes(filesystem, path)
        _check(data, _checksum(filesystem, f"{folder}/{_CHECKSUM_NAME}" if own_name == MANIFEST_NAME else None), name)
        report = _Report.model_validate(json.loads(data))
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise UserError(f"{name} is no manifest of an S3 Inventory: {where}: {error.errors()[0]['msg']}") from None
    except ValueError as error:
        raise UserError(f"{name} is damaged: {error}") from None
    except store_errors() as error:
        raise error if isinstance(error, UserError) else UserError(explain("read", url, store, error)) from None
    source, destination = _bucket(report.source_bucket, name), _bucket(report.destination_bucket, name)
    kind = (report.format or (report.files[0].key if report.files else "csv")).lower().removesuffix(".gz")
    kind = kind.rpartition(".")[2]
    if kind not in _FORMATS:
        raise UserError(
            f"{name}: fileFormat {report.format!r} is not read; have the inventory written as CSV or Parquet"
        )
    columns = tuple(part.strip() for part in report.schema_text.split(",")) if kind == "csv" else ()
    if kind == "csv" and not {"bucket", "key"} <= {plain_name(column) for column in columns}:
        raise UserError(f"{name}: fileSchema {report.schema_text[:200]!r} has no columns Bucket and Key")
    beside = _data_folder(url, reading, destination, report.files)
    files = tuple(
        DataFile(
            f"s3://{destination}/{file.key}" if beside is None else f"{beside}/{file.key.rpartition('/')[2]}",
            file.size,
            file.md5.lower() if file.md5 and _MD5.fullmatch(file.md5.lower()) else None,
        )
        for file in report.files
    )
    if reading.allowed_prefixes is not None:
        roots = roots_of(reading.allowed_prefixes)
        for file in files:
            if not is_below(file.url, roots):
                raise UserError(f"source: it names {redact(file.url)}, which lies below no allowed prefix")
    created = _moment(report.created) or _moment_of_folder(folder)
    when = f" of {created:%Y-%m-%d %H:%M} UTC" if created else ""
    reading.note(f"inventory{when} of s3://{source}: objects that changed since then are not in it as they are now")
    return Inventory(url, source, created, kind, columns, files)


def plain_name(column: str) -> str:
    """The name of a column, which CSV files write `IsLatest` and the others `is_latest`."""
    return column.replace("_", "").lower()


def _checksum(filesystem: Any, path: str | None) -> str | None:
    """What the file beside the manifest says; None without one, as in a copy."""
    if path is None:
        return None
    try:
        text = read_bytes(filesystem, path).decode(errors="replace").strip().lower()
    except (FileNotFoundError, PermissionError):
        return None
    return text


def _check(data: bytes, md5: str | None, name: str) -> None:
    if md5 is not None and hashlib.md5(data, usedforsecurity=False).hexdigest() != md5:
        raise UserError(f"{name} is not the one that {_CHECKSUM_NAME} beside it was made for: copy it again")


def _bucket(text: str, name: str) -> str:
    """The bucket that a name or an ARN names."""
    bucket = text.rpartition(":::")[2]
    if not _BUCKET.fullmatch(bucket):
        raise UserError(f"{name}: {text[:200]!r} is no bucket")
    return bucket


def _data_folder(url: str, reading: Reading, destination: str, files: list[_File]) -> str | None:
    """Where the data files of a copied inventory are beside its manifest; None where its own bucket has them."""
    folder = url.rpartition("/")[0]
    if not files or (scheme_of(url) == "s3" and split_bucket(url)[0] == destination):
        return None
    first = files[0].key.rpartition("/")[2]
    filesystem, _ = reading.store.filesystem(url)
    places = [f"{folder.rpartition('/')[0] or '.'}/data", f"{folder or '.'}/data", folder or "."]
    for place in places:
        _, path = reading.store.filesystem(f"{place}/{first}")
        if filesystem.exists(path):
            return place
    if is_local(filesystem) or scheme_of(url) == "s3":
        reading.note(f"the inventory's data files are read from s3://{destination}, which its manifest names")
        return None
    raise UserError(f"the data files of {redact(url)} are not beside it, in {redact(places[0])}")


def _moment(stamp: int | str | None) -> datetime | None:
    """Milliseconds since 1970 as a time."""
    try:
        return None if stamp is None else datetime.fromtimestamp(int(stamp) / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _moment_of_folder(folder: str) -> datetime | None:
    try:
        return datetime.strptime(folder.rpartition("/")[2], _DATE_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        return None
