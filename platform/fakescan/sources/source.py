"""Sources: whatever holds the images, turned into a stream of manifest entries."""

import itertools
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from fakescan.sources.containers.parquet import image_column_of
from fakescan.sources.containers.tar import OTHER_ARCHIVES, TAR_EXTENSIONS, tar_entries
from fakescan.sources.listing import list_objects
from fakescan.sources.lists.url_list import LIST_EXTENSIONS, read_url_list
from fakescan.sources.manifest import ENTRY_SCHEMA, ManifestReader, is_manifest
from fakescan.sources.name_filter import NameFilter, expand_braces, has_pattern, split_pattern
from fakescan.sources.parquet_entries import parquet_entries
from fakescan.sources.reading import LeftOut, LeftOutReason, Reading
from fakescan.sources.uri_set import UriSet
from fakescan.storage.errors import store_errors
from fakescan.storage.explanation import explain
from fakescan.storage.preflight import check_readable, exists
from fakescan.storage.store import Store
from fakescan.storage.url import file_path, redact, scheme_of
from fakevlm.errors import UserError

Kind = Literal["objects", "tar", "parquet", "list", "manifest"]

_TARS = f"(?i)({'|'.join(map(re.escape, TAR_EXTENSIONS))})$"
_CONTAINERS = rf"{_TARS}|(?i)\.parquet$"
_SIGNATURE = r"(?i)\?[^#]*(X-Amz-Signature|X-Goog-Signature|Signature|sig)=.*"

Tables = Iterator[pa.Table]


@dataclass
class Source:
    """A stream of entries. `kind` and `unique` are settled once `iter` returns, `left_out` and `notes` at the end.

    `left_out` counts what becomes no row, by reason; `unique` vouches that no URI comes twice.
    """

    url: str
    kind: Kind
    unique: bool
    reading: Reading
    _open: Callable[["Source"], Tables]

    @property
    def left_out(self) -> LeftOut:
        """The account of what becomes no row."""
        return self.reading.left_out

    @property
    def notes(self) -> list[str]:
        """Lines for people about choices that were made."""
        return self.reading.notes

    def __iter__(self) -> Tables:
        """Tables of `ENTRY_SCHEMA`; `UserError` if there is not one image or the source cannot be read."""
        self.left_out.clear()
        tables = self._tables()
        first = next(tables, None)
        if first is None:
            raise UserError(f"no images found under {redact(self.url)}{_hint(self.left_out)}")
        return itertools.chain([first], tables)

    def _tables(self) -> Tables:
        return (table for table in self._open(self) if table.num_rows)


def open_source(
    source: str,
    store: Store,
    *,
    glob: list[str] | None = None,
    extensions: tuple[str, ...] | None = None,
    column: str | None = None,
    size_column: str | None = None,
    skip_damaged: bool = False,
) -> Source:
    """Opens what `source` names, recognised in this order:

    - several sources at once, from `{000..123}` or `{a,b}`, unless something has just that name;
    - a list of images: `.csv`, `.tsv`, `.jsonl`, `.ndjson`, `.json`, `.txt`, also compressed, a `.parquet` with a
      column of addresses, or a web address without an extension;
    - a `.parquet` with a column of image bytes, or a `.tar`;
    - a manifest written by this package (a folder with `manifest.json`);
    - a pattern with `*`, `?` or `[…]`, as in a shell, with `**` for any number of folders;
    - one image, or a folder or prefix: its images, or, when it holds none, those in its tar and Parquet files.

    `glob`: patterns of which one must match, relative to the folder or, without a slash, the name in any folder.
    `extensions`: the file names to take, `"*"` for all; without either those of `IMAGE_EXTENSIONS`. The others are
    those of `Reading`. Nothing is listed before iteration. Raises `UserError` for what cannot be reached.
    """
    if not source:
        raise UserError("the source is empty: name a folder, a bucket, a list or a manifest")
    wanted = NameFilter.of(glob, extensions)
    reading = Reading(store, column, size_column, skip_damaged)
    try:
        many = expand_braces(source)
        if len(many) > 1 and exists(source, store):
            many = [source]
        first = _recognise(many[0], reading, wanted)
        if len(many) == 1:
            return first
        if first.kind == "tar":  # shards come by the thousand: not worth a look at each
            shards = (table for one in many for table in _one_object(one, reading))
            return Source(source, "tar", False, reading, lambda this: _tars(shards, this, wanted))
        parts = [first, *(_recognise(one, reading, wanted) for one in many[1:])]
    except store_errors() as error:
        raise error if isinstance(error, UserError) else UserError(explain("read", source, store, error)) from None

    def each(this: Source) -> Tables:
        for part in parts:
            for table in part._tables():
                this.kind = part.kind
                yield table

    return Source(source, first.kind, False, reading, each)


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


def _recognise(source: str, reading: Reading, wanted: NameFilter) -> Source:
    store = reading.store
    web = scheme_of(source) == "http"
    name = (source.partition("?")[0] if web else source).lower()
    extension = os.path.splitext(name)[1]
    if has_pattern(source) and not web and not exists(source, store):
        folder, pattern = split_pattern(source)
        check_readable(folder, store)
        within = wanted.within(pattern)
        return Source(source, "objects", True, reading, lambda this: _objects(this, folder, within))
    check_readable(source, store)
    if web and not extension:
        return _list(source, reading, wanted)
    if name.endswith((*LIST_EXTENSIONS, *TAR_EXTENSIONS, *OTHER_ARCHIVES, ".parquet")) and not _is_folder(
        source, store
    ):
        if name.endswith(LIST_EXTENSIONS):
            return _list(source, reading, wanted)
        if extension == ".parquet":
            return _parquet_file(source, reading, wanted)
        if name.endswith((*TAR_EXTENSIONS, *OTHER_ARCHIVES)):
            return Source(source, "tar", False, reading, lambda this: _tars(_one_object(source, reading), this, wanted))
    if web:
        return Source(source, "objects", True, reading, lambda this: _counted(iter([_bare(source)]), this))
    filesystem, path = store.filesystem(source)
    if is_manifest(filesystem, path):
        return Source(
            source, "manifest", True, reading, lambda this: _named(_earlier_manifest(source, store), this, wanted)
        )
    return Source(source, "objects", True, reading, lambda this: _objects(this, source, wanted))


def _list(source: str, reading: Reading, wanted: NameFilter) -> Source:
    def entries(this: Source) -> Tables:
        return _filtered(read_url_list(source, reading), this, wanted)

    return Source(source, "list", False, reading, entries)


def _is_folder(source: str, store: Store) -> bool:
    filesystem, path = store.filesystem(source)
    return scheme_of(source) != "http" and bool(filesystem.isdir(path))


def _one_object(source: str, reading: Reading) -> Tables:
    return iter([_bare(source)]) if scheme_of(source) == "http" else list_objects(source, reading)


def _bare(uri: str) -> pa.Table:
    return pa.Table.from_pylist([{"uri": uri}], schema=ENTRY_SCHEMA)


def _parquet_file(source: str, reading: Reading, wanted: NameFilter) -> Source:
    images = image_column_of(source, reading)
    if images is None:
        return _list(source, reading, wanted)
    one = _one_object(source, reading)
    # Paths that are followed where bytes are missing may come twice.
    return Source(source, "parquet", not images.has_path, reading, lambda _: parquet_entries(one, reading))


def _earlier_manifest(source: str, store: Store) -> Tables:
    for table in ManifestReader(source, store).tables():
        yield table.drop_columns(["row_id"])


def _counted(tables: Tables, this: Source) -> Tables:
    for table in tables:
        this.left_out.seen += table.num_rows
        yield table


def _named(tables: Tables, this: Source, wanted: NameFilter) -> Tables:
    return _filtered(_counted(tables, this), this, wanted)


def _filtered(tables: Tables, this: Source, wanted: NameFilter) -> Tables:
    """Addresses that the user listed: filtered only if asked, since many end in no extension at all."""
    for table in tables:
        yield wanted.apply(table, "", this.left_out) if wanted.asked else table


def _objects(this: Source, folder: str, wanted: NameFilter) -> Tables:
    """The images of a listing; if it has none, those inside its tar and Parquet files."""
    store = this.reading.store
    root = folder if scheme_of(folder) != "file" else file_path(folder)
    containers: list[pa.Table] = []
    found = False
    try:
        for table in _counted(list_objects(folder, this.reading, name_start=wanted.name_start), this):
            if table.num_rows == 1 and table["uri"][0].as_py() == root:  # named in full: taken whatever it is called
                yield table
                return
            images, others = wanted.apply_split(table, root, _CONTAINERS, this.left_out)
            found = found or images.num_rows > 0
            if not found:
                containers.append(others)
            else:
                _leave_out(others, this.left_out)
            yield images
    except store_errors() as error:
        raise error if isinstance(error, UserError) else UserError(explain("list", folder, store, error)) from None
    if found:
        for others in containers:
            _leave_out(others, this.left_out)
        return
    if containers:
        yield from _contained(pa.concat_tables(containers), this, wanted)


def _contained(containers: pa.Table, this: Source, wanted: NameFilter) -> Tables:
    """The images inside tar and Parquet files; tables of metadata beside tars are not taken for lists."""
    reading = this.reading
    is_tar = pc.match_substring_regex(containers["uri"], _TARS)
    tars, parquets = containers.filter(is_tar), containers.filter(pc.invert(is_tar))
    this.unique = False
    if tars.num_rows:
        this.kind = "tar"
        this.left_out.seen -= tars.num_rows
        yield from _tars(iter([tars]), this, wanted)
    for number, row in enumerate(parquets.to_pylist()):
        has_images = image_column_of(row["uri"], reading) is not None
        if not has_images and tars.num_rows and reading.column is None:
            this.left_out.add(LeftOutReason.METADATA, redact(row["uri"]))
            continue
        this.left_out.seen -= 1
        if not tars.num_rows and not number:
            this.kind = "parquet" if has_images else "list"
        if has_images:
            yield from parquet_entries(iter([parquets.slice(number, 1)]), reading)
        else:
            yield from _filtered(_not_from_the_web(row["uri"], reading), this, wanted)


def _not_from_the_web(uri: str, reading: Reading) -> Tables:
    """The addresses in a list that was found in a folder. Raises UserError where fetching would leave for the web."""
    for table in read_url_list(uri, reading):
        web = [entry for entry in table["uri"].to_pylist() if scheme_of(entry) == "http"]
        if web and reading.column is None:
            raise UserError(
                f"{redact(uri)} names images on the web, such as {redact(web[0])}, and a folder was to be scanned: "
                "name the file itself as the source, or choose its column with --column"
            )
        yield table


def _tars(tars: Tables, this: Source, wanted: NameFilter) -> Tables:
    for table in tar_entries(tars, this.reading):
        yield wanted.members().apply(table, "", this.left_out)


def _leave_out(table: pa.Table, left_out: LeftOut) -> None:
    """Count containers beside images, by their extension."""
    NameFilter(extensions=()).apply(table, "", left_out)


def _hint(left_out: LeftOut) -> str:
    if not left_out.total:
        return ""
    names = ", ".join(f"{count} x {name or 'no extension'}" for name, count in left_out.by_extension.most_common(3))
    others = [f"{count} {reason}" for reason, count in left_out.counts.items() if reason is not LeftOutReason.EXTENSION]
    extensions = left_out.counts[LeftOutReason.EXTENSION]
    parts = [
        *([f"{extensions} objects have other extensions: {names}; see --extensions"] if extensions else []),
        *others,
    ]
    return f" ({'; '.join(parts)})"
