"""A run from Python: its rows as Arrow or pandas, and what is known of it. `fakescan.open_run` opens one."""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import ValidationError

from fakescan.run.bulk.workers import Workers
from fakescan.run.counts import Counts
from fakescan.run.facts.run_facts import count_run
from fakescan.run.folder import RunFolder
from fakescan.run.part_tables import whole_tables
from fakescan.run.run_file import RunFile
from fakescan.run.schema import ALL_COLUMNS, result_schema
from fakescan.run.verify import Verification, verify
from fakescan.settings.strict_model import StrictModel
from fakescan.settings.yaml_file import first_mistake
from fakescan.sources.listing import local_uri
from fakescan.storage.preflight import check_readable
from fakescan.storage.store import Store
from fakescan.storage.url import redact
from fakevlm.errors import UserError, one_line

if TYPE_CHECKING:
    import pandas  # type: ignore[import-untyped]

Filter: TypeAlias = pc.Expression | Sequence[Any]
"""An Arrow expression such as `pc.field("verdict") == "fake"`, or `[("verdict", "==", "fake"), ...]`, all of which must
be true."""


class _Settings(StrictModel):
    """What an error names as `store`, never with a value, which may be a secret."""

    store: Store


def open_run(url: str | os.PathLike[str], store: Store | Mapping[str, Any] | None = None) -> "Run":
    """The run in a folder, local or in a store, finished or not.

    run = fakescan.open_run("s3://bucket/audit", store={"profile": "audits"})
    fakes = run.to_pandas(columns=["uri", "score"], filter=[("verdict", "==", "fake")])

    `store`: credentials and endpoint, with the fields of `Store`; found as the cloud's own tools find them where there
    is none. Raises UserError where there is no run.
    """
    place = os.fsdecode(url)
    if local_uri(place) != place:  # not UTF-8
        place = local_uri(os.path.abspath(place))
    try:
        given = _Settings.model_validate({"store": store or Store()})
    except ValidationError as error:
        raise UserError(first_mistake(error, command=None)) from None
    check_readable(place, given.store)
    return Run(RunFolder(place, given.store))


class Run:
    """A run in a folder. What is asked of it is read then, so that a run which is being written grows.

    Raises UserError where a part is damaged and JobFailedError where the store fails.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._info = folder.open()

    def __repr__(self) -> str:
        return f"Run({self.url!r}, {self._info.rows:,} rows)"

    @property
    def url(self) -> str:
        """Where it is, without secrets."""
        return redact(self._folder.url)

    @property
    def info(self) -> RunFile:
        """The contents of run.json: `run_id`, `model`, `warning`, `rows`, `identity` with all settings, and more."""
        return self._info

    @property
    def left_out(self) -> dict[str, int]:
        """What of the source became no row, by reason."""
        return dict(self._info.left_out)

    @property
    def is_finished(self) -> bool:
        """Whether every part exists; `verify` says whether they hold what they should."""
        return not len(self._folder.missing(self._info.sharding))

    @property
    def counts(self) -> Counts:
        """Rows by verdict and by error code, of the parts that exist; at most their footers are read."""
        return count_run(self._folder, self._info)

    def batches(self, columns: Sequence[str] | None = None, filter: Filter | None = None) -> Iterator[pa.RecordBatch]:
        """The rows that exist, in order of `row_id`, in batches of at most one part: a few parts are in memory."""
        for table in self._tables(columns, filter):
            yield from table.combine_chunks().to_batches()

    def to_arrow(self, columns: Sequence[str] | None = None, filter: Filter | None = None) -> pa.Table:
        """The rows that exist as one table. `columns`: all by default; `filter` may use others than those."""
        names = self._checked(columns)
        empty = pa.schema([field.with_nullable(True) for field in ALL_COLUMNS]).empty_table().select(names)
        return pa.concat_tables([empty, *self._tables(names, filter)])

    def to_pandas(self, columns: Sequence[str] | None = None, filter: Filter | None = None) -> "pandas.DataFrame":
        """The rows that exist as a data frame. Raises UserError where pandas is not installed."""
        try:
            import pandas  # noqa: F401 - pyarrow's own error names no remedy
        except ImportError:
            raise UserError(
                "to_pandas: pandas is not installed; `pip install pandas`, or use to_arrow or batches"
            ) from None
        return self.to_arrow(columns, filter).to_pandas()

    def verify(self) -> Verification:
        """Check that every row of the manifest is there exactly once; `problems` is empty then."""
        return verify(self._folder, workers=Workers())

    def _checked(self, columns: Sequence[str] | None) -> list[str]:
        """The names of columns, the run's by default. Raises UserError for one that no run has."""
        if columns is None:
            return list(result_schema(strip=self._info.strip.is_on).names)
        names = [columns] if isinstance(columns, str) else list(columns)
        for name in names:
            if name not in ALL_COLUMNS.names:
                raise UserError(f"columns: there is no {name!r}; there are {', '.join(ALL_COLUMNS.names)}")
        return names

    def _shards(self) -> list[int]:
        return [int(shard) for shard in self._folder.listing().below(self._info.sharding.count).shards]

    def _tables(self, columns: Sequence[str] | None, filter: Filter | None) -> Iterator[pa.Table]:
        names = self._checked(columns)
        expression = _expression(filter)
        wanted = names if expression is None else None  # a filter does not say which columns it needs
        for table in whole_tables(self._folder, self._info, self._shards(), wanted):
            yield _filtered(table, expression).select(names)


def _expression(filter: Filter | None) -> pc.Expression | None:
    if filter is None or isinstance(filter, pc.Expression):
        return filter
    try:
        return pq.filters_to_expression(filter)
    except (ValueError, TypeError) as error:
        raise UserError(f'filter: {one_line(error)}; write [("verdict", "==", "fake")]') from None


def _filtered(table: pa.Table, expression: pc.Expression | None) -> pa.Table:
    if expression is None:
        return table
    try:
        return table.filter(expression)
    except (pa.ArrowException, TypeError) as error:
        raise UserError(f"filter: {one_line(error)}") from None
