"""Pages of an S3 listing, from servers that keep to the protocol and from those that nearly do."""

from typing import Any

from fsspec import AbstractFileSystem

from fakescan.storage.errors import root_cause, service_code

_FIRST_VERSION = frozenset({"NotImplemented", "MethodNotAllowed", "501", "405"})
"""Answers of servers that know only the first version of the call."""

_old_servers: set[int] = set()
"""File systems, by id, whose server is one of them; file systems are kept for the life of the process."""


def list_page(fs: AbstractFileSystem, **arguments: Any) -> dict[str, Any]:
    """One page of `ListObjectsV2`, or of the call before it where the server knows no other."""
    if id(fs) not in _old_servers:
        try:
            return dict(fs.call_s3("list_objects_v2", **arguments))
        except Exception as error:
            if service_code(root_cause(error)) not in _FIRST_VERSION:
                raise
            _old_servers.add(id(fs))
    start = arguments.pop("StartAfter", None) or arguments.pop("ContinuationToken", None)
    return dict(fs.call_s3("list_objects", **arguments, **({"Marker": start} if start else {})))


def next_page(answer: dict[str, Any]) -> dict[str, str] | None:
    """Arguments that bring the page after this one; None after the last.

    A server that says that there is more and gives no token is asked for what comes after the last name.
    """
    if not answer.get("IsTruncated"):
        return None
    if token := answer.get("NextContinuationToken"):
        return {"ContinuationToken": token}
    keys = [item["Key"] for item in answer.get("Contents", [])]
    prefixes = [item["Prefix"] for item in answer.get("CommonPrefixes", [])]
    names = [answer["NextMarker"]] if answer.get("NextMarker") else [*keys, *prefixes]
    if not names:
        raise OSError("the store says that its listing goes on, and neither names anything nor says how")
    return {"StartAfter": max(names)}
