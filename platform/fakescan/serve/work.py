"""What the images of a request cost to decode: the replica finds out, and tells the proxy in a header."""

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any

from fakescan.serve.internal_headers import WORK

if TYPE_CHECKING:  # the proxy reads the header, and should not load what decodes images
    from fakescan.serve.decoding.upload import Upload
    from fakescan.serve.detector import Detector

Admit = Callable[[Sequence["Upload"]], Awaitable[list["Upload"]]]
"""Makes the uploads of a request ready to be judged, before anything is done for them. Raises Problem."""
_SCOPE = "fakescan.work"


def admission(detector: "Detector", scope: MutableMapping[str, Any]) -> Admit:
    """For one request with this ASGI scope: notes there what its uploads cost, whatever becomes of them."""

    async def admit(uploads: "Sequence[Upload]") -> "list[Upload]":
        client = scope["fakescan.key_id"] or scope["fakescan.client"]
        admitted = await detector.admit(uploads, client)
        scope[_SCOPE] = " ".join(str(upload.work) for upload in admitted)
        return admitted

    return admit


def work_headers(scope: MutableMapping[str, Any]) -> list[tuple[bytes, bytes]]:
    """The header for the response to the request with this scope; none where it has not come so far."""
    return [(WORK, scope[_SCOPE].encode())] if _SCOPE in scope else []


def read_work(header: bytes) -> list[int]:
    """Pixels that each image costs; empty where there is no header."""
    return [int(part) for part in header.split() if part.isdigit()]
