"""The items in a dataset's file: JSON, JSONL or Parquet, read as far as a damaged file can be read."""

import json
import re
from collections.abc import Callable, Generator, Iterator
from typing import Any, NamedTuple

from fakevlm.errors import one_line


class Fault(NamedTuple):
    """Why a file, or the item of that number, cannot be read."""

    message: str
    image: str | None = None
    """The image that the item names, as far as it is known."""


Items = Iterator[tuple[int | None, Any]]
"""Number from 1 and value of each item; in the place of a value a `Fault`, with the number None for the file."""

SURROGATE = re.compile(r"[\ud800-\udfff]")
"""Half of a surrogate pair, which JSON can hold and UTF-8 cannot."""
_LONG_NUMBER = "holds a number of thousands of digits"
_CUT_OFF = "the file is cut off in it"


def json_items(data: bytes) -> Items:
    """The items of a JSON list. After a syntax error those before it, and a fault with its place."""
    text = yield from _text(data)
    try:
        values = json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError:
        yield from _items_before_the_error(text)
        return
    except RecursionError:
        yield None, Fault("is nested too deeply for a list of records")
        return
    except ValueError:  # Python's limit of what it turns into an integer
        yield None, Fault(_LONG_NUMBER)
        return
    if isinstance(values, Fault):
        yield None, values
        return
    if not isinstance(values, list):
        yield None, Fault(f"holds {_kind(values)}, not a list of records")
        return
    for index, value in enumerate(values):
        values[index] = None  # its memory is needed for what is made of it
        yield index + 1, value


def jsonl_items(data: bytes) -> Items:
    """The items of a file with one JSON value on each line; empty lines are skipped but counted."""
    data = data.removeprefix(b"\xef\xbb\xbf")
    if data.lstrip().startswith(b"["):
        yield None, Fault("is a JSON list, not one record on each line; a file with a list must be named .json")
        return
    lines = data.split(b"\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line.decode("utf-8"), object_pairs_hook=_object)
        except UnicodeDecodeError as error:
            yield number, Fault(f"is not UTF-8 (byte {error.object[error.start]:#04x})")
        except json.JSONDecodeError as error:
            cut = number == len(lines) and _is_cut_off(line.decode("utf-8"), error)
            yield number, Fault(_CUT_OFF if cut else f"is not JSON: {error.msg} at column {error.colno}")
        except RecursionError:
            yield number, Fault("is nested too deeply for a record")
        except ValueError:
            yield number, Fault(_LONG_NUMBER)


def parquet_items(data: bytes) -> Items:
    """The rows of a Parquet file as dictionaries; a null is an absent field. Binary columns are left out."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        columns = [field.name for field in file.schema_arrow if not _is_binary(field.type)]
        # As Python objects the rows take many times their bytes, so not the whole table at once.
        for batch in file.iter_batches(batch_size=8192, columns=columns, use_threads=False):
            for row in batch.to_pylist():
                number += 1
                yield number, {name: value for name, value in row.items() if value is not None}
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        yield number + 1 if number else None, Fault(f"cannot be read as Parquet: {one_line(error)}")


def object_pairs(data: bytes) -> list[tuple[str, Any]] | Fault | None:
    """The fields of a JSON object, as pairs at every depth; a fault for a damaged one, None for anything else."""
    if not data.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{"):
        return None  # most files are lists, and too big to be parsed twice
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return Fault(f"is not UTF-8: byte {error.object[error.start]:#04x} at position {error.start}")
    try:
        pairs: list[tuple[str, Any]] = json.loads(text, object_pairs_hook=list)
    except json.JSONDecodeError as error:
        return Fault("the file is cut off" if _is_cut_off(text, error) else _break(text, error))
    except RecursionError:
        return Fault("is nested too deeply for records")
    except ValueError:
        return Fault(_LONG_NUMBER)
    return pairs


READERS: dict[str, Callable[[bytes], Items]] = {
    ".json": json_items,
    ".jsonl": jsonl_items,
    ".parquet": parquet_items,
}
"""File name extension to what reads such a file."""


def _is_binary(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))


def _text(data: bytes) -> Generator[tuple[int | None, Any], None, str]:
    """Yields a fault for bytes that are not UTF-8 and returns the text, so that the rest of the file is checked too."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        yield None, Fault(f"is not UTF-8: byte {error.object[error.start]:#04x} at position {error.start}")
    return data.decode("utf-8-sig", errors="replace")


def _items_before_the_error(text: str) -> Items:
    """The items of a JSON list up to its syntax error, and that."""
    decoder = json.JSONDecoder(object_pairs_hook=_object)
    at = _skip_space(text, 0)
    if text[at : at + 1] != "[":
        what = "is empty" if at == len(text) else "is not a JSON list of records"
        yield None, Fault(f"{what}; a file with one record on each line must be named .jsonl")
        return
    number, at = 1, _skip_space(text, at + 1)
    while True:
        try:
            value, end = decoder.raw_decode(text, at)
        except json.JSONDecodeError as error:
            yield number, Fault(f"{_break(text, error)}; nothing from here on was read")
            return
        except ValueError:
            yield number, Fault(f"{_LONG_NUMBER}; nothing from here on was read")
            return
        yield number, value
        at = _skip_space(text, end)
        if text[at : at + 1] == ",":
            number, at = number + 1, _skip_space(text, at + 1)
            continue
        if text[at : at + 1] == "]":
            yield None, Fault(f"goes on after the end of its list (character {at + 1})")
        else:
            what = "the file ends" if at == len(text) else "there is no comma"
            yield number, Fault(f"{what} after it, before the end of the list; nothing after it was read")
        return


def _break(text: str, error: json.JSONDecodeError) -> str:
    if _is_cut_off(text, error):
        return _CUT_OFF
    return f"is not JSON: {error.msg} in line {error.lineno} column {error.colno}"


def _is_cut_off(text: str, error: json.JSONDecodeError) -> bool:
    # What stops short inside a string is reported by the parser where that string begins.
    return error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any] | Fault:
    """A JSON object. One that has a field twice is a fault: which of the two is meant, nobody can tell."""
    fields = dict(pairs)
    if len(fields) == len(pairs):
        return fields
    names = [name for name, _ in pairs]
    return Fault(f"has the field {next(name for name in names if names.count(name) > 1)!r} twice")


def _skip_space(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at


def _kind(value: object) -> str:
    if isinstance(value, dict):
        return "an object"
    return "null" if value is None else f"a {type(value).__name__}"
