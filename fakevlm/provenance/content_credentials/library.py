"""The library's report on the manifest store of a file, made without a connection."""

import io
import json
import os
from functools import lru_cache
from typing import Any

from fakevlm.provenance.content_credentials.json_values import an_object
from fakevlm.provenance.trust import TrustLists

_TYPES = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "GIF": "image/gif",
    "TIFF": "image/tiff",
    "AVIF": "image/avif",
    "HEIF": "image/heif",
}
_KEY_USAGES = (
    "1.3.6.1.5.5.7.3.4",  # e-mail protection
    "1.3.6.1.5.5.7.3.36",  # document signing
    "1.3.6.1.5.5.7.3.8",  # time stamping
    "1.3.6.1.5.5.7.3.9",  # OCSP signing
    "1.3.6.1.4.1.311.76.59.1.9",  # Microsoft's for C2PA
    "1.3.6.1.4.1.62558.2.1",  # C2PA's own
)
"""What a signer's certificate may be made for."""
_MAX_JSON = 8 << 20


class RemoteError(Exception):
    """The manifest is elsewhere; the message is where."""


class UnreadableError(Exception):
    """The library could not read the manifest; the message is why."""


def store_of(data: bytes, format: str, trust: TrustLists | None) -> dict[str, Any]:
    """The library's report on the manifest store of a file."""
    from c2pa import C2paError, Reader

    try:
        with Reader(_TYPES[format], io.BytesIO(data), context=_context(trust, os.getpid())) as reader:
            text = reader.json()
    except C2paError.RemoteManifest as error:
        raise RemoteError(str(error).removeprefix("RemoteManifest: ")) from None
    except (C2paError, OSError, ValueError, TypeError, RuntimeError) as error:
        raise UnreadableError(" ".join(str(error).split())[:200] or type(error).__name__) from None
    if len(text) > _MAX_JSON:
        raise UnreadableError(f"a report of {len(text)} characters")
    try:
        return an_object(json.loads(text))
    except (ValueError, RecursionError):
        raise UnreadableError("a report that is not JSON") from None


@lru_cache(maxsize=4)
def _context(trust: TrustLists | None, process: int) -> Any:
    """The library's settings; one for a process and its trust lists, because certificates are parsed for it.

    That of a parent is of no use to its fork.
    """
    from c2pa import Context

    settings: dict[str, Any] = {
        "version": 1,
        "verify": {
            "verify_after_reading": True,
            "verify_trust": True,
            "verify_timestamp_trust": True,
            "remote_manifest_fetch": False,
            "ocsp_fetch": False,
        },
        "core": {"allowed_network_hosts": []},
        "trust": {"trust_config": "\n".join(_KEY_USAGES)},
    }
    if trust is not None:
        settings["trust"]["trust_anchors"] = trust.pem
    return Context.from_dict(settings)
