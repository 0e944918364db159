"""Objects of a page of an S3 listing, from its XML at a fraction of what botocore's own parser costs."""

import re
from contextvars import ContextVar
from typing import Any, NamedTuple
from urllib.parse import unquote_plus
from xml.etree.ElementTree import Element, ParseError, XMLParser, tostring

_START = re.compile(rb'\s*(<\?xml[^>]*\?>)?\s*<ListBucketResult( xmlns="[^"]*")?>')
_KEY = re.compile(rb"<Key>([^<]+)</Key>")
_SIZE = re.compile(rb"<Size>(\d+)</Size>")
_TAG = re.compile(rb"<ETag>([^<]*)</ETag>")

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
    return _split_plain(body) or _split_any(body)


def _split_plain(body: bytes) -> tuple[bytes, ObjectColumns] | None:
    """The same for a page in the form that servers write, a quarter of the time; None where anything is unusual."""
    if _START.match(body) is None or any(sign in body for sign in (b"<!", b"\r")):
        return None
    head, *pieces = body.split(b"<Contents>")
    rest, columns = [head], ObjectColumns([], [], [])
    is_quoted = b"<EncodingType>url</EncodingType>" in body
    try:
        for piece in pieces:
            item, end, tail = piece.partition(b"</Contents>")
            key, size, tag = _KEY.search(item), _SIZE.search(item), _TAG.search(item)
            if key is None or not end or b"&" in key[1] or item.count(b"<Key>") != 1:
                return None
            etag = tag[1].replace(b"&quot;", b'"').replace(b"&#34;", b'"') if tag else b""
            if b"&" in etag:
                return None
            rest.append(tail)
            name = key[1].decode()
            columns.keys.append(unquote_plus(name) if is_quoted and ("%" in name or "+" in name) else name)
            columns.sizes.append(int(size[1]) if size else None)
            columns.etags.append(etag.decode() or None)
    except UnicodeDecodeError:
        return None
    remaining = b"".join(rest)
    return None if b"Contents" in remaining else (remaining, columns)


def _split_any(body: bytes) -> tuple[bytes, ObjectColumns] | None:
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
