"""Bounds what a JSON body may hold, as it arrives: what holds too much is refused within its first pieces.

JSON costs by what is in it and not by its bytes: a megabyte of brackets takes as much to parse as a gigabyte of image.
So nothing is parsed before it is counted, and it is counted by functions that go through bytes as fast as memory does.
"""

import codecs
from itertools import accumulate

from fakescan.serve.problem import Problem

MAX_ELEMENTS = 20_000
"""Strings, commas and opening brackets of a body: at most twice its values and names."""
MAX_DEPTH = 64
"""Objects and lists inside each other."""
MAX_PLAIN_BYTES = 2**20
"""Bytes outside strings: numbers, brackets, white space."""
MAX_ESCAPES = 200_000
"""Quotes and backslashes within strings; images have none."""
_WINDOW = 64 * 2**10
"""Bytes that are looked at together; so many are looked at in vain at most."""
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEPS = tuple({0x5B: 1, 0x7B: 1, 0x5D: -1, 0x7D: -1}.get(byte, 0) for byte in range(256))


class JsonBounds:
    """Counts what one body holds, piece by piece.

    It is no parser: what it lets pass may still be no JSON. Where it is none, a parser stops at its first mistake, and
    up to there both see the same strings.
    """

    def __init__(self, *, max_elements: int = MAX_ELEMENTS, max_depth: int = MAX_DEPTH) -> None:
        self._max_elements = max_elements
        self._max_depth = max_depth
        self._elements = self._depth = self._plain = self._escapes = 0
        self._in_string = False
        self._backslash = b""  # at the end of the last piece: the first letter of the next one belongs to it

    def feed(self, piece: bytes) -> None:
        """The next bytes of the body. Raises Problem for a body that holds too much."""
        for start in range(0, len(piece), _WINDOW):
            self._look_at(piece[start : start + _WINDOW])

    def end(self) -> None:
        """The body is complete. Raises Problem where a string does not end."""
        if self._in_string:
            raise Problem("invalid", "request: Invalid JSON: a string does not end")

    def _look_at(self, window: bytes) -> None:
        window = self._backslash + window
        self._backslash = b"\\" if (len(window) - len(window.rstrip(b"\\"))) % 2 else b""
        window = window[: len(window) - len(self._backslash)]
        unescaped = self._without_escapes(window) if b"\\" in window else window
        if self._in_string and b'"' not in unescaped:
            return
        quotes = unescaped.count(b'"')
        self._count((quotes + (not self._in_string)) // 2)  # before so many parts are made
        outside = b"".join(unescaped.split(b'"')[self._in_string :: 2])
        self._in_string ^= quotes % 2 == 1
        self._count(outside.count(b",") + outside.count(b"[") + outside.count(b"{"))
        self._plain += len(outside)
        if self._plain > MAX_PLAIN_BYTES:
            raise Problem("invalid", f"request: more than {MAX_PLAIN_BYTES} bytes of JSON outside its strings")
        self._descend(outside.translate(None, _NO_BRACKETS))

    def _without_escapes(self, window: bytes) -> bytes:
        # A run of backslashes pairs up from its beginning; one that is left escapes what comes after it.
        unescaped = window.replace(b"\\\\", b"").replace(b'\\"', b"")
        self._escapes += (len(window) - len(unescaped)) // 2
        if self._escapes > MAX_ESCAPES:
            raise Problem("invalid", f"request: JSON of more than {MAX_ESCAPES} escaped quotes and backslashes")
        return unescaped

    def _count(self, elements: int) -> None:
        self._elements += elements
        if self._elements > self._max_elements:
            raise Problem("invalid", f"request: JSON of more than {self._max_elements} elements")

    def _descend(self, brackets: bytes) -> None:
        closing = brackets.count(b"]") + brackets.count(b"}")
        if closing > self._depth + len(brackets) - closing:
            raise _closes()
        depths = list(accumulate(map(_STEPS.__getitem__, brackets), initial=self._depth))
        if max(depths) > self._max_depth:
            raise Problem("invalid", f"request: JSON of more than {self._max_depth} levels")
        if min(depths) < 0:
            raise _closes()
        self._depth = depths[-1]


def check_json(body: bytes) -> None:
    """Raises Problem for a body that holds too much, or that no parser takes for a small reason."""
    if body.startswith(codecs.BOM_UTF8):
        raise Problem("invalid", "request: Invalid JSON: it begins with a byte order mark; send UTF-8 without one")
    bounds = JsonBounds()
    bounds.feed(body)
    bounds.end()


def _closes() -> Problem:
    return Problem("invalid", "request: Invalid JSON: a bracket closes that has not been opened")
