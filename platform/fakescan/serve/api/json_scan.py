"""Bounds what a JSON body holds before it is parsed, and finds the long strings in it."""

import re

from fakescan.serve.problem import Problem

MAX_ELEMENTS = 20_000
"""Strings, commas and opening brackets of a body: at most twice its values and names."""
MAX_DEPTH = 64
"""Objects and lists inside each other."""
MAX_PLAIN_BYTES = 2**20
"""Bytes outside strings: numbers, brackets, white space."""
LONG_BYTES = 4096
"""Bytes from which a string counts as long."""
_MAX_ESCAPED_QUOTES = 200_000
_BRACKETS = re.compile(rb"[\[\]{},]")
_PIECE = 4096


def scan_json(
    body: bytes, *, max_elements: int = MAX_ELEMENTS, max_depth: int = MAX_DEPTH, long_bytes: int = LONG_BYTES
) -> list[tuple[int, int]]:
    """Where the strings of at least `long_bytes` bytes are: from their first byte to the one after their last.

    It looks at no more than `max_elements` elements and skips what is in strings, so that it takes milliseconds for any
    body. It is no parser: what it lets pass may still be no JSON. Raises Problem for a body that holds too much.
    """
    spans: list[tuple[int, int]] = []
    elements = depth = plain = position = escaped = 0
    while True:
        opening = body.find(b'"', position)
        run = body[position : min(len(body) if opening < 0 else opening, position + MAX_PLAIN_BYTES + 1)]
        plain += len(run)
        if plain > MAX_PLAIN_BYTES:
            raise Problem("invalid", f"request: more than {MAX_PLAIN_BYTES} bytes of JSON outside its strings")
        for bracket in _BRACKETS.finditer(run):
            if bracket[0] in (b"]", b"}"):
                depth -= 1
                if depth < 0:
                    raise Problem("invalid", "request: Invalid JSON: a bracket closes that has not been opened")
                continue
            elements += 1
            if elements > max_elements:
                raise _too_many(max_elements)
            if bracket[0] != b",":
                depth += 1
                if depth > max_depth:
                    raise Problem("invalid", f"request: JSON of more than {max_depth} levels")
        if opening < 0:
            return spans
        elements += 1
        if elements > max_elements:
            raise _too_many(max_elements)
        closing = body.find(b'"', opening + 1)
        while closing > 0 and _is_escaped(body, opening + 1, closing):
            escaped += 1
            if escaped > _MAX_ESCAPED_QUOTES:
                raise Problem("invalid", f"request: JSON of more than {_MAX_ESCAPED_QUOTES} escaped quotes")
            closing = body.find(b'"', closing + 1)
        if closing < 0:
            raise Problem("invalid", "request: Invalid JSON: a string does not end")
        if closing - opening - 1 >= long_bytes:
            spans.append((opening + 1, closing))
        position = closing + 1


def _too_many(max_elements: int) -> Problem:
    return Problem("invalid", f"request: JSON of more than {max_elements} elements")


def _is_escaped(body: bytes, start: int, quote: int) -> bool:
    """Whether an odd number of backslashes is before the quote."""
    end = quote
    while end > start and body[end - 1] == 0x5C:
        piece = body[max(start, end - _PIECE) : end]
        end -= len(piece) - len(piece.rstrip(b"\\"))
    return (quote - end) % 2 == 1
