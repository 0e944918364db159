"""How many images a request counts for: the replica finds out, and tells the proxy in a header of its response."""

import math
from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any

from fakescan.serve.internal_headers import CHARGE

if TYPE_CHECKING:  # the proxy reads the header, and should not load what decodes images
    from fakescan.serve.decoding.upload import Upload
    from fakescan.serve.detector import Detector

PIXELS_PER_IMAGE = 12_500_000
"""An image counts once for each so many pixels that it begins: a phone's photograph once, the largest four times."""

Admit = Callable[[Sequence["Upload"]], Awaitable[list["Upload"]]]
"""Makes the uploads of a request ready to be judged, before anything is done for them. Raises Problem."""
_SCOPE = "fakescan.charge"


def charge(uploads: "Iterable[Upload]") -> int:
    """The images that these count for, after `Detector.admit`."""
    return sum(max(1, math.ceil(upload.work / PIXELS_PER_IMAGE)) for upload in uploads)


def admission(detector: "Detector", scope: MutableMapping[str, Any]) -> Admit:
    """For one request with this ASGI scope: notes there what its uploads count for, whatever becomes of them."""

    async def admit(uploads: "Sequence[Upload]") -> "list[Upload]":
        admitted = await detector.admit(uploads, str(scope["fakescan.key"]))
        scope[_SCOPE] = charge(admitted)
        return admitted

    return admit


def charge_headers(scope: MutableMapping[str, Any]) -> list[tuple[bytes, bytes]]:
    """The header for the response to the request with this scope; none where it has not come so far."""
    return [(CHARGE, str(scope[_SCOPE]).encode())] if _SCOPE in scope else []


def read_charge(header: bytes) -> int:
    """The charge in the header; 0 where there is none."""
    return int(header) if header.isdigit() else 0
