"""A Parquet file with images inside, as `datasets` of Hugging Face writes it.

A column of images is a struct `{bytes, path}`, a list of such, or plain bytes; the names of a ClassLabel are in the
schema's metadata under `huggingface`.
"""

import io
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from fsspec import AbstractFileSystem

from fakevlm.data.readers import Fault
from fakevlm.errors import UserError, one_line, remote_errors

_BATCH = 64
"""Rows whose images are in memory together."""
_NAMES = ("image", "images", "img", "picture", "photo", "bytes", "image_bytes", "jpg", "jpeg", "png", "webp")
"""Names of a column of images, of several columns that could be one."""


class EmbeddedImage(NamedTuple):
    """An image that is in the file."""

    row: int
    """Its row, from 1."""
    extension: str
    width: int
    height: int
    name: str
    """What the file calls it; empty where it has no name."""


class ImageParquet:
    """One Parquet file, read a batch at a time: the images of a dataset are too many for the memory."""

    def __init__(self, fs: AbstractFileSystem, path: str) -> None:
        """Opens the file's schema. Raises UserError."""
        self._fs, self._path = fs, path
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with fs.open(path, "rb") as file:
                schema = pq.ParquetFile(file).schema_arrow
        except FileNotFoundError:
            raise UserError(f"data: {path} does not exist") from None
        except (pa.ArrowException, *remote_errors()) as error:
            raise UserError(f"data: {path} cannot be read as Parquet: {one_line(error)}") from None
        self.column = _image_column(schema, path)
        """The column of images; None where the file holds none."""
        self.label_names = _label_names(schema.metadata or {})
        """Names of the labels 0, 1, …, where the file has them."""
        self._columns = [field.name for field in schema if field.name == self.column or not _holds_bytes(field.type)]

    def rows(self) -> Iterator[tuple[int, dict[str, Any] | Fault]]:
        """The rows, with an `EmbeddedImage` under `images` in place of the bytes, or the path where there are none."""
        for number, row in self._read(self._columns):
            fields = {name: value for name, value in row.items() if value is not None}
            if self.column is None:
                yield number, fields
                continue
            found = fields.pop(self.column, None)
            try:
                images = [_described(one, number) for one in (found if isinstance(found, list) else [found])]
            except ValueError as error:
                yield number, Fault(one_line(error))
                continue
            yield number, {**fields, "images": [image for image in images if image is not None]}

    def images(self) -> Iterator[tuple[int, bytes]]:
        """Row and bytes of every row whose only image is in the file."""
        assert self.column is not None
        for number, row in self._read([self.column]):
            found = row[self.column]
            listed = found if isinstance(found, list) else [found]
            data = _bytes(listed[0]) if len(listed) == 1 else None
            if data:
                yield number, data

    def _read(self, columns: list[str]) -> Iterator[tuple[int, dict[str, Any]]]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        number = 0
        try:
            with self._fs.open(self._path, "rb") as file:
                batches = pq.ParquetFile(file).iter_batches(batch_size=_BATCH, columns=columns, use_threads=False)
                for batch in batches:
                    for row in batch.to_pylist():
                        number += 1
                        yield number, row
        except (pa.ArrowException, UnicodeDecodeError, *remote_errors()) as error:
            raise UserError(f"data: {self._path} cannot be read after row {number}: {one_line(error)}") from None


def _image_column(schema: Any, path: str) -> str | None:
    """The name of the column of images. Raises UserError where several could be it."""
    found = [field.name for field in schema if _holds_bytes(field.type)]
    named = [name for name in found if name.lower() in _NAMES]
    chosen = found if len(found) == 1 else named
    if len(chosen) > 1 or (found and not chosen):
        raise UserError(f"data: {path} has several columns of bytes, {', '.join(found)}; leave one that is the image")
    return chosen[0] if chosen else None


def _holds_bytes(kind: Any) -> bool:
    """Whether values are bytes, or structs or lists with bytes in them."""
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return _holds_bytes(kind.value_type)
    if pa.types.is_struct(kind):
        return any(_holds_bytes(kind.field(index).type) for index in range(kind.num_fields))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _holds_bytes(kind.value_type)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))


def _label_names(metadata: dict[bytes, bytes]) -> list[str]:
    """The names of the class labels in the column `label`, as `datasets` stores its features."""
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}")).get("info", {}).get("features", {})
        feature = next(value for name, value in features.items() if name.lower() == "label")
        names = feature["names"] if feature.get("_type") == "ClassLabel" else []
    except (ValueError, AttributeError, KeyError, TypeError, StopIteration):
        return []
    return [str(name) for name in names] if isinstance(names, list) else []


def _bytes(image: Any) -> bytes | None:
    data = image.get("bytes") if isinstance(image, dict) else image
    return bytes(data) if isinstance(data, bytes | bytearray | memoryview) else None


def _described(image: Any, row: int) -> EmbeddedImage | str | None:
    """What a row's image is; its path where it is not in the file. Raises ValueError for bytes that are no image."""
    from PIL import Image

    data = _bytes(image)
    path = image.get("path") if isinstance(image, dict) else None
    if not data:
        return str(path) if path else None
    try:
        with Image.open(io.BytesIO(data)) as opened:
            kind, (width, height) = (opened.format or "").lower(), opened.size
    except Exception as error:  # noqa: BLE001 - whatever a decoder makes of hostile bytes
        raise ValueError(f"its image is none that can be read: {one_line(error)}") from None
    return EmbeddedImage(row, {"jpeg": "jpg", "tiff": "tif"}.get(kind, kind), width, height, str(path or ""))
