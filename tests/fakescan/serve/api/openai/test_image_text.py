"""Base64 as people make it."""

import base64
import random
import textwrap
import urllib.parse
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakescan.serve.api.openai.image_text import decode_image
from fakescan.serve.problem import Problem

pytestmark = pytest.mark.unit

STYLES: dict[str, Callable[[bytes], str]] = {
    "as it is": lambda data: base64.b64encode(data).decode(),
    "wrapped at 76": lambda data: base64.encodebytes(data).decode(),
    "wrapped as in mail": lambda data: "\r\n".join(textwrap.wrap(base64.b64encode(data).decode(), 64)) + "\r\n",
    "url-safe": lambda data: base64.urlsafe_b64encode(data).decode(),
    "unpadded": lambda data: base64.b64encode(data).decode().rstrip("="),
    "url-safe, unpadded": lambda data: base64.urlsafe_b64encode(data).decode().rstrip("="),
    "percent-encoded": lambda data: urllib.parse.quote(base64.b64encode(data).decode(), safe=""),
    "with spaces around": lambda data: f"  {base64.b64encode(data).decode()}\n",
}
PREFIXES = [
    "data:image/png;base64,",
    "DATA:IMAGE/PNG;BASE64,",
    "data:;base64,",
    "data:image/jpeg;charset=utf-8;base64,",
    " data:image/png; base64,",
    "data:base64,",
    "",
]


@settings(max_examples=300)
@given(
    prefix=st.sampled_from(PREFIXES),
    style=st.sampled_from(list(STYLES)),
    data=st.binary(min_size=1, max_size=400),
    cuts=st.lists(st.integers(0, 600), max_size=5),
)
def test_every_style_gives_the_bytes(prefix: str, style: str, data: bytes, cuts: list[int]) -> None:
    text = (prefix + STYLES[style](data)).encode()
    starts = sorted({len(prefix) + 4, *(cut for cut in cuts if len(prefix) + 4 < cut < len(text))})
    pieces = [text[: starts[0]], *(text[a:b] for a, b in zip(starts, [*starts[1:], len(text)], strict=True))]
    assert decode_image(pieces, "url") == data


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("http://127.0.0.1/a.png", "URLs are not fetched"),
        ("HTTPS://x", "URLs are not fetched"),
        ("file:///etc/passwd", "URLs are not fetched"),
        ("s3://bucket/key", "URLs are not fetched"),
        ("data:image/svg+xml,<svg/>", "not base64"),
        ("data:image/png;base64", "no comma"),
        ("data:image/png;base64,", "no image"),
        ("", "no image"),
        ("   ", "no image"),
        ("data:image/png;base64,AAAA=AAAA", "goes on after its end"),
        ("data:image/png;base64,AA==AAAA", "goes on after its end"),
        ("data:image/png;base64,AAAAA", "a letter is missing or too many"),
        ("data:image/png;base64,AA$A", "broken base64"),
        ("data:image/png;base64,AA\u00e9A", "broken base64"),
        ("photo.jpg", "neither a data: URI nor base64"),
        ("..\\photos\\1", "no files are read here"),
        ("data:image/png;base64,%4", "broken base64"),
    ],
)
def test_what_is_no_image_is_refused_in_words(text: str, words: str) -> None:
    with pytest.raises(Problem) as problem:
        decode_image([text.encode()], "messages[0].content[1].image_url.url")
    assert words in problem.value.detail
    assert problem.value.detail.startswith("messages[0].content[1].image_url.url: ")
    assert problem.value.param == "messages[0].content[1].image_url.url"


def test_a_large_image_in_many_pieces() -> None:
    data = random.Random(1).randbytes(3_000_000)
    text = b"data:image/png;base64," + base64.encodebytes(data)
    assert decode_image([text[i : i + 262_144] for i in range(0, len(text), 262_144)], "url") == data
