"""Which column of a Parquet file holds the images, and in which of the forms that writers use."""

from dataclasses import dataclass
from urllib.parse import quote, unquote

import pyarrow as pa

from fakescan.sources.address_column import plain

_NAMES = ("image", "img", "jpg", "jpeg", "png", "webp", "picture", "photo", "bytes", "image_bytes", "content")
IMAGE_COLUMNS = {plain(name): rank for rank, name in enumerate((*_NAMES, "images", "imgs", "pictures", "photos"))}
"""Names under which image bytes are looked for, the likeliest first; any other struct of bytes and path comes after."""


@dataclass(frozen=True)
class ImageColumn:
    """A column of image bytes, of structs `{bytes, path}`, or of lists of either."""

    path: str
    """Its name, with dots between the names of structs and their fields."""
    steps: tuple[str, ...]
    """The names from the outermost field to it."""
    in_list: bool
    is_struct: bool
    has_path: bool
    is_default: bool
    """Whether it is the one that is taken when nobody names one."""

    def fragment(self, row: int, image: int | None = None) -> str:
        """What follows the file's URI in that of an image."""
        chosen = "" if self.is_default else f"&column={quote(self.path, safe='')}"
        return f"#row={row}{'' if image is None else f'&image={image}'}{chosen}"


def chosen_column(uri: str) -> str | None:
    """The column that the URI of an image in a Parquet file names; None for the likeliest."""
    _, found, name = uri.rpartition("#")[2].partition("&column=")
    return unquote(name) if found else None


def image_column(schema: pa.Schema, column: str | None = None) -> ImageColumn | None:
    """The column of images called `column`, the likeliest without it; None if there is none."""
    names = image_columns(schema)
    if column is None:
        return _described(schema, names[0], True) if names else None
    return _described(schema, column, names[:1] == [column])


def image_columns(schema: pa.Schema) -> list[str]:
    """The columns that hold images by their type and name, the likeliest first."""
    ranks: dict[str, int] = {}
    for field in schema:
        form = _form(field.type)
        rank = IMAGE_COLUMNS.get(plain(field.name))
        if form is not None and field.name not in ranks and (rank is not None or form.is_struct):
            ranks[field.name] = len(IMAGE_COLUMNS) + form.in_list if rank is None else rank
    return sorted(ranks, key=lambda name: ranks[name])


@dataclass(frozen=True)
class _Form:
    in_list: bool
    is_struct: bool
    has_path: bool


def _form(kind: pa.DataType) -> _Form | None:
    if is_list(kind):
        inner = _form(kind.value_type)
        return None if inner is None or inner.in_list else _Form(True, inner.is_struct, inner.has_path)
    if pa.types.is_struct(kind):
        index = kind.get_field_index("bytes")
        if index < 0 or not is_bytes(kind.field(index).type):
            return None
        path = kind.get_field_index("path")
        return _Form(False, True, path >= 0 and is_text(kind.field(path).type))
    return _Form(False, False, False) if is_bytes(kind) else None


def _described(schema: pa.Schema, path: str, is_default: bool) -> ImageColumn | None:
    steps, kind = find_field(list(schema), path)
    form = _form(kind) if kind is not None else None
    if form is None:
        return None
    return ImageColumn(path, steps, form.in_list, form.is_struct, form.has_path, is_default)


def find_field(fields: list[pa.Field], path: str) -> tuple[tuple[str, ...], pa.DataType | None]:
    """The names on the way to the field `a.b.c` and its type, None if there is no such field. Names may have dots."""
    for field in fields:
        if field.name == path:
            return (field.name,), field.type
    for field in fields:
        if path.startswith(f"{field.name}.") and pa.types.is_struct(field.type):
            children = [field.type.field(index) for index in range(field.type.num_fields)]
            steps, kind = find_field(children, path.removeprefix(f"{field.name}."))
            if kind is not None:
                return (field.name, *steps), kind
    return (), None


def is_list(kind: pa.DataType) -> bool:
    """Whether it is one of Arrow's five types of lists."""
    types = pa.types
    return bool(
        types.is_list(kind)
        or types.is_large_list(kind)
        or types.is_fixed_size_list(kind)
        or types.is_list_view(kind)
        or types.is_large_list_view(kind)
    )


def is_bytes(kind: pa.DataType) -> bool:
    """Whether its values are bytes, in whatever layout."""
    types = pa.types
    if types.is_dictionary(kind):
        return is_bytes(kind.value_type)
    return bool(
        types.is_binary(kind)
        or types.is_large_binary(kind)
        or types.is_binary_view(kind)
        or types.is_fixed_size_binary(kind)
    )


def is_text(kind: pa.DataType) -> bool:
    """Whether its values are text, in whatever layout."""
    types = pa.types
    if types.is_dictionary(kind):
        return is_text(kind.value_type)
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))
