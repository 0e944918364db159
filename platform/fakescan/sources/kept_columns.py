"""Columns of the user's own that go with each image into the results: found by name, their values as text in JSON."""

import difflib
import json
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from fakescan.sources.address_column import plain, shown
from fakescan.sources.reading import Reading
from fakevlm.errors import UserError

MAX_KEPT = 32_768
"""Bytes of one row's kept values: a manifest holds them for every image."""

_quoted = json.JSONEncoder(ensure_ascii=False).encode


class WrittenNumber(float):
    """A JSON number with a fraction or an exponent, and its digits, of which a float may lose some."""

    text: str

    def __new__(cls, text: str) -> "WrittenNumber":
        """The number that `text` writes."""
        number = super().__new__(cls, text)
        number.text = text
        return number


def check_names(names: Sequence[str]) -> None:
    """Raises UserError for names that no column can be found by: empty ones, and one that comes twice."""
    for index, name in enumerate(names):
        if not name.strip():
            raise UserError("keep_columns: a name is empty; name columns of the list, as in id,label")
        if name in names[:index]:
            raise UserError(f"keep_columns: {name!r} is named twice; name each column once")


def find_columns(wanted: Sequence[str], names: Sequence[str], where: str) -> list[int]:
    """Index of each wanted column. Raises UserError for one that `where` lacks, or has twice."""
    for name in wanted:
        if not names:  # a list has at least one; a manifest has those that were kept
            raise UserError(f"keep_columns: {where} keeps no columns; index its list again with --keep-columns {name}")
        if name not in names:
            raise UserError(f"keep_columns: {where} has no column {name!r}{_hint(name, names)}")
        if names.count(name) > 1:
            raise UserError(
                f"keep_columns: {where} has {names.count(name)} columns called {name!r}; rename all but one"
            )
    return [names.index(name) for name in wanted]


def _hint(name: str, names: Sequence[str]) -> str:
    alike = {plain(other): other for other in reversed(names)}
    close = difflib.get_close_matches(plain(name), alike, 1)
    question = f" (did you mean {alike[close[0]][:50]!r}?)" if close else ""
    return f"{question}: its columns are {shown(names)}"


def no_columns(where: str) -> UserError:
    """The error for a source whose kind has no columns; `where` says what it is read as."""
    return UserError(
        f"keep_columns: {where}, without columns to keep; .csv, .tsv, .jsonl, .json and .parquet lists have "
        "columns, and so have Parquet files with images and manifests made with --keep-columns"
    )


def kept_texts(names: Sequence[str], columns: Sequence[Iterable[str | None]]) -> list[str]:
    """For each row a JSON object of the names and the row's values in these columns."""
    keys = [_quoted(name).replace("{", "{{").replace("}", "}}") for name in names]
    template = f"{{{{{', '.join(f'{key}: {{}}' for key in keys)}}}}}"
    values = [["null" if value is None else _quoted(value) for value in column] for column in columns]
    return list(map(template.format, *values))


def kept_array(texts: Sequence[str], reading: Reading, place: Callable[[int], str]) -> pa.Array:
    """The manifest's column of these objects. Raises UserError, with its place, for one that is too long."""
    try:
        kept = pa.array(texts, pa.string())
    except UnicodeEncodeError:
        reading.note("kept values that are not UTF-8 have the sign U+FFFD where a byte is no text")
        kept = pa.array([_utf8(text) for text in texts], pa.string())
    index = pc.index(pc.greater(pc.binary_length(kept), MAX_KEPT), True).as_py()
    if index >= 0:
        raise UserError(
            f"keep_columns: the values of {place(index)} take more than {MAX_KEPT:,} bytes; keep shorter columns, such "
            "as an id by which the results can be joined"
        )
    return kept


def _utf8(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def value_text(value: object, where: str) -> str | None:
    """A value of JSON as text: strings as they are, null as None, the rest as JSON.

    Raises UserError for one that is nested too deeply.
    """
    if value is None or isinstance(value, str):
        return value
    try:
        return json_text(value)
    except RecursionError:
        raise UserError(
            f"keep_columns: {where} has a value that is nested too deeply to be kept; keep other columns"
        ) from None


def json_text(value: Any) -> str:
    """A value as JSON, with all its digits; times are in ISO 8601, and any other thing is a string."""
    match value:
        case WrittenNumber():
            return value.text
        case Decimal():
            return format(value, "f")
        case dict():
            return f"{{{', '.join(f'{_quoted(str(key))}: {json_text(item)}' for key, item in value.items())}}}"
        case list() | tuple():
            return f"[{', '.join(map(json_text, value))}]"
        case None | str() | bool() | int() | float():
            return _quoted(value)
        case timedelta():
            microseconds = value // timedelta(microseconds=1)
            return _quoted(duration_text(microseconds, 6))
    return _quoted(value.isoformat() if hasattr(value, "isoformat") else str(value))


def duration_text(count: int, digits: int) -> str:
    """So many seconds, after `digits` digits behind the point, in ISO 8601."""
    seconds = format(Decimal(abs(count)).scaleb(-digits), "f")
    if "." in seconds:
        seconds = seconds.rstrip("0").rstrip(".")
    return f"{'-' if count < 0 else ''}PT{seconds}S"


def columns_of(kept: str | None, where: str) -> tuple[str, ...]:
    """Names of the columns in a row of a manifest; none where it has no kept values."""
    return tuple(_object(kept, where)) if kept is not None else ()


def kept_again(texts: Iterable[str | None], names: Sequence[str], where: str) -> list[str]:
    """Those of a manifest's kept values that are kept again."""
    rows = [_object(text, where) if text is not None else {} for text in texts]
    return kept_texts(names, [[value_text(row.get(name), where) for row in rows] for name in names])


def _object(text: str, where: str) -> dict[str, object]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise UserError(f"keep_columns: the kept values in {where} are not those of a manifest; index the list again")
    return found
