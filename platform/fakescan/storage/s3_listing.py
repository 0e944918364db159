"""Pages of an S3 listing, from servers that keep to the protocol and from those that nearly do."""

from typing import Any

from fsspec import AbstractFileSystem

from fakescan.storage.errors import root_cause, service_code
from fakevlm.errors import UserError

_FIRST_VERSION = frozenset({"NotImplemented", "MethodNotAllowed", "501", "405"})
"""Answers of servers that know only the first version of the call."""

_TOKEN = "NextContinuationToken"

_old_servers: set[int] = set()
"""File systems, by id, whose server is one of them; file systems are kept for the life of the process."""


def list_page(fs: AbstractFileSystem, **arguments: Any) -> dict[str, Any]:
    """One page of `ListObjectsV2`, or of the call before it where the server knows no other."""
    if id(fs) not in _old_servers:
        try:
            return _further(dict(fs.call_s3("list_objects_v2", **arguments)), arguments)
        except Exception as error:
            if service_code(root_cause(error)) not in _FIRST_VERSION:
                raise
            _old_servers.add(id(fs))
    start = arguments.pop("StartAfter", None) or arguments.pop("ContinuationToken", None)
    answer = dict(fs.call_s3("list_objects", **arguments, **({"Marker": start} if start else {})))
    return _further(answer, {"StartAfter": start} if start else {})


def _further(answer: dict[str, Any], arguments: dict[str, Any]) -> dict[str, Any]:
    """The page, if it is a further one. Raises UserError where the server begins again, which would never end."""
    start, token = arguments.get("StartAfter"), arguments.get("ContinuationToken")
    if (start and any(name <= start for name in _names(answer))) or (token and token == answer.get(_TOKEN)):
        raise UserError(
            "the store says that its listing goes on, and then begins it again: it cannot be listed to its end; "
            "list the objects another way and scan that list"
        )
    return answer


def _names(answer: dict[str, Any]) -> list[str]:
    """Keys of a page, and for each folder a name after all that it holds."""
    keys = [item["Key"] for item in answer.get("Contents", [])]
    return keys + [f"{item['Prefix']}\U0010ffff" for item in answer.get("CommonPrefixes", [])]


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
