"""Bounds on a JSON document, checked on its bytes before a parser builds objects of it.

A parser makes some hundred bytes of memory of `[],`, and nobody else in its process works meanwhile. This looks at the
structure alone: strings, which hold an image's base64, are skipped at the speed of memory.
"""

import re

from fakescan.serve.problem import Problem

MAX_DEPTH = 64
"""Lists and objects in each other."""
MAX_TOKENS = 50_000
"""Strings, lists, objects and commas in a document."""
MAX_NUMBER = 1_000
"""Characters of a number, or of anything else outside strings: converting digits takes the square of their number."""

_PIECE = 1 << 16
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_LONG = re.compile(rb'[^\s"\[\]{},:]{%d}' % (MAX_NUMBER + 1))


def check_json(body: bytes, *, max_depth: int = MAX_DEPTH, max_tokens: int = MAX_TOKENS) -> None:
    """Raises Problem (`invalid`) for a document beyond the bounds, or in another encoding than UTF-8.

    A document that is no JSON passes, or is refused: what is wrong with it, its parser says.
    """
    if b"\0" in body[:4] or body[:2] in (b"\xff\xfe", b"\xfe\xff"):
        # Parsers that guess the encoding would see another structure than is looked at here.
        raise Problem("invalid", "the JSON is not in UTF-8; send it as UTF-8")
    depth = tokens = position = 0
    while True:
        quote = body.find(b'"', position)
        end = len(body) if quote < 0 else quote
        for start in range(position, end, _PIECE):
            piece = body[start : min(start + _PIECE, end)]
            tokens += piece.count(b",") + piece.count(b"[") + piece.count(b"{")
            _check_tokens(tokens, max_tokens)
            for bracket in piece.translate(None, _NOT_BRACKETS):
                depth += 1 if bracket in b"[{" else -1
                if depth > max_depth:
                    raise Problem("invalid", f"the JSON is nested deeper than {max_depth} levels")
                if depth < 0:
                    return  # no JSON: a parser stops here, too
            if _LONG.search(body, max(position, start - MAX_NUMBER), min(start + _PIECE, end)):
                raise Problem("invalid", f"the JSON has a number or a word of more than {MAX_NUMBER:,} characters")
        if quote < 0:
            return
        string = _STRING.match(body, quote)
        if string is None:
            return  # no JSON: the string never ends
        tokens += 1
        _check_tokens(tokens, max_tokens)
        position = string.end()


def _check_tokens(tokens: int, max_tokens: int) -> None:
    if tokens > max_tokens:
        raise Problem("invalid", f"the JSON has more than {max_tokens:,} strings, lists, objects and commas")
