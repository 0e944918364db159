"""The images below a folder or prefix, or in an inventory; where there are none, those in tar and Parquet files."""

import re
from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fakescan.sources.containers.parquet import image_column_of
from fakescan.sources.containers.tar import TAR_EXTENSIONS, tar_entries
from fakescan.sources.filters.content import ContentFilter
from fakescan.sources.filters.name_filter import NameFilter, NameKind, leave_out
from fakescan.sources.kept_columns import no_columns
from fakescan.sources.listing import list_objects, local_uri
from fakescan.sources.lists.url_list import read_url_list
from fakescan.sources.parquet_entries import parquet_entries
from fakescan.sources.reading import LeftOut, LeftOutReason, Reading
from fakescan.storage.errors import store_errors
from fakescan.storage.explanation import explain
from fakescan.storage.url import file_path, redact, scheme_of
from fakevlm.errors import UserError

Kind = Literal["objects", "tar", "parquet", "list", "manifest"]

_TARS = f"(?i)({'|'.join(map(re.escape, TAR_EXTENSIONS))})$"
_CONTAINERS = rf"{_TARS}|(?i)\.parquet$"

Tables = Iterator[pa.Table]


class Folder:
    """The images of one listing. `kind` and `unique` hold for the tables that were handed out so far.

    `listed`: the objects from elsewhere, such as an inventory; by default the store is listed.
    """

    def __init__(
        self,
        url: str,
        reading: Reading,
        wanted: NameFilter,
        content: ContentFilter,
        listed: "Callable[[], Tables] | None" = None,
    ) -> None:
        self._listed = listed or (lambda: list_objects(url, reading, name_start=wanted.name_start))
        self.url, self.reading, self.wanted, self.content = url, reading, wanted, content
        self.kind: Kind = "objects"
        self.unique = True
        """Whether no URI comes twice."""

    def tables(self) -> Tables:
        """Tables of `ENTRY_SCHEMA`, in the order of the listing. Raises UserError where the store cannot be listed."""
        containers: list[pa.Table] = []
        try:
            yield from self._objects(containers)
        except store_errors() as error:
            if isinstance(error, UserError):
                raise
            raise UserError(explain("list", self.url, self.reading.store, error)) from None
        if containers:
            yield from self._inside(pa.concat_tables(containers))

    def _objects(self, containers: list[pa.Table]) -> Tables:
        """The images of the listing. Its tar and Parquet files are left in `containers` where it has none.

        What is taken without knowing that it is an image does not keep those from being opened.
        """
        left_out, wanted = self.reading.left_out, self.wanted
        root = self.url if scheme_of(self.url) != "file" else local_uri(file_path(self.url))
        found, closed = False, 0
        for table in counted(self._listed(), left_out):
            if table.num_rows == 1 and table["uri"][0].as_py() == root:  # named in full: taken whatever it is called
                note_named(self.reading, wanted)
                yield table
                return
            table = wanted.matching(table, root, left_out)
            kinds = wanted.kinds(table, _CONTAINERS)
            taken, known = self.content.apply(table, kinds == NameKind.UNSAID)
            taken, known = taken | (kinds == NameKind.IMAGE), known | (kinds == NameKind.IMAGE)
            inside = kinds == NameKind.CONTAINER
            found = found or bool(known.any())
            if found and wanted.every:
                yield from containers
                containers.clear()
                taken = taken | inside
            elif inside.any():
                containers.append(table.filter(pa.array(inside)))
            if found:
                closed = self._close(containers, closed)
            leave_out(table, kinds != NameKind.OTHER, LeftOutReason.EXTENSION, left_out)
            self.unique = self.unique and (found or not taken.any())  # containers may follow, and hold names twice
            yield table if taken.all() else table.filter(pa.array(taken))
        if closed and not wanted.asked:
            self.reading.note(
                f"tar and Parquet files beside images stay closed, {closed:,} of them: to scan what they hold, name "
                "them as the source, with a pattern where they are many"
            )

    def _close(self, containers: list[pa.Table], closed: int) -> int:
        """Count containers that are left out because there are images beside them; returns how many there are now."""
        for table in containers:
            leave_out(table, np.zeros(table.num_rows, np.bool_), LeftOutReason.EXTENSION, self.reading.left_out)
            closed += table.num_rows
        containers.clear()
        return closed

    def _inside(self, containers: pa.Table) -> Tables:
        """The images inside tar and Parquet files; tables of metadata beside tars are not taken for lists."""
        reading, left_out = self.reading, self.reading.left_out
        is_tar = pc.match_substring_regex(containers["uri"], _TARS)
        tars, parquets = containers.filter(is_tar), containers.filter(pc.invert(is_tar))
        self.unique = False
        if tars.num_rows:
            self.kind = "tar"
            left_out.seen -= tars.num_rows
            yield from tar_images(iter([tars]), reading, self.wanted.members(named=False))
        for number, row in enumerate(parquets.to_pylist()):
            has_images = image_column_of(row["uri"], reading) is not None
            if not has_images and tars.num_rows and reading.column is None:
                left_out.add(LeftOutReason.METADATA, redact(row["uri"]))
                continue
            left_out.seen -= 1
            if not tars.num_rows and not number:
                self.kind = "parquet" if has_images else "list"
            if has_images:
                yield from parquet_entries(iter([parquets.slice(number, 1)]), reading)
            else:
                wanted = self.wanted.addresses(named=False)
                for table in _not_from_the_web(row["uri"], reading):
                    yield wanted.apply(table, "", left_out)


def counted(tables: Tables, left_out: LeftOut) -> Tables:
    """The tables, each counted into the account as seen."""
    for table in tables:
        left_out.seen += table.num_rows
        yield table


def tar_images(tars: Tables, reading: Reading, wanted: NameFilter) -> Tables:
    """The members of tar files that are wanted."""
    if reading.keep_columns:
        raise no_columns("the source is read as tar files")
    for table in tar_entries(tars, reading, by_content=wanted.by_content):
        yield wanted.apply(table, "", reading.left_out)


def note_named(reading: Reading, wanted: NameFilter) -> None:
    """Say that the user's choice of names has no say in a file that is named in full."""
    if wanted.asked or wanted.excludes:
        reading.note("a file named in full is taken whole: --glob, --exclude and --extensions have no say in it")


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
