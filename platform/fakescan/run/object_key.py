"""The key of an image: tells rows apart whose shown addresses are the same."""

import hashlib


def source_key(uri: str) -> str:
    """SHA-256, in hex, of an image's full address as its source has it.

    The address itself may hold a secret and is shown without its query. Who has it can compute the key.
    """
    return hashlib.sha256(uri.encode(errors="surrogateescape")).hexdigest()
