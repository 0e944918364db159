"""Objects of a page of an S3 listing, from its XML at a fraction of what botocore's own parser costs."""

from contextvars import ContextVar
from typing import Any, NamedTuple
from urllib.parse import unquote_plus
from xml.etree.ElementTree import Element, ParseError, XMLParser, tostring

COLUMNS = "ObjectColumns"
"""The name under which an answer has the objects instead of `Contents`, where `columns_wanted` was set."""

columns_wanted: ContextVar[bool] = ContextVar("columns_wanted", default=False)
"""Whether the current task asks for objects as columns; s3fs itself asks for `Contents`."""


class ObjectColumns(NamedTuple):
    """The objects of a page in its order: their names, sizes in bytes and entity tags, None where unknown."""

    keys: list[str]
    sizes: list[int | None]
    etags: list[str | None]


def register(session: Any) -> None:
    """Have the clients of a botocore session hand out columns where they are wanted.

    The pattern with the star is called before botocore's own handler, which would parse the whole page once more to
    find out whether it is an error.
    """
    for operation in ("ListObjects", "ListObjectsV2"):
        session.register(f"before-parse.*.{operation}", _take_columns)


def _take_columns(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any) -> None:
    """Take the objects out of an answer before botocore parses the rest of it, which stays as the server sent it."""
    if not columns_wanted.get() or response_dict["status_code"] != 200:
        return
    found = split_page(response_dict["body"])
    if found is not None:
        response_dict["body"], customized_response_dict[COLUMNS] = found


def split_page(body: bytes) -> tuple[bytes, ObjectColumns] | None:
    """The page without its objects, and these; None for anything that is no page of a listing."""
    parser = XMLParser(encoding="utf-8")  # as botocore, whatever the document says of itself
    try:
        parser.feed(body)
        root = parser.close()
    except ParseError:
        return None
    space = root.tag[: root.tag.rfind("}") + 1]
    if root.tag != f"{space}ListBucketResult":
        return None
    rest, columns = Element(root.tag), ObjectColumns([], [], [])
    contents, key_tag = f"{space}Contents", f"{space}Key"
    size_tag, etag_tag = f"{space}Size", f"{space}ETag"
    is_quoted = root.findtext(f"{space}EncodingType") == "url"
    for child in root:
        if child.tag != contents:
            rest.append(child)
            continue
        key, size = child.findtext(key_tag), child.findtext(size_tag)
        if key is None:
            return None
        columns.keys.append(unquote_plus(key) if is_quoted and ("%" in key or "+" in key) else key)
        columns.sizes.append(int(size) if size and size.strip().isdecimal() else None)
        columns.etags.append(child.findtext(etag_tag) or None)
    return tostring(rest), columns
