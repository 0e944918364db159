"""Pages of an S3 listing, from servers that keep to the protocol and from those that nearly do."""

from dataclasses import dataclass
from typing import Any, Protocol

from fsspec import AbstractFileSystem
from fsspec.asyn import sync

from fakescan.storage.errors import root_cause, service_code
from fakescan.storage.s3.listing_xml import COLUMNS, ObjectColumns, columns_wanted
from fakevlm.errors import UserError

_FIRST_VERSION = frozenset({"NotImplemented", "MethodNotAllowed", "501", "405"})
"""Answers of servers that know only the first version of the call."""

_TOKEN = "NextContinuationToken"

_old_servers: set[int] = set()
"""File systems, by id, whose server is one of them; file systems are kept for the life of the process."""


class BeginsAgainError(UserError):
    """The server was asked for what comes after a name, and begins its listing again."""


@dataclass(frozen=True)
class Page:
    """A page: its objects, the folders that a delimiter makes, and the arguments for the next one, None at the end."""

    objects: ObjectColumns
    folders: list[str]
    following: dict[str, str] | None


class _Call(Protocol):
    def __call__(self, method: str, **arguments: Any) -> Any: ...


def list_page(fs: AbstractFileSystem, **arguments: Any) -> dict[str, Any]:
    """One page of `ListObjectsV2`, or of the call before it where the server knows no other."""
    return _answer(fs, fs.call_s3, arguments)


def object_page(fs: AbstractFileSystem, **arguments: Any) -> Page:
    """The same page at a fraction of the CPU time. Entity tags are as the server writes them, mostly in quotes."""
    answer = _answer(fs, lambda method, **named: sync(fs.loop, _with_columns, fs, method, named), arguments)
    folders = [item["Prefix"] for item in answer.get("CommonPrefixes", [])]
    return Page(_columns(answer), folders, next_page(answer))


async def _with_columns(fs: AbstractFileSystem, method: str, arguments: dict[str, Any]) -> Any:
    columns_wanted.set(True)  # of this task alone
    return await fs._call_s3(method, **arguments)


def _answer(fs: AbstractFileSystem, call: _Call, arguments: dict[str, Any]) -> dict[str, Any]:
    if id(fs) not in _old_servers:
        try:
            return _further(dict(call("list_objects_v2", **arguments)), arguments)
        except Exception as error:
            if service_code(root_cause(error)) not in _FIRST_VERSION:
                raise
            _old_servers.add(id(fs))
    start = arguments.pop("StartAfter", None) or arguments.pop("ContinuationToken", None)
    answer = dict(call("list_objects", **arguments, **({"Marker": start} if start else {})))
    return _further(answer, {"StartAfter": start} if start else {})


def _columns(answer: dict[str, Any]) -> ObjectColumns:
    """The objects of an answer, also of one whose form only botocore's own parser understands."""
    if COLUMNS in answer:
        columns: ObjectColumns = answer[COLUMNS]
        return columns
    objects = answer.get("Contents", [])
    return ObjectColumns(
        [item["Key"] for item in objects],
        [item.get("Size") for item in objects],
        [item.get("ETag") or None for item in objects],
    )


def _further(answer: dict[str, Any], arguments: dict[str, Any]) -> dict[str, Any]:
    """The page, if it is a further one. Raises BeginsAgainError where it is not, which would never end."""
    start, token = arguments.get("StartAfter"), arguments.get("ContinuationToken")
    if (start and any(name <= start for name in _names(answer))) or (token and token == answer.get(_TOKEN)):
        raise BeginsAgainError(
            "the store says that its listing goes on, and then begins it again: it cannot be listed to its end; "
            "list the objects another way and scan that list"
        )
    return answer


def _names(answer: dict[str, Any]) -> list[str]:
    """Keys of a page, and for each folder a name after all that it holds."""
    return _columns(answer).keys + [f"{item['Prefix']}\U0010ffff" for item in answer.get("CommonPrefixes", [])]


def next_page(answer: dict[str, Any]) -> dict[str, str] | None:
    """Arguments that bring the page after this one; None after the last.

    A server that says that there is more and gives no token is asked for what comes after the last name.
    """
    if not answer.get("IsTruncated"):
        return None
    if token := answer.get(_TOKEN):
        return {"ContinuationToken": token}
    names = [answer["NextMarker"]] if answer.get("NextMarker") else _names(answer)
    if not names:
        raise UserError("the store says that its listing goes on, and neither names anything nor says how")
    return {"StartAfter": max(names)}
