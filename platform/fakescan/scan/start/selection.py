"""Which images of a source a run covers: all, what is new since an earlier run, or a few to try it on."""

import contextlib
import itertools
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from fakescan.run.chain import scanned_before
from fakescan.run.folder import RunFolder
from fakescan.run.run_file import RunFile
from fakescan.scan.config import ScanConfig
from fakescan.scan.start.explicit_images import ExplicitImages
from fakescan.sources.allowed_prefixes import within_prefixes
from fakescan.sources.manifest import ENTRY_SCHEMA, INFO_NAME, ManifestInfo, conform, write_manifest
from fakescan.sources.reading import Listing
from fakescan.sources.source import Source, open_source, unknown, versions
from fakescan.sources.uri_set import UriSet


def write_run_manifest(
    config: ScanConfig, folder: RunFolder, images: ExplicitImages | None = None, listing: Listing | None = None
) -> tuple[ManifestInfo, int]:
    """List the source into the run's manifest; returns it with the number of images the source holds.

    Raises UserError when there is nothing to scan. Where nothing is new since the earlier runs, the manifest is empty.
    """
    if images is not None:
        _remove_unfinished(folder)
        tables = [images.entries] * len(images.conditions)
        info = write_manifest(tables, folder.fs, f"{folder.path}/manifest", source=config.source, unique=True)
        return info, info.rows
    source = _open(config)
    entries = _entries(config, source)
    if listing is not None:
        listing(lambda: source.left_out.seen)
    counted = _Counted(entries)
    chosen: Iterator[pa.Table] = iter(counted)
    if config.limit is not None:
        chosen = first_rows(counted, config.limit)
    elif config.sample is not None:
        chosen = random_rows(counted, config.sample)
    _remove_unfinished(folder)
    info = write_manifest(
        chosen,
        folder.fs,
        f"{folder.path}/manifest",
        source=config.source,
        unique=source.unique,
        left_out=source.left_out,
        notes=source.notes,
        listed_at=source.listed_at,
    )
    is_partial = config.limit is not None or config.sample is not None
    return info, counted.rows if is_partial else info.rows


def write_whole_manifest(
    config: ScanConfig, folder: RunFolder, run: RunFile, name: str, listing: Listing | None = None
) -> ManifestInfo:
    """The manifest of a whole source of which a run has scanned some images: those first, then all others.

    `name` is that of its folder in the run's.
    """
    known = UriSet()
    begun = [table.drop_columns(["row_id"]) for table in folder.manifest(run).tables()]
    for table in begun:
        known.add(versions(table))
    source = _open(config)
    if listing is not None:
        listing(lambda: source.left_out.seen)
    entries = itertools.chain(begun, unknown(_entries(config, source), known))
    with contextlib.suppress(FileNotFoundError):
        folder.fs.rm_file(f"{folder.path}/{name}/{INFO_NAME}")
    return write_manifest(
        entries,
        folder.fs,
        f"{folder.path}/{name}",
        source=config.source,
        left_out=source.left_out,
        notes=source.notes,
        listed_at=source.listed_at,
    )


def _open(config: ScanConfig) -> Source:
    return open_source(
        config.source,
        config.source_store,
        glob=list(config.globs) or None,
        exclude=list(config.exclude) or None,
        extensions=config.extensions,
        column=config.column,
        size_column=config.size_column,
        skip_damaged=config.skip_damaged,
        keep_columns=config.keep_columns,
        allowed_prefixes=config.allowed_prefixes,
    )


def _entries(config: ScanConfig, source: Source) -> Iterator[pa.Table]:
    """What of the source is to be scanned, before a sample takes a few."""
    entries = iter(source)  # settles `source.unique`
    if config.allowed_prefixes is not None:
        entries = within_prefixes(entries, config.allowed_prefixes)
    if not config.new_since:
        return entries
    return unknown(entries, scanned_before(config.new_since, config.output_store))


def _remove_unfinished(folder: RunFolder) -> None:
    """The manifest of a start that ended before its run.json was written: nothing refers to it."""
    with contextlib.suppress(FileNotFoundError):
        folder.fs.rm_file(f"{folder.path}/manifest/{INFO_NAME}")


class _Counted:
    """Counts the rows that pass."""

    def __init__(self, tables: Iterator[pa.Table]) -> None:
        self._tables = tables
        self.rows = 0

    def __iter__(self) -> Iterator[pa.Table]:
        for table in self._tables:
            self.rows += table.num_rows
            yield table


def first_rows(tables: "_Counted", count: int) -> Iterator[pa.Table]:
    """The first `count` rows; the rest is read on, to be counted."""
    left = count
    for table in tables:
        if left > 0:
            yield table.slice(0, min(left, table.num_rows))
            left -= min(left, table.num_rows)


def random_rows(tables: "_Counted", count: int) -> Iterator[pa.Table]:
    """`count` rows drawn at random without replacement, in their order; the same for the same source."""
    draw = np.random.default_rng(0)
    kept = ENTRY_SCHEMA.empty_table()
    keys = np.empty(0)
    for table in tables:
        kept = pa.concat_tables([kept, conform(table)])
        keys = np.concatenate([keys, draw.random(table.num_rows)])
        if len(keys) > count:
            best = np.sort(np.argpartition(keys, count)[:count])
            kept, keys = kept.take(pa.array(best)).combine_chunks(), keys[best]
    yield kept
