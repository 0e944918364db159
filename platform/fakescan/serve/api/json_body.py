"""Reads JSON bodies: bounded before they are parsed, and without a copy of the long strings in them."""

import json
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from fakescan.serve.gate.bounds.json_bounds import check_json
from fakescan.serve.problem import Problem
from fakescan.settings.yaml_file import first_mistake

Model = TypeVar("Model", bound=BaseModel)

MAX_DOCUMENT_BYTES = 4 * 2**20
"""Bytes of a body without its long strings: what is parsed, and copied."""
LONG_BYTES = 4096
"""Bytes from which a string counts as long."""
_POSITION = re.compile(r" at line \d+ column \d+$")
_PIECE = 256 * 2**10
_REST_OF_STRING = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_MAX_MESSAGE = 500


@dataclass(frozen=True)
class JsonText:
    """A string of a JSON body: its text, or where it is in the body, where it is long."""

    text: str = ""
    raw: memoryview = field(default_factory=lambda: memoryview(b""))
    """As the body has it, with its escapes."""

    def pieces(self) -> Iterator[bytes]:
        """The string in UTF-8, in pieces of bounded size. Raises ValueError for broken escapes."""
        if not self.raw:
            yield self.text.encode(errors="surrogatepass")
            return
        start = 0
        while start < len(self.raw):
            piece = bytes(self.raw[start : start + _PIECE])
            if b"\\" in piece:
                if start + len(piece) < len(self.raw):
                    piece = _whole_escapes(piece)
                start += len(piece)
                yield json.loads(b'"%s"' % piece).encode(errors="surrogatepass")
            else:
                start += len(piece)
                yield piece


def _whole_escapes(piece: bytes) -> bytes:
    """The piece without an escape that it ends in the middle of."""
    for start in range(len(piece) - 1, max(len(piece) - 7, -1), -1):
        if piece[start] != 0x5C:
            continue
        before = piece[: start + 1]
        if (len(before) - len(before.rstrip(b"\\"))) % 2 == 1:  # this backslash begins an escape
            length = 6 if piece[start + 1 : start + 2] == b"u" else 2
            return piece[:start] if start + length > len(piece) else piece
    return piece


@dataclass(frozen=True)
class JsonBody:
    """A JSON body whose long strings are replaced by short ones that nobody can guess."""

    document: bytes
    long_strings: Mapping[str, memoryview]

    def text(self, value: str) -> JsonText:
        """The string that the body has where the document has `value`."""
        raw = self.long_strings.get(value)
        return JsonText(value) if raw is None else JsonText(raw=raw)

    def read(self, model: type[Model]) -> Model:
        """The document as a model. Raises Problem."""
        try:
            return model.model_validate_json(self.document)
        except ValidationError as error:
            place = error.errors(include_url=False, include_input=False)[0]["loc"]
            words = first_mistake(error, command=None, noun="field")[:_MAX_MESSAGE]
            if self.long_strings:
                words = _POSITION.sub("", words)  # it is that in the document
            dotted, name = ".".join(map(str, place)), field_name(place)
            if words.startswith(dotted):
                words = name + words.removeprefix(dotted)
            raise Problem("invalid", words, param=name or None) from None


def cut_long_strings(body: bytes) -> JsonBody:
    """The body without its long strings. Raises Problem for one that holds too much."""
    nonce = secrets.token_hex(8)
    whole = memoryview(body)
    long_strings: dict[str, memoryview] = {}
    pieces: list[bytes | memoryview] = []
    end = 0
    check_json(body)
    for start, stop in long_strings_of(body):
        name = f"{nonce}.{len(long_strings)}"
        long_strings[name] = whole[start:stop]
        pieces += [whole[end:start], name.encode()]
        end = stop
    pieces.append(whole[end:])
    if sum(map(len, pieces)) > MAX_DOCUMENT_BYTES:
        raise Problem("invalid", f"request: more than {MAX_DOCUMENT_BYTES} bytes of JSON beside its long strings")
    return JsonBody(b"".join(pieces), long_strings)


def long_strings_of(body: bytes, long_bytes: int = LONG_BYTES) -> Iterator[tuple[int, int]]:
    """Where the strings of at least `long_bytes` bytes are: from their first byte to the one after their last.

    For a body that has been checked: it has a bounded number of strings, and each of them ends.
    """
    position = 0
    while (opening := body.find(b'"', position)) >= 0:
        closing = body.find(b'"', opening + 1)
        if closing > 0 and body[closing - 1] == 0x5C:  # perhaps escaped
            rest = _REST_OF_STRING.match(body, opening + 1)
            closing = rest.end() - 1 if rest else -1
        if closing < 0:
            return  # a backslash outside a string; no JSON
        if closing - opening - 1 >= long_bytes:
            yield opening + 1, closing
        position = closing + 1


def read_json(body: bytes, model: type[Model]) -> Model:
    """A body of short strings as a model. Raises Problem."""
    if len(body) > MAX_DOCUMENT_BYTES:
        raise Problem("too_large", f"the body is larger than {MAX_DOCUMENT_BYTES} bytes")
    check_json(body)
    return JsonBody(body, {}).read(model)


def field_name(place: tuple[Any, ...]) -> str:
    """A field's place as clients write it: `messages[0].content`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).removeprefix(".")
