"""The bytes of an image that is written in base64, as people make it: wrapped, unpadded, url-safe, percent-encoded."""

import binascii
import io
import re
from collections.abc import Iterable, Iterator
from urllib.parse import unquote_to_bytes

from fakescan.serve.problem import Problem

_MAX_PREFIX = 512
_DATA = re.compile(rb"\s*data:([^,]*),", re.IGNORECASE)
_BASE64 = re.compile(rb"(?:.*;)?\s*base64\s*", re.IGNORECASE | re.DOTALL)
_SCHEME = re.compile(rb"\s*([a-z][a-z0-9+.-]*):", re.IGNORECASE)
_WHITE_SPACE = b" \t\r\n\v\f"
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_FORM = "send the image as data:image/…;base64,…"


def decode_image(pieces: Iterable[bytes], place: str) -> bytes:
    """The bytes that a `data:` URI, or bare base64, holds.

    `pieces`: the text in UTF-8; between two of them other threads have their turn. `place`: the field of the request
    that it is in, for what is said of it. Raises Problem.
    """
    image = io.BytesIO()
    rest = b""
    try:
        for letters in _letters(_unquoted(_without_prefix(iter(pieces)))):
            letters = rest + letters
            whole = len(letters) // 4 * 4
            image.write(binascii.a2b_base64(letters[:whole], strict_mode=True))
            rest = letters[whole:]
        if len(rest) == 1:
            raise binascii.Error("a letter is missing or too many")
        if rest:
            image.write(binascii.a2b_base64(rest.ljust(4, b"="), strict_mode=True))
    except binascii.Error as error:
        raise Problem("invalid", f"{place}: broken base64: {str(error).lower()}", param=place) from None
    except ValueError as error:  # of the pieces too: a string whose escapes are broken
        raise Problem("invalid", f"{place}: {str(error)[:200]}", param=place) from None
    return image.getvalue()


def _without_prefix(pieces: Iterator[bytes]) -> Iterator[bytes]:
    first = next(pieces, b"")
    beginning = first[:_MAX_PREFIX]
    if data := _DATA.match(beginning):
        if not _BASE64.fullmatch(data[1]):
            raise ValueError(f"the data: URI is not base64; {_FORM}")
        first = first[data.end() :]
    elif scheme := _SCHEME.match(beginning):
        known = scheme[1].lower() == b"data"
        raise ValueError(f"the data: URI has no comma; {_FORM}" if known else f"URLs are not fetched; {_FORM}")
    elif b"." in beginning or b"\\" in beginning:
        raise ValueError(f"neither a data: URI nor base64, and no files are read here; {_FORM}")
    if not first.strip(_WHITE_SPACE):
        raise ValueError(f"no image; {_FORM}")
    yield first
    yield from pieces


def _unquoted(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The pieces without percent-encoding."""
    rest = b""
    for piece in pieces:
        piece, rest = rest + piece, b""
        if b"%" in piece:
            if (cut := piece.rfind(b"%", max(len(piece) - 2, 0))) >= 0:
                piece, rest = piece[:cut], piece[cut:]
            piece = unquote_to_bytes(piece)
        yield piece
    yield rest


def _letters(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The letters of base64's usual alphabet, without white space and padding."""
    has_ended = False
    for piece in pieces:
        letters = piece.translate(_URL_SAFE, _WHITE_SPACE)
        if has_ended:
            letters = b"=" + letters
        letters, equals, after = letters.partition(b"=")
        if after.strip(b"="):
            raise binascii.Error("it goes on after its end")
        has_ended = bool(equals)
        yield letters
