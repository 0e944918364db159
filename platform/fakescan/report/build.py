"""Makes a report of a run: sorts its rows, counts them, fetches small images, and writes what people read.

build_report(RunFolder("s3://bucket/audit", Store()), ReportSettings())

Each step leaves files that a call after an interruption finds: sorted batches and files of rows. Their folder is named
by what they are made of, so that they are right whenever they are there.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, closing, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property, partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import ValidationError

import fakevlm
from fakescan.report.audit_facts import AuditFacts
from fakescan.report.images.source_images import SourceImages
from fakescan.report.images.thumbnails import SIDE, WriteThumbs, end_makers, thumbs_name, thumbs_work
from fakescan.report.media_types import media_type
from fakescan.report.overview.limits import cautions, limits
from fakescan.report.overview.page_files import write_page
from fakescan.report.report_file import (
    NAME,
    DataFile,
    DataFiles,
    FolderFile,
    ReportFile,
    RowFacts,
    RunFacts,
    ThumbFiles,
)
from fakescan.report.rows import schema, sorted_batch
from fakescan.report.rows.count_rows import RowCounts, counted
from fakescan.report.rows.folder_tree import FolderTree
from fakescan.report.rows.order import Window, thumbs_chosen
from fakescan.report.rows.origins import provenance_notes
from fakescan.report.rows.pictures import PlacedPictures, find_pictures, first_images, why_unknown
from fakescan.report.rows.rows_files import WriteRows, chosen_name, facets_name, join_facets, rows_name
from fakescan.report.rows.sorted_batch import BatchFile, SortParts, batch_name
from fakescan.run.bulk.listing import PartListing
from fakescan.run.bulk.workers import HERE, Workers
from fakescan.run.folder import RunFolder
from fakescan.run.run_file import RunFile
from fakescan.storage.lease import Lease, LeasedJob
from fakescan.storage.objects import list_names, put_atomic, read_bytes
from fakescan.storage.store import Store, is_local
from fakescan.storage.url import redact
from fakevlm.errors import UserError
from fakevlm.near_duplicates.clusters import TABLES
from fakevlm.reading import Meaning, counted_as, score_meaning
from fakevlm.verdict import Verdict

DEFAULT_THUMBS = 2000
COUNTS = "counts.json"
FOLDERS = "folders.parquet"
WORST_FOLDERS = 50

_VERSION = "3"
"""Of the files below data/: another one makes them anew."""
_DIGEST = re.compile(r"[0-9a-f]{12}")
_JOB = LeasedJob("output", "report", "wait for it, or name another folder with -o")

Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""Told what is done and how much of it there is; the context's function, how much more has been done."""


def silent(what: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
    """Progress that nobody sees."""
    return nullcontext(lambda done: None)


@dataclass(frozen=True)
class ReportSettings:
    """What a report is made with."""

    images: Store = field(default_factory=Store)
    """Where and as whom the images are read."""
    thumbs: int = DEFAULT_THUMBS
    """Thumbnails at most; 0: no image is fetched."""
    workers: Workers = HERE
    progress: Progress = silent


def build_report(
    folder: RunFolder, target: RunFolder, settings: ReportSettings, audit: AuditFacts | None = None
) -> ReportFile:
    """Write the report of a run, which may be unfinished, into `target`; report.json last.

    The same call again continues an interrupted one, and makes nothing anew that is there and right. Raises UserError
    for a run without a part, JobFailedError where a store fails.
    """
    run = folder.open()
    listing = folder.listing().below(run.sharding.count)
    if not len(listing):
        raise UserError(f"run: {redact(folder.url)} has no part yet; scan first")
    lease = Lease(target.fs, f"{target.path}/lease.json", _JOB)
    lease.acquire()
    try:
        return _Build(folder, run, listing, target, settings, lease).report(audit or AuditFacts(folder))
    finally:
        lease.release()


@dataclass(frozen=True)
class _Build:
    folder: RunFolder
    run: RunFile
    listing: PartListing
    target: RunFolder
    settings: ReportSettings
    lease: Lease

    @cached_property
    def digest(self) -> str:
        """Names what the rows are made of: the parts as they are now, and the settings."""
        digest = hashlib.sha256(
            json.dumps([_VERSION, self.run.run_id, self.run.schema_version, self.settings.thumbs]).encode()
        )
        for column in (self.listing.shards, self.listing.sizes, self.listing.stamps):
            digest.update(np.ascontiguousarray(column).tobytes())
        return digest.hexdigest()[:12]

    @property
    def data(self) -> str:
        return f"data/{self.digest}"

    @property
    def work(self) -> str:
        return f"work/{self.digest}"

    def report(self, audit: AuditFacts) -> ReportFile:
        found = self._known_facts() or self._rows()
        thumbs = self._thumbs(found)
        told = audit.told(found, partial(self._positions, found), partial(self._first_images, found))
        report = ReportFile(
            created_at=datetime.now(UTC),
            fakescan_version=fakevlm.__version__,
            run=self._run_facts(found),
            totals=found.totals,
            prevalence=told.prevalence,
            scores=found.scores,
            data=f"{self.data}/",
            rows=found.rows,
            facets=found.facets,
            thumbs=thumbs,
            folders=found.folders,
            errors=found.errors,
            words=found.words,
            flags=found.flags,
            formats=found.formats,
            num_bytes=found.num_bytes,
            copies=found.copies,
            provenance=found.provenance
            and found.provenance.model_copy(update={"notes": provenance_notes(found.provenance, self.run)}),
            strip=found.strip,
            pictures=found.pictures,
            no_pictures=found.no_pictures,
            samples=told.samples,
            labels=told.labels,
        )
        for name, content in told.files.items():
            self._put(name, content)
        write_page(self.target, report)
        self._put(NAME, report.model_dump_json(indent=1).encode())
        self._remove_others()
        return report

    def _known_facts(self) -> RowFacts | None:
        try:
            found = RowFacts.model_validate_json(read_bytes(self.target.fs, self._path(f"{self.data}/{COUNTS}")))
        except (FileNotFoundError, NotADirectoryError, ValidationError):
            return None
        return found if found.digest == self.digest else None

    def _rows(self) -> RowFacts:
        batches = self._sort()
        counts = self._count(batches)
        order, tree = counts.order(), counts.tree()
        per_file = counts.rows_per_file
        windows = -(-len(order) // per_file)
        no_pictures = why_unknown(self.run, counts.totals().judged)
        pictures = None if no_pictures else self._pictures(batches, order.at_positions(counts.row_ids()))
        in_windows = order.windows(per_file) if pictures is None else pictures.windows(order, per_file)
        chosen = thumbs_chosen(order.verdicts, self.settings.thumbs, None if pictures is None else pictures.leading)
        self._write_rows(in_windows, len(order), tree, chosen)
        sink = pa.BufferOutputStream()
        pq.write_table(tree.table, sink, compression="snappy", row_group_size=2**20, store_schema=False)
        self._put(f"{self.data}/{FOLDERS}", sink.getvalue().to_pybytes())
        join_facets(
            self.target, self.work, self.data, self.digest, self.run.rows, windows, per_file, self._names(self.data)
        )
        sizes = self._names(self.data)
        totals = counts.totals()
        found = RowFacts(
            digest=self.digest,
            scanned_from=counts.times[0] if counts.times else None,
            scanned_to=counts.times[1] if counts.times else None,
            done=self.run.sharding.rows_of(self.listing.shards),
            unreadable=counts.unreadable,
            totals=totals,
            scores=counts.scores(order),
            rows=self._files(sizes, rows_name, totals.rows, per_file, schema.ROWS_PER_GROUP),
            facets=self._files(
                sizes,
                facets_name,
                totals.rows,
                schema.FACET_ROWS_PER_FILE,
                schema.FACET_ROWS_PER_GROUP,
            ),
            folders=FolderFile(
                name=FOLDERS,
                bytes=sizes[FOLDERS],
                footer_bytes=self._footer(FOLDERS, sizes[FOLDERS]),
                count=tree.table.num_rows,
                merged=tree.merged,
                base=tree.base,
                base_rate=tree.prior.mean,
                worst=tree.worst(WORST_FOLDERS),
            ),
            errors=counts.errors(order),
            words=list(counts.words()),
            flags=list(counts.flags()),
            formats=counts.formats(),
            num_bytes=counts.num_bytes,
            copies=counts.copies(),
            provenance=counts.provenance(),
            strip=counts.strip(self.run.strip),
            pictures=None if pictures is None else pictures.facts(partial(self._uri_at, per_file)),
            no_pictures=no_pictures,
        )
        self._put(f"{self.data}/{COUNTS}", found.model_dump_json(indent=1).encode())
        return found

    def _sort(self) -> int:
        """Writes the sorted batches that are not there yet; returns how many there are in all."""
        shards = self.listing.shards
        per_batch = max(1, sorted_batch.BATCH_ROWS // self.run.shard_rows)
        firsts = range(0, len(shards), per_batch)
        there = self._names(self.work)
        todo = [
            (number, shards[first : first + per_batch])
            for number, first in enumerate(firsts)
            if batch_name(number) not in there
        ]
        work = SortParts(self._portable(self.folder), self.run, self._portable(self.target), self.work)
        parts = sum(len(batch) for _, batch in todo)
        self._each("reading parts", work, todo, parts)
        return len(firsts)

    def _count(self, batches: int) -> RowCounts:
        return counted(self._batches(batches), self.run.rows, len(self.run.identity.conditions))

    def _batches(self, batches: int) -> Iterator[BatchFile]:
        return (BatchFile(self.target.fs, self._path(f"{self.work}/{batch_name(number)}")) for number in range(batches))

    def _pictures(self, batches: int, row_ids: NDArray[np.int64]) -> PlacedPictures:
        with self.settings.progress("finding near-duplicates", TABLES) as done:
            found = find_pictures(self.target, self.work, self._batches(batches), done)
        return PlacedPictures.of(found, row_ids)

    def _first_images(self, found: RowFacts, judged: int) -> Iterator[pa.Table]:
        paths = (self._path(f"{self.data}/{file.name}") for file in found.rows.files)
        return first_images(self.target.fs, paths)

    def _uri_at(self, per_file: int, position: int) -> str:
        number, row = divmod(position, per_file)
        with self.target.fs.open(self._path(f"{self.data}/{rows_name(number)}"), "rb") as source:
            group = pq.ParquetFile(source).read_row_group(row // schema.ROWS_PER_GROUP, ["uri"])
        return str(group["uri"][row % schema.ROWS_PER_GROUP].as_py())

    def _write_rows(self, windows: Iterator[Window], rows: int, tree: FolderTree, thumbs: NDArray[np.int64]) -> None:
        work = WriteRows(
            self._portable(self.target),
            self.work,
            self.data,
            self.digest,
            self.run.identity.selection.keep_columns,
            tree,
            thumbs,
            self.run.rows,
            self.run.strip.is_on,
        )
        there, pieces = self._names(self.data), self._names(self.work)
        todo = (
            window
            for window in windows
            if rows_name(window.number) not in there or facets_name(window.number) not in pieces
        )
        self._each("writing rows", work, todo, rows)

    def _thumbs(self, found: RowFacts) -> ThumbFiles:
        there = self._names(self.data)
        windows = len(found.rows.files)
        names = [self._path(f"{self.data}/{chosen_name(number)}") for number in range(windows)]
        images = SourceImages(self._portable(self.folder), self.run, self.settings.images.resolved())
        work = WriteThumbs(self._portable(self.target), self.data, self.digest, images)
        count = missing = 0
        total = min(self.settings.thumbs, found.totals.judged)
        with self.settings.progress("making thumbnails", total) as done:
            try:
                for made, failed in self._work(work, thumbs_work(self.target, names)):
                    count, missing = count + made, missing + failed
                    done(made)
            finally:
                end_makers()
        there = self._names(self.data)
        files = self._files(there, thumbs_name, count, schema.THUMBS_PER_FILE, schema.THUMBS_PER_GROUP)
        return ThumbFiles(**files.model_dump(), size=SIDE, missing=missing)

    def _each(self, what: str, work: Callable[[Any], int], todo: Any, total: int) -> None:
        with self.settings.progress(what, total) as done:
            for count in self._work(work, todo):
                done(count)

    def _work(self, work: Callable[[Any], Any], todo: Any) -> Iterator[Any]:
        each = self.settings.workers.each(work, todo, parts=len(self.listing), url=self.target.url)
        with closing(each) as results:
            for result in results:
                self.lease.check()
                yield result

    def _files(
        self, sizes: dict[str, int], name_of: Callable[[int], str], count: int, per_file: int, per_group: int
    ) -> DataFiles:
        files = []
        for number, first in enumerate(range(0, count, per_file)):
            name = name_of(number)
            files.append(
                DataFile(
                    name=name,
                    first=first,
                    rows=min(per_file, count - first),
                    bytes=sizes[name],
                    footer_bytes=self._footer(name, sizes[name]),
                )
            )
        return DataFiles(count=count, row_group_rows=per_group, files=files)

    def _footer(self, name: str, size: int) -> int:
        end = self.target.fs.cat_file(self._path(f"{self.data}/{name}"), start=size - 8, end=size)
        return int.from_bytes(end[:4], "little") + 8

    def _positions(self, found: RowFacts, row_ids: Iterable[int]) -> dict[int, int]:
        """The positions of rows, from the facets."""
        wanted = np.array(sorted(row_ids), np.int64)
        positions: dict[int, int] = {}
        for file in found.facets.files if len(wanted) else ():
            data = read_bytes(self.target.fs, self._path(f"{self.data}/{file.name}"))
            there = pq.read_table(pa.BufferReader(data), columns=["row_id"])["row_id"].to_numpy()
            places = np.flatnonzero(np.isin(there, wanted))
            positions.update(zip(there[places].tolist(), (file.first + places).tolist(), strict=True))
        return positions

    def _run_facts(self, found: RowFacts) -> RunFacts:
        run = self.run
        calibration, meaning = run.identity.ask.calibration, run.known_meaning
        verdicts = (Verdict.REAL, Verdict.FAKE, Verdict.UNCERTAIN)
        return RunFacts(
            url=redact(self.folder.url),
            run_id=run.run_id,
            model=run.model,
            source=run.identity.selection.source,
            created_at=run.created_at,
            scanned_from=found.scanned_from,
            scanned_to=found.scanned_to,
            meaning=meaning,
            warning=run.warning,
            cautions=cautions(run),
            is_finished=len(self.listing) == run.sharding.count,
            rows=run.rows,
            done=found.done,
            unreadable=found.unreadable,
            is_calibrated=calibration.is_fitted,
            score_meaning=score_meaning(calibration, meaning or Meaning.FULL),
            threshold=calibration.threshold,
            uncertain_low=calibration.uncertain_low,
            uncertain_high=calibration.uncertain_high,
            names={**{verdict.value: counted_as(verdict, meaning) for verdict in verdicts}, "error": "errors"},
            limits=list(limits(run)),
            notes=list(run.notes),
            left_out=run.left_out,
            seen=run.seen,
            keep_columns=list(run.identity.selection.keep_columns),
        )

    def _remove_others(self) -> None:
        """Files of earlier reports, and what this one was made with."""
        fs = self.target.fs
        for name in ("data", "work"):
            for path in _folders(fs, self._path(name)):
                digest = path.rpartition("/")[2]
                if _DIGEST.fullmatch(digest) and (name == "work" or digest != self.digest):
                    fs.rm(path, recursive=True)
        if is_local(fs):
            with suppress(OSError):  # a store has no empty folders; this one may hold something else
                os.rmdir(self._path("work"))

    def _portable(self, folder: RunFolder) -> RunFolder:
        return RunFolder(folder.url, folder.store.resolved(), folder.patience_s)

    def _path(self, name: str) -> str:
        return f"{self.target.path}/{name}"

    def _put(self, name: str, data: bytes) -> None:
        put_atomic(self.target.fs, self._path(name), data, media_type=media_type(name))

    def _names(self, name: str) -> dict[str, int]:
        return dict(list_names(self.target.fs, self._path(name)))


def _folders(fs: Any, path: str) -> list[str]:
    try:
        return [str(item["name"]).rstrip("/") for item in fs.ls(path, detail=True) if item["type"] == "directory"]
    except FileNotFoundError:
        return []


def read_report(target: RunFolder) -> ReportFile | None:
    """The finished report in a folder; None where there is none of this version."""
    try:
        return ReportFile.model_validate_json(read_bytes(target.fs, f"{target.path}/{NAME}"))
    except (FileNotFoundError, NotADirectoryError, ValidationError):
        return None
