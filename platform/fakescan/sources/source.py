"""Sources: whatever holds the images, turned into a stream of manifest entries."""

import itertools
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from fakescan.sources.listing import list_objects
from fakescan.sources.manifest import ENTRY_SCHEMA, ManifestReader, is_manifest
from fakescan.sources.name_filter import NameFilter, expand_braces, has_pattern, split_pattern
from fakescan.sources.parquet import image_column, open_parquet, parquet_entries
from fakescan.sources.tar import tar_entries
from fakescan.sources.uri_set import UriSet
from fakescan.sources.url_list import LIST_EXTENSIONS, read_user_manifest, uri_column
from fakescan.storage.errors import store_errors
from fakescan.storage.preflight import check_readable, explain
from fakescan.storage.store import Store
from fakescan.storage.url import file_path, redact, scheme_of
from fakevlm.errors import UserError

Kind = Literal["objects", "tar", "parquet", "list", "manifest"]

_CONTAINERS = r"(?i)\.(tar|parquet)$"
_SIGNATURE = r"(?i)\?[^#]*(X-Amz-Signature|X-Goog-Signature|Signature|sig)=.*"

Tables = Iterator[pa.Table]


@dataclass
class Source:
    """A stream of entries. `kind` and `unique` are settled once `iter` returns, `skipped` once all is read.

    `skipped` counts the objects left out by their file name extension; `unique` vouches that no URI comes twice.
    """

    url: str
    kind: Kind
    unique: bool
    _open: Callable[["Source"], Tables]
    skipped: Counter[str] = field(default_factory=Counter)

    def __iter__(self) -> Tables:
        """Tables of `ENTRY_SCHEMA`; `UserError` if there is not one image or the source cannot be read."""
        self.skipped.clear()
        tables = self._tables()
        first = next(tables, None)
        if first is None:
            raise UserError(f"no images found under {redact(self.url)}{_hint(self.skipped)}")
        return itertools.chain([first], tables)

    def _tables(self) -> Tables:
        return (table for table in self._open(self) if table.num_rows)


def open_source(
    source: str, store: Store, *, glob: list[str] | None = None, extensions: tuple[str, ...] | None = None
) -> Source:
    """Opens what `source` names, recognised in this order:

    - several sources at once, from `{000..123}` or `{a,b}`;
    - a list of images: `.csv`, `.tsv`, `.jsonl`, `.ndjson`, `.txt`, a `.parquet` with a column of addresses, or a web
      address without an extension;
    - a `.parquet` with a column of image bytes, or a `.tar`;
    - a manifest written by this package (a folder with `manifest.json`);
    - a pattern with `*`, `?` or `[…]`, as in a shell, with `**` for any number of folders;
    - one image, or a folder or prefix: its images, or, when it holds none, those in its tar and Parquet files.

    `glob`: patterns of which one must match, relative to the folder or, without a slash, the name in any folder.
    `extensions`: the file names to take, `"*"` for all; without either those of `IMAGE_EXTENSIONS`. Nothing is listed
    before iteration. Raises `UserError` for what cannot be reached.
    """
    if not source:
        raise UserError("the source is empty: name a folder, a bucket, a list or a manifest")
    wanted = NameFilter.of(glob, extensions)
    many = expand_braces(source)
    try:
        first = _recognise(many[0], store, wanted)
        if len(many) == 1:
            return first
        if first.kind == "tar":  # shards come by the thousand: not worth a look at each
            shards = (table for one in many for table in _one_object(one, store))
            return Source(source, "tar", False, lambda this: _tars(shards, this, store, wanted))
        parts = [first, *(_recognise(one, store, wanted) for one in many[1:])]
    except store_errors() as error:
        raise error if isinstance(error, UserError) else UserError(explain("read", source, store, error)) from None

    def each(this: Source) -> Tables:
        for part in parts:
            part.skipped = this.skipped
            for table in part._tables():
                this.kind = part.kind
                yield table

    return Source(source, first.kind, False, each)


def new_since(entries: Tables, earlier: ManifestReader) -> Tables:
    """The entries that the earlier manifest lacks, or whose size or etag it knows otherwise.

    Presigned addresses are compared without their signature. Takes 16 bytes of memory per earlier row.
    """
    known = UriSet()
    for table in earlier.tables():
        known.add(_versions(table))
    for table in entries:
        fresh = table.filter(pa.array(~known.contains(_versions(table))))
        if fresh.num_rows:
            yield fresh


def _versions(table: pa.Table) -> pa.StringArray:
    """One string per row that says which version of which image it is."""
    uris = pc.replace_substring_regex(table["uri"], _SIGNATURE, "")
    sizes = pc.fill_null(table["size"].cast(pa.string()), "")
    etags = pc.fill_null(table["etag"], "")
    return pc.binary_join_element_wise(uris, sizes, etags, "\n").combine_chunks()


def _recognise(source: str, store: Store, wanted: NameFilter) -> Source:
    web = scheme_of(source) == "http"
    extension = os.path.splitext(source.partition("?")[0] if web else source)[1].lower()
    if has_pattern(source) and not web and not _exists(source, store):
        folder, pattern = split_pattern(source)
        check_readable(folder, store)
        return Source(source, "objects", True, lambda this: _objects(this, folder, store, wanted.within(pattern)))
    check_readable(source, store)
    if extension in LIST_EXTENSIONS or (web and not extension):
        return Source(source, "list", False, lambda this: _named(read_user_manifest(source, store), this, wanted))
    if extension == ".parquet" and not _is_folder(source, store):
        return _parquet_file(source, store, wanted)
    if extension == ".tar" and not _is_folder(source, store):
        return Source(source, "tar", False, lambda this: _tars(_one_object(source, store), this, store, wanted))
    if web:
        return Source(source, "objects", True, lambda _: iter([_bare(source)]))
    filesystem, path = store.filesystem(source)
    if is_manifest(filesystem, path):
        return Source(source, "manifest", True, lambda this: _named(_earlier_manifest(source, store), this, wanted))
    return Source(source, "objects", True, lambda this: _objects(this, source, store, wanted))


def _exists(source: str, store: Store) -> bool:
    """Whether there is an object or folder whose name merely looks like a pattern."""
    filesystem, path = store.filesystem(source)
    return bool(filesystem.exists(path))


def _is_folder(source: str, store: Store) -> bool:
    filesystem, path = store.filesystem(source)
    return scheme_of(source) != "http" and bool(filesystem.isdir(path))


def _one_object(source: str, store: Store) -> Tables:
    return iter([_bare(source)]) if scheme_of(source) == "http" else list_objects(source, store)


def _bare(uri: str) -> pa.Table:
    return pa.Table.from_pylist([{"uri": uri}], schema=ENTRY_SCHEMA)


def _parquet_file(source: str, store: Store, wanted: NameFilter) -> Source:
    with open_parquet(source, store) as file:
        schema = file.schema_arrow
    if image_column(schema):
        return Source(source, "parquet", True, lambda _: parquet_entries(_one_object(source, store), store))
    if uri_column(schema.names):
        return Source(source, "list", False, lambda this: _named(read_user_manifest(source, store), this, wanted))
    raise UserError(f"{redact(source)} has neither a column of image bytes nor one of addresses: {schema.names}")


def _earlier_manifest(source: str, store: Store) -> Tables:
    for table in ManifestReader(source, store).tables():
        yield table.drop_columns(["row_id"])


def _named(tables: Tables, this: Source, wanted: NameFilter) -> Tables:
    """Addresses that the user listed: filtered only if asked, since many end in no extension at all."""
    for table in tables:
        yield wanted.apply(table, "", this.skipped) if wanted.asked else table


def _objects(this: Source, folder: str, store: Store, wanted: NameFilter) -> Tables:
    """The images of a listing; if it has none, those inside its tar and Parquet files."""
    root = folder if scheme_of(folder) != "file" else file_path(folder)
    containers: list[pa.Table] = []
    found = False
    try:
        for table in list_objects(folder, store, name_start=wanted.name_start):
            if table.num_rows == 1 and table["uri"][0].as_py() == root:  # named in full: taken whatever it is called
                yield table
                return
            images, others = wanted.apply_split(table, root, _CONTAINERS, this.skipped)
            found = found or images.num_rows > 0
            if not found:
                containers.append(others)
            else:
                _count_extensions(others, this.skipped)
            yield images
    except store_errors() as error:
        raise error if isinstance(error, UserError) else UserError(explain("list", folder, store, error)) from None
    if found:
        for others in containers:
            _count_extensions(others, this.skipped)
        return
    if containers:
        yield from _contained(pa.concat_tables(containers), this, store, wanted)


def _contained(containers: pa.Table, this: Source, store: Store, wanted: NameFilter) -> Tables:
    is_tar = pc.match_substring_regex(containers["uri"], r"(?i)\.tar$")
    tars, parquets = containers.filter(is_tar), containers.filter(pc.invert(is_tar))
    this.unique = False
    if tars.num_rows:
        this.kind = "tar"
        yield from _tars(iter([tars]), this, store, wanted)
    if not parquets.num_rows:
        return
    with open_parquet(parquets["uri"][0].as_py(), store) as file:
        has_images = image_column(file.schema_arrow) is not None
    if not tars.num_rows:
        this.kind = "parquet" if has_images else "list"
    if has_images:
        yield from parquet_entries(iter([parquets]), store)
    else:
        for uri in parquets["uri"].to_pylist():
            yield from _named(read_user_manifest(uri, store), this, wanted)


def _tars(tars: Tables, this: Source, store: Store, wanted: NameFilter) -> Tables:
    for table in tar_entries(tars, store):
        yield wanted.members().apply(table, "", this.skipped)


def _count_extensions(table: pa.Table, skipped: Counter[str]) -> None:
    NameFilter(extensions=()).apply(table, "", skipped)


def _hint(skipped: Counter[str]) -> str:
    if not skipped:
        return ""
    names = ", ".join(f"{count} x {name or 'no extension'}" for name, count in skipped.most_common(3))
    return f" ({sum(skipped.values())} objects have other extensions: {names}; see --extensions)"
