"""The images of a run's rows, fetched again from where the scan had them: the same ones, or the reason why not."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import pyarrow as pa

from fakescan.run.folder import RunFolder
from fakescan.run.run_file import RunFile
from fakescan.sources.fetch import Fetched, Fetcher
from fakescan.sources.manifest import ManifestReader
from fakescan.storage.store import Store
from fakevlm.errors import ErrorCode

CONCURRENCY = 16
"""Requests at once."""
_ATTEMPTS = 2
_TIMEOUT_S = 20.0

GONE = "the image is not there any more"
CHANGED = "the image was changed since it was judged"


@dataclass(frozen=True, slots=True)
class WantedImage:
    """A row, and what its image was when it was judged; None for what is not known."""

    row_id: int
    etag: str | None = None
    sha256: bytes | None = None


@dataclass(frozen=True)
class SourceImages:
    """Fetches images with the user's credentials. Pickles without its connections."""

    folder: RunFolder
    run: RunFile
    store: Store

    def __reduce__(self) -> tuple[type["SourceImages"], tuple[RunFolder, RunFile, Store]]:
        return SourceImages, (self.folder, self.run, self.store)

    @cached_property
    def _fetcher(self) -> Fetcher:
        return Fetcher(
            self.store,
            max_bytes=self.run.identity.max_bytes,
            attempts=_ATTEMPTS,
            concurrency=CONCURRENCY,
            timeout_s=_TIMEOUT_S,
        )

    @cached_property
    def _manifest(self) -> ManifestReader:
        return self.folder.manifest(self.run)

    def fetch(self, wanted: Sequence[WantedImage]) -> list[Fetched]:
        """One result for each, which is never another image than the one that was judged.

        Where an object has another etag, its bytes decide: to copy a folder changes the etags of its files.
        """
        order = sorted(range(len(wanted)), key=lambda place: wanted[place].row_id)
        rows = pa.concat_tables(self._manifest_row(wanted[place]) for place in order)
        found: list[Fetched] = [Fetched()] * len(wanted)
        for place, result in zip(order, self._fetcher.fetch(rows), strict=True):
            found[place] = result
        again = [
            place
            for place, result in enumerate(found)
            if result.error_code is ErrorCode.CHANGED and wanted[place].sha256 is not None
        ]
        if again:
            now = pa.concat_tables(_of_any_version(self._manifest_row(wanted[place])) for place in again)
            for place, result in zip(again, self._fetcher.fetch(now), strict=True):
                if result.data is not None:
                    found[place] = result
        return [_checked(result, image) for result, image in zip(found, wanted, strict=True)]

    def _manifest_row(self, wanted: WantedImage) -> pa.Table:
        row = self._manifest.rows(wanted.row_id, 1)
        if row["etag"][0].as_py() is None and wanted.etag is not None:
            row = _with_etag(row, wanted.etag)
        return row


def _of_any_version(row: pa.Table) -> pa.Table:
    place = row.schema.get_field_index("size")
    if row["object"][0].as_py() is None:  # within a container the size says where it ends
        row = row.set_column(place, row.schema.field("size"), pa.nulls(1, row.schema.field("size").type))
    return _with_etag(row, None)


def _with_etag(row: pa.Table, etag: str | None) -> pa.Table:
    place = row.schema.get_field_index("etag")
    return row.set_column(place, row.schema.field("etag"), pa.array([etag], row.schema.field("etag").type))


def _checked(found: Fetched, wanted: WantedImage) -> Fetched:
    if found.data is None:
        words = {ErrorCode.NOT_FOUND: GONE, ErrorCode.CHANGED: CHANGED}.get(found.error_code or ErrorCode.POISON)
        return found if words is None else replace(found, error_message=words)
    if wanted.sha256 is not None and found.sha256 != wanted.sha256.hex():
        return Fetched(error_code=ErrorCode.CHANGED, error_message=CHANGED)
    return found
