"""Index: list a source once and write its manifest."""

import itertools
import logging

from fakescan.sources.manifest import ManifestInfo, ManifestReader, write_manifest
from fakescan.sources.reading import Listing
from fakescan.sources.source import new_since, open_source
from fakescan.storage.preflight import check_writable
from fakescan.storage.store import Store
from fakescan.storage.url import redact
from fakevlm.errors import UserError

logger = logging.getLogger(__name__)


def build_index(
    source: str,
    manifest_url: str,
    *,
    store: Store | None = None,
    manifest_store: Store | None = None,
    glob: list[str] | None = None,
    exclude: list[str] | None = None,
    extensions: tuple[str, ...] | None = None,
    column: str | None = None,
    size_column: str | None = None,
    skip_damaged: bool = False,
    keep_columns: tuple[str, ...] | None = None,
    earlier: ManifestReader | None = None,
    listing: Listing | None = None,
) -> ManifestInfo:
    """Write the manifest of `source` into the folder `manifest_url`.

    `store` reaches the source, `manifest_store` (the same by default) the manifest; the others are those of
    `open_source`. With `earlier` only what is new or changed since that manifest goes
    in. `listing` is told where the number of objects met so far can be read. The addresses are in the manifest in
    full, with the signatures of presigned ones: keep it as private as the images. Raises `UserError` for anything the
    user can fix, a source without images included.
    """
    store = store or Store()
    manifest_store = manifest_store or store
    found = open_source(
        source,
        store,
        glob=glob,
        exclude=exclude,
        extensions=extensions,
        column=column,
        size_column=size_column,
        skip_damaged=skip_damaged,
        keep_columns=keep_columns,
    )
    if listing is not None:
        listing(lambda: found.left_out.seen)
    entries = iter(found)
    if earlier is not None:
        entries = new_since(entries, earlier)
        first = next(entries, None)
        if first is None:
            raise UserError(f"nothing under {redact(source)} is new or changed since {redact(earlier.url)}")
        entries = itertools.chain([first], entries)
    check_writable(manifest_url, manifest_store)
    filesystem, path = manifest_store.filesystem(manifest_url)
    try:
        info = write_manifest(
            entries,
            filesystem,
            path,
            source=source,
            unique=found.unique,
            left_out=found.left_out,
            notes=found.notes,
            listed_at=found.listed_at,
        )
    except FileExistsError:
        raise UserError(f"{redact(manifest_url)} already holds a manifest: name another folder") from None
    logger.info("indexed %d images, %d duplicates left out", info.rows, info.duplicates)
    return info
