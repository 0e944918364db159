"""The columns of a Parquet file that are kept for the results, read beside its images or addresses."""

from collections.abc import Iterator, Sequence

import pyarrow as pa

from fakescan.sources.containers.column_text import column_text, has_text
from fakescan.sources.containers.image_column import find_field
from fakescan.sources.containers.parquet import ParquetReader, together
from fakescan.sources.kept_columns import find_columns, kept_texts
from fakevlm.errors import UserError, one_line

ROWS = 8_192
"""Rows read at once at most: their bytes are known only as far as the footer says, which repeated values fall below."""


class KeptFields:
    """The kept columns of one file, `a.b` for those in a struct.

    Raises UserError for one that the file lacks, has twice, or that holds no text.
    """

    def __init__(self, reader: ParquetReader, names: Sequence[str], where: str) -> None:
        self.reader, self.names, self.where = reader, names, where
        self.steps: list[tuple[str, ...]] = []
        fields = list(reader.schema)
        for name in names:
            steps, kind = find_field(fields, name)
            find_columns([name if kind is None else steps[0]], reader.schema.names, where)
            if not has_text(kind):
                raise UserError(
                    f"keep_columns: column {name!r} of {where} holds {str(kind)[:100]}, which is no text; keep another "
                    "column, or store it as text"
                )
            self.steps.append(steps)

    @property
    def row_bytes(self) -> float:
        """Bytes of a row's values, on the average, as far as the footer says."""
        return sum(self.reader.row_bytes(name) for name in self.names)

    def streams(self, group: int, rows: int) -> list[Iterator[pa.Array]]:
        """For each column the arrays of a row group. Raises `DamagedParquetError` as they are read."""
        named = zip(self.names, self.steps, strict=True)
        return [self.reader.batches(name, steps, group, rows) for name, steps in named]

    def texts(self, arrays: Sequence[pa.Array]) -> list[str]:
        """One JSON object for each row of these arrays, one array for each column."""
        named = zip(self.names, arrays, strict=True)
        return kept_texts(self.names, [self._text(name, array) for name, array in named])

    def _text(self, name: str, array: pa.Array) -> list[str | None]:
        try:
            return column_text(array)
        except (ValueError, OverflowError, pa.ArrowException) as error:  # years that Python has not, text in lists
            raise UserError(
                f"keep_columns: column {name!r} of {self.where} has a value that cannot be written as text "
                f"({one_line(error)[:200]}); keep another column"
            ) from None

    def of_group(self, group: int) -> Iterator[list[str]]:
        """The objects of a row group, in order. Raises `DamagedParquetError`."""
        for arrays in together(self.streams(group, ROWS)):
            yield self.texts(arrays)
