"""Lists in JSON: an object on each line, or one array of objects or addresses."""

import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa

from fakescan.sources.address_column import SAMPLE_ROWS, choose_column, looks_like_address, name_rank, shown
from fakescan.sources.addresses import AddressEntries
from fakescan.sources.kept_columns import WrittenNumber, find_columns, kept_texts, no_columns, value_text
from fakescan.sources.lists.list_text import Lines
from fakescan.sources.reading import Reading
from fakevlm.data.readers import Fault, json_items
from fakevlm.errors import UserError

MAX_DOCUMENT = 2**30
"""Characters of a list that is one JSON value, which is held in memory; lines of JSON may be any number."""

_BATCH = 8_192

Items = Iterator[tuple[list[int], list[Any]]]
"""Batches of numbers and values."""


def json_entries(lines: Lines, entries: AddressEntries, reading: Reading, *, by_line: bool) -> Iterator[pa.Table]:
    """The entries of a list in JSON. `by_line`: the file's name says that every line is a value.

    A line that is not JSON is refused, or counted where damage is left out; an object without an address is counted.
    """
    lines = iter(lines)
    head = list(itertools.islice(lines, 2))
    lines = itertools.chain(head, lines)
    if _is_lines(head, by_line):
        yield from _chosen(_line_values(lines, entries, reading), entries, reading, texts=False)
    else:
        entries.unit = "item"
        yield from _chosen(_document_values(lines, entries, reading), entries, reading, texts=True)


def _is_lines(head: list[tuple[int, list[str]]], by_line: bool) -> bool:
    filled = itertools.islice((line for _, batch in head for line in batch if line.strip()), 2)
    first, second = next(filled, ""), next(filled, None)
    value = _parsed(first)
    if by_line:
        return not first.lstrip().startswith("[") or (not isinstance(value, Fault) and second is not None)
    return isinstance(value, dict) and second is not None


def _parsed(text: str, decode: Callable[[str], Any] = json.loads) -> Any:
    """The value, or a `Fault`."""
    try:
        return decode(text)
    except RecursionError:
        return Fault("is nested too deeply")
    except ValueError:  # among them numbers of thousands of digits
        return Fault("is not JSON")


def _decoder(reading: Reading) -> Callable[[str], Any]:
    """What parses the values: where columns are kept, numbers with their digits."""
    return json.JSONDecoder(parse_float=WrittenNumber).decode if reading.keep_columns else json.loads


def _line_values(lines: Lines, entries: AddressEntries, reading: Reading) -> Items:
    decode = _decoder(reading)
    for first, batch in lines:
        numbers: list[int] = []
        values: list[Any] = []
        for number, line in enumerate(batch, first):
            if not line.strip():
                continue
            value = _parsed(line, decode)
            if isinstance(value, Fault):
                reading.damaged(entries.place(number), value.message)
            else:
                numbers.append(number)
                values.append(value)
        yield numbers, values


def _document_values(lines: Lines, entries: AddressEntries, reading: Reading) -> Items:
    parts: list[str] = []
    length = 0
    for _, batch in lines:
        parts += batch
        length += sum(map(len, batch))
        if length > MAX_DOCUMENT:
            raise UserError(
                f"{entries.name} is one JSON value of more than {MAX_DOCUMENT} characters: make it JSON lines"
            )
    text = "".join(parts)
    parts.clear()
    if not text.strip():
        return
    value = _parsed(text, _decoder(reading))
    if isinstance(value, Fault):
        value = _before_the_fault(text, entries, reading)
    elif isinstance(value, dict):
        value = _only_list(value, entries.name, reading)
    if not isinstance(value, list):
        raise UserError(f"{entries.name} holds no JSON array of objects or addresses")
    for start in range(0, len(value), _BATCH):
        part = value[start : start + _BATCH]
        yield list(range(start + 1, start + len(part) + 1)), part


def _before_the_fault(text: str, entries: AddressEntries, reading: Reading) -> list[Any]:
    items: list[Any] = []
    for number, value in json_items(text.encode(errors="surrogateescape")):
        if not isinstance(value, Fault):
            items.append(value)
        elif "UTF-8" not in value.message:
            place = entries.name if number is None else entries.place(number)
            reading.damaged(place, value.message)
    return items


def _only_list(document: dict[str, Any], name: str, reading: Reading) -> Any:
    """The list in an object that has addresses; the one list there is, whatever it holds."""
    lists = {key: value for key, value in document.items() if isinstance(value, list) and value}
    likely = [key for key, value in lists.items() if len(lists) == 1 or _has_addresses(value[0])]
    if len(likely) != 1:
        raise UserError(
            f"{name} is a JSON object with {len(likely)} lists of addresses, not one: its keys are "
            f"{shown(list(document))}"
        )
    if len(lists) > 1:
        reading.note(f"addresses are read from the list {likely[0]!r} of the object")
    return lists[likely[0]]


def _has_addresses(item: Any) -> bool:
    if isinstance(item, dict):
        return any(name_rank(name) is not None for name in item)
    return isinstance(item, str) and looks_like_address(item)


def _chosen(items: Items, entries: AddressEntries, reading: Reading, *, texts: bool) -> Iterator[pa.Table]:
    """The entries of the values' address column. `texts`: a value that is text is an address itself."""
    steps: tuple[str, ...] | None = None
    size_steps: tuple[str, ...] | None = None
    kept_steps: list[tuple[str, ...]] = []
    for numbers, values in items:
        if not values:
            continue
        if steps is None and any(isinstance(value, dict) for value in values):
            names = _names(values)
            samples = [_sample([_field(value, path) for value in values[:SAMPLE_ROWS]]) for path in names.values()]
            steps = [*names.values()][choose_column([*names], samples, entries.name, reading)]
            if reading.size_column is not None and reading.size_column not in names:
                raise UserError(f"{entries.name} has no {reading.size_column!r}: its objects have {shown([*names])}")
            size_steps = names[reading.size_column] if reading.size_column is not None else None
            find_columns(reading.keep_columns, [*names], f"{entries.name}, up to {entries.unit} {numbers[-1]},")
            kept_steps = [names[name] for name in reading.keep_columns]
        elif steps is None and texts and reading.keep_columns:
            raise no_columns(f"{entries.name} is read as a list of addresses")
        addresses = [
            value if texts and isinstance(value, str) else _field(value, steps) if steps else None for value in values
        ]
        sizes = [_field(value, size_steps) for value in values] if size_steps else None
        yield entries.of(addresses, numbers, sizes, kept=_kept(values, numbers, kept_steps, entries, reading))


def _kept(
    values: list[Any], numbers: list[int], ways: list[tuple[str, ...]], entries: AddressEntries, reading: Reading
) -> pa.Array | None:
    """The kept values of objects, which lie at the end of these `ways`; None without any."""
    if not ways:
        return None
    columns = [[value_text(_field(value, way), entries.name) for value in values] for way in ways]
    return entries.kept(kept_texts(reading.keep_columns, columns), numbers)


def _names(values: list[Any]) -> dict[str, tuple[str, ...]]:
    """The names of fields, `a.b` for those of an object in an object, and the way to each."""
    names: dict[str, tuple[str, ...]] = {}
    for value in values:
        for key, field in value.items() if isinstance(value, dict) else ():
            names.setdefault(key, (key,))
            for inner in field if isinstance(field, dict) else ():
                names.setdefault(f"{key}.{inner}", (key, inner))
    return names


def _field(value: Any, steps: tuple[str, ...]) -> Any:
    for step in steps:
        value = value.get(step) if isinstance(value, dict) else None
    return value


def _sample(values: list[Any]) -> list[Any] | None:
    """The values; None where they are lists and objects, which are no addresses."""
    filled = [value for value in values if value is not None]
    return None if filled and all(isinstance(value, list | dict) for value in filled) else filled
