"""The values of a Parquet column as text, with all their digits: what a person would write, and JSON where nested."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fakescan.sources.containers.image_column import is_bytes, is_list, is_text
from fakescan.sources.kept_columns import duration_text, json_text

_DIGITS = {"s": 0, "ms": 3, "us": 6, "ns": 9}
_DATE_AND_TIME = r"^([+-]?\d+-\d\d-\d\d) "


def has_text(kind: pa.DataType) -> bool:
    """Whether values of this type can be written as text: bytes cannot, nor what holds bytes."""
    types = pa.types
    if isinstance(kind, pa.BaseExtensionType):
        return isinstance(kind, pa.UuidType) or has_text(kind.storage_type)
    if types.is_dictionary(kind) or is_list(kind):
        return has_text(kind.value_type)
    if types.is_map(kind):
        return has_text(kind.key_type) and has_text(kind.item_type)
    if types.is_struct(kind):
        return all(has_text(kind.field(index).type) for index in range(kind.num_fields))
    return not (is_bytes(kind) or types.is_union(kind) or types.is_interval(kind))


def column_text(array: pa.Array) -> list[str | None]:
    """The values as text, None for null. What of a string is not UTF-8 becomes surrogates."""
    kind, types = array.type, pa.types
    if types.is_dictionary(kind):
        return column_text(array.dictionary_decode())
    if isinstance(kind, pa.UuidType):
        return [None if value is None else str(value) for value in array.to_pylist()]
    if isinstance(kind, pa.BaseExtensionType):
        return column_text(array.storage)
    if is_text(kind):
        return _strings(array)
    if types.is_temporal(kind) and not types.is_duration(kind):
        return list(_times(array).to_pylist())
    if types.is_duration(kind):
        counts = array.cast(pa.int64()).to_pylist()
        return [None if count is None else duration_text(count, _DIGITS[kind.unit]) for count in counts]
    values: list[Any] = array.to_pylist()
    if types.is_float16(kind) or types.is_float32(kind):
        # The shortest digits that give this number again, not those of a double of the same value.
        short = array.to_numpy(zero_copy_only=False).astype(np.float32 if types.is_float32(kind) else np.float16)
        values = [None if value is None else float(str(digits)) for value, digits in zip(values, short, strict=True)]
    return [None if value is None else json_text(value) for value in values]


def _strings(array: pa.Array) -> list[str | None]:
    try:
        return list(array.to_pylist())
    except UnicodeDecodeError:  # Parquet's strings need not be UTF-8
        values = array.cast(pa.large_binary()).to_pylist()
        return [None if value is None else value.decode(errors="surrogateescape") for value in values]


def _times(array: pa.Array) -> pa.Array:
    """Dates and times in ISO 8601; those of a time zone in UTC."""
    kind = array.type
    zoned = pa.types.is_timestamp(kind) and kind.tz is not None
    if zoned:  # which count in UTC; as numbers, for Arrow may find no data base of zones
        array = array.cast(pa.int64()).cast(pa.timestamp(kind.unit))
    texts = pc.replace_substring_regex(array.cast(pa.string()), _DATE_AND_TIME, r"\1T")
    texts = pc.replace_substring_regex(texts, r"\.0+$", "")
    return pc.binary_join_element_wise(texts, "Z", "") if zoned else texts
