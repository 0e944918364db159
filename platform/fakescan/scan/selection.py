"""Which images of a source a run covers: all, what is new since an earlier run, or a few to try it on."""

import contextlib
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from fakescan.run.folder import RunFolder
from fakescan.scan.config import ScanConfig
from fakescan.scan.explicit_images import ExplicitImages
from fakescan.sources.allowed_prefixes import within_prefixes
from fakescan.sources.manifest import ENTRY_SCHEMA, INFO_NAME, ManifestInfo, conform, write_manifest
from fakescan.sources.source import new_since, open_source
from fakescan.storage.url import redact
from fakevlm.errors import UserError


def write_run_manifest(
    config: ScanConfig, folder: RunFolder, images: ExplicitImages | None = None
) -> tuple[ManifestInfo, int]:
    """List the source into the run's manifest; returns it with the number of images the source holds.

    Raises UserError when there is nothing to scan.
    """
    if images is not None:
        _remove_unfinished(folder)
        tables = [images.entries] * len(images.conditions)
        info = write_manifest(tables, folder.fs, f"{folder.path}/manifest", source=config.source, unique=True)
        return info, info.rows
    source = open_source(
        config.source,
        config.input_store,
        glob=list(config.globs) or None,
        extensions=config.extensions,
        column=config.column,
        size_column=config.size_column,
        skip_damaged=config.skip_damaged,
    )
    entries = iter(source) if config.allowed_prefixes is None else within_prefixes(source, config.allowed_prefixes)
    if config.new_since is not None:
        earlier = RunFolder(config.new_since, config.output_store)
        earlier.open()
        entries = new_since(entries, earlier.manifest())
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
    )
    if info.rows == 0:
        raise UserError(f"source: nothing in {redact(config.source)} is new or changed since {config.new_since}")
    is_cut = config.limit is not None or config.sample is not None
    return info, counted.rows if is_cut else info.rows


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
