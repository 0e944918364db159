"""Sources: whatever holds the images, turned into a stream of manifest entries."""

import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from fakescan.sources.containers.parquet import image_column_of
from fakescan.sources.containers.tar import OTHER_ARCHIVES, TAR_EXTENSIONS
from fakescan.sources.filters.content import ContentFilter
from fakescan.sources.filters.name_filter import NameFilter, expand_braces, has_pattern, split_pattern
from fakescan.sources.folder import Folder, Kind, Tables, counted, note_named, tar_images
from fakescan.sources.inventory.inventory_entries import inventory_entries
from fakescan.sources.inventory.report import (
    MANIFEST_NAME,
    is_inventory,
    names_inventory,
    newest_inventory,
    open_inventory,
)
from fakescan.sources.kept_columns import check_names, find_columns, kept_again, kept_array, no_columns
from fakescan.sources.listing import list_objects
from fakescan.sources.lists.url_list import LIST_EXTENSIONS, read_url_list
from fakescan.sources.manifest import ENTRY_SCHEMA, ManifestReader, is_manifest, manifest_document
from fakescan.sources.parquet_entries import parquet_entries
from fakescan.sources.reading import LeftOut, LeftOutReason, Reading, extensions_shown
from fakescan.sources.uri_set import UriSet
from fakescan.storage.errors import store_errors
from fakescan.storage.explanation import explain
from fakescan.storage.preflight import check_readable, exists
from fakescan.storage.store import Store
from fakescan.storage.url import redact, scheme_of
from fakevlm.errors import UserError

_SIGNATURE = r"(?i)\?[^#]*(X-Amz-Signature|X-Goog-Signature|Signature|sig)=.*"
_SHOWN_EXTENSIONS = 10
_CHECKED_INVENTORY_BYTES = 2**30
"""Data files of an inventory up to which its names are checked for duplicates, which takes 16 bytes for each."""


@dataclass
class Source:
    """A stream of entries. `kind` and `unique` are settled once `iter` returns, `left_out` and `notes` at the end.

    `left_out` counts what becomes no row, by reason; `unique` vouches that no URI comes twice.
    """

    url: str
    kind: Kind
    unique: bool
    reading: Reading
    content: ContentFilter
    _open: Callable[["Source"], Tables]
    vouched: bool = True
    """Whether a listing says each name once, so that nobody need remember them."""

    @property
    def listed_at(self) -> datetime | None:
        """When the source was listed, where that was not now."""
        return self.reading.listed_at

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
        self.content.clear()
        tables = self._tables()
        first = next(tables, None)
        if first is None:
            raise UserError(f"no images found under {redact(self.url)}{_hint(self.left_out)}")
        return itertools.chain([first], tables, self._end())

    def _tables(self) -> Tables:
        for table in self._open(self):
            if table.num_rows:
                if self.kind == "objects" and self.reading.keep_columns:
                    raise no_columns(f"{redact(self.url)} is read as image files")
                yield table

    def _end(self) -> Tables:
        self.content.close()
        yield from ()


def open_source(
    source: str,
    store: Store,
    *,
    glob: list[str] | None = None,
    exclude: list[str] | None = None,
    extensions: tuple[str, ...] | None = None,
    column: str | None = None,
    size_column: str | None = None,
    skip_damaged: bool = False,
    keep_columns: tuple[str, ...] | None = None,
    allowed_prefixes: tuple[str, ...] | None = None,
) -> Source:
    """Opens what `source` names, recognised in this order:

    - several sources at once, from `{000..123}` or `{a,b}`, unless something has just that name;
    - a list of images: `.csv`, `.tsv`, `.jsonl`, `.ndjson`, `.json`, `.txt`, also compressed, a `.parquet` with a
      column of addresses, or a web address without an extension;
    - a `.parquet` with a column of image bytes, or a `.tar`;
    - an S3 Inventory: its `manifest.json`, the folder of one date, or that of its configuration;
    - a manifest written by this package (a folder with `manifest.json`);
    - a pattern with `*`, `?` or `[…]`, as in a shell, with `**` for any number of folders;
    - one image, or a folder or prefix: its images, or, when it holds none, those in its tar and Parquet files.

    `glob`: patterns of which one must match, relative to the folder or, without a slash, the name in any folder; see
    `NameFilter` for other kinds of sources. `exclude`: patterns of the same kind of which none may match.
    `extensions`: the file names to take, `"any"` or `"*"` for all; without them and `glob` those of `IMAGE_EXTENSIONS`,
    and what has none that says anything and begins like an image (`ContentFilter`). The others are those of `Reading`.
    Nothing is listed before iteration. Raises `UserError` for what cannot be reached.
    """
    if not source:
        raise UserError("the source is empty: name a folder, a bucket, a list or a manifest")
    wanted = NameFilter.of(glob, extensions, exclude)
    check_names(keep_columns or ())
    reading = Reading(store, column, size_column, skip_damaged, keep_columns or (), allowed_prefixes)
    content = ContentFilter(reading)
    try:
        many = expand_braces(source)
        if len(many) > 1 and exists(source, store):
            many = [source]
        first = _recognise(many[0], content, wanted)
        if len(many) == 1:
            return first
        if first.kind == "tar":  # shards come by the thousand: not worth a look at each
            shards = (table for one in many for table in _one_object(one, reading))
            members = wanted.members(named=True)
            return Source(source, "tar", False, reading, content, lambda _: tar_images(shards, reading, members))
        parts = [first, *(_recognise(one, content, wanted) for one in many[1:])]
    except store_errors() as error:
        raise error if isinstance(error, UserError) else UserError(explain("read", source, store, error)) from None

    def each(this: Source) -> Tables:
        for part in parts:
            for table in part._tables():
                this.kind = part.kind
                yield table

    return Source(source, first.kind, False, reading, content, each)


def new_since(entries: Tables, earlier: ManifestReader) -> Tables:
    """The entries that the earlier manifest lacks, or whose size or etag it knows otherwise.

    Presigned addresses are compared without their signature. Takes 16 bytes of memory per earlier row.
    """
    known = UriSet()
    for table in earlier.tables():
        known.add(versions(table))
    return unknown(entries, known)


def unknown(entries: Tables, known: UriSet) -> Tables:
    """The entries whose version is not among the known ones."""
    for table in entries:
        fresh = table.filter(pa.array(~known.contains(versions(table))))
        if fresh.num_rows:
            yield fresh


def versions(table: pa.Table) -> pa.StringArray:
    """One string per row that says which version of which image it is."""
    uris = pc.replace_substring_regex(table["uri"], _SIGNATURE, "")
    sizes = pc.fill_null(table["size"].cast(pa.string()), "")
    etags = pc.fill_null(table["etag"], "")
    return pc.binary_join_element_wise(uris, sizes, etags, "\n").combine_chunks()


def _recognise(source: str, content: ContentFilter, wanted: NameFilter) -> Source:
    reading, store = content.reading, content.reading.store
    web = scheme_of(source) == "http"
    name = (source.partition("?")[0] if web else source).lower()
    extension = os.path.splitext(name)[1]
    if has_pattern(source) and not web and not exists(source, store):
        folder, pattern = split_pattern(source)
        check_readable(folder, store)
        return _folder(source, folder, content, wanted.within(pattern))
    check_readable(source, store)
    if web and not extension:
        return _list(source, content, wanted)
    if name.endswith((*LIST_EXTENSIONS, *TAR_EXTENSIONS, *OTHER_ARCHIVES, ".parquet")) and not _is_folder(
        source, store
    ):
        if extension == ".json" and not web and names_inventory(source, store):
            return _inventory(source, source, content, wanted)
        if name.endswith(LIST_EXTENSIONS):
            return _list(source, content, wanted)
        if extension == ".parquet":
            return _parquet_file(source, content, wanted)
        if name.endswith((*TAR_EXTENSIONS, *OTHER_ARCHIVES)):
            return _tar(source, content, wanted)
    if web:
        note_named(reading, wanted)
        one = _bare(source)
        return Source(source, "objects", True, reading, content, lambda _: counted(iter([one]), reading.left_out))
    filesystem, path = store.filesystem(source)
    document = manifest_document(filesystem, path)
    if is_manifest(document):
        return Source(source, "manifest", True, reading, content, lambda _: _manifest(source, reading, wanted))
    inventory = f"{source.rstrip('/')}/{MANIFEST_NAME}"
    if is_inventory(document, inventory):
        return _inventory(source, inventory, content, wanted)
    if newest := newest_inventory(source, reading):
        return _inventory(source, newest, content, wanted)
    return _folder(source, source, content, wanted)


def _inventory(source: str, manifest: str, content: ContentFilter, wanted: NameFilter) -> Source:
    inventory = open_inventory(manifest, content.reading)
    content.reading.listed_at = inventory.created
    found = _folder(
        source,
        f"s3://{inventory.bucket}",
        content,
        wanted,
        lambda: inventory_entries(inventory, content.reading),
    )
    found.vouched = inventory.known_bytes > _CHECKED_INVENTORY_BYTES
    return found


def _folder(
    source: str, folder: str, content: ContentFilter, wanted: NameFilter, listed: Callable[[], Tables] | None = None
) -> Source:
    def images(this: Source) -> Tables:
        found = Folder(folder, content.reading, wanted, content, listed)
        for table in found.tables():
            this.kind, this.unique = found.kind, found.unique and this.vouched
            yield table

    return Source(source, "objects", True, content.reading, content, images)


def _tar(source: str, content: ContentFilter, wanted: NameFilter) -> Source:
    reading, members = content.reading, wanted.members(named=True)

    def images(_: Source) -> Tables:
        return tar_images(_one_object(source, reading), reading, members)

    return Source(source, "tar", False, reading, content, images)


def _list(source: str, content: ContentFilter, wanted: NameFilter) -> Source:
    reading = content.reading

    def entries(_: Source) -> Tables:
        for table in read_url_list(source, reading):
            yield wanted.addresses(named=True).apply(table, "", reading.left_out)

    return Source(source, "list", False, reading, content, entries)


def _is_folder(source: str, store: Store) -> bool:
    filesystem, path = store.filesystem(source)
    return scheme_of(source) != "http" and bool(filesystem.isdir(path))


def _one_object(source: str, reading: Reading) -> Tables:
    return iter([_bare(source)]) if scheme_of(source) == "http" else list_objects(source, reading)


def _bare(uri: str) -> pa.Table:
    return pa.Table.from_pylist([{"uri": uri}], schema=ENTRY_SCHEMA)


def _parquet_file(source: str, content: ContentFilter, wanted: NameFilter) -> Source:
    reading = content.reading
    images = image_column_of(source, reading)
    if images is None:
        return _list(source, content, wanted)
    note_named(reading, wanted)
    one = _one_object(source, reading)
    # Paths that are followed where bytes are missing may come twice.
    return Source(source, "parquet", not images.has_path, reading, content, lambda _: parquet_entries(one, reading))


def _manifest(source: str, reading: Reading, wanted: NameFilter) -> Tables:
    manifest, keep = ManifestReader(source, reading.store), reading.keep_columns
    same = not keep or keep == manifest.kept_columns
    if not same:
        find_columns(keep, manifest.kept_columns, f"the manifest {redact(source)}")
    for table in manifest.tables():
        reading.left_out.seen += table.num_rows
        kept = table["kept"] if keep else pa.nulls(table.num_rows, pa.string())
        if not same:
            kept = kept_array(kept_again(kept.to_pylist(), keep, redact(source)), reading, lambda _: redact(source))
        table = table.drop_columns(["row_id", "kept"]).append_column(ENTRY_SCHEMA.field("kept"), kept)
        yield wanted.addresses(named=True).apply(table, "", reading.left_out)


def _hint(left_out: LeftOut) -> str:
    """What there is in the place of images, and how it is taken."""
    if not left_out.total:
        return ""
    by_name = (LeftOutReason.EXTENSION, LeftOutReason.CONTENT, LeftOutReason.UNKNOWN)
    counts = {reason: left_out.counts[reason] for reason in by_name if left_out.counts[reason]}
    named = [f"{count:,} object{'s' if count > 1 else ''} {reason}" for reason, count in counts.items()]
    parts = [f"{count:,} {reason}" for reason, count in left_out.counts.items() if reason not in by_name]
    if named:
        names = ", ".join(extensions_shown(left_out.by_extension, _SHOWN_EXTENSIONS, "{count:,} x {name}"))
        parts.insert(0, f"{' and '.join(named)}: {names}; --extensions any takes every object, whatever its name")
    return f" ({'; '.join(parts)})"
