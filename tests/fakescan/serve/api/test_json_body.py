"""JSON bodies: bounded before they are parsed, and read without copies of their long strings."""

import json
import time
from contextlib import nullcontext
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from fakescan.serve.api.json_body import JsonBody, JsonText, cut_long_strings, long_strings_of, read_json
from fakescan.serve.gate.bounds.json_bounds import MAX_DEPTH, MAX_ELEMENTS, JsonBounds, check_json
from fakescan.serve.problem import Problem

pytestmark = pytest.mark.unit

MB = 2**20
TEXT = '{"type":"text","text":"x"},'


class Anything(BaseModel):
    given: Any = None


def text_of(text: JsonText) -> str:
    return b"".join(text.pieces()).decode(errors="surrogatepass")


# Texts that are hard on whoever looks for the end of a string, of a few letters or of many.
PARTS = st.sampled_from(["a", '"', "\\", "\\\\", '\\"', "/", "\n", "é", "😀", "\u2028", "\x00", "{", "]", ",", "u0041"])
TEXTS = st.lists(PARTS, max_size=30).map("".join)


@given(st.lists(st.tuples(TEXTS, st.integers(0, 6000)), min_size=1, max_size=6), st.booleans())
def test_every_string_is_found_again(made: list[tuple[str, int]], ascii_only: bool) -> None:
    texts = [(text * 6000)[:length] if length > 3000 else text for text, length in made]
    body = json.dumps({"given": texts, "\\": {}}, ensure_ascii=ascii_only).encode()
    cut = cut_long_strings(body)
    assert [text_of(cut.text(value)) for value in json.loads(cut.document)["given"]] == texts
    longest = max((len(json.dumps(text, ensure_ascii=ascii_only).encode()) - 2 for text in texts), default=0)
    assert bool(cut.long_strings) == (longest >= 4096)
    assert [(end - start) >= 4096 for start, end in long_strings_of(body)] == [True] * len(cut.long_strings)


@pytest.mark.parametrize("escape", ["\\n", "\\/", "\\u0041", "\\ud83d\\ude00", "\\\\", '\\"'])
@pytest.mark.parametrize("shift", range(7))
def test_an_escape_is_whole_wherever_a_piece_of_the_string_ends(escape: str, shift: int) -> None:
    raw = b"a" * (256 * 1024 - shift) + escape.encode() * 9 + b"b" * 100
    cut = cut_long_strings(b'{"given":"%s"}' % raw)
    value = json.loads(cut.document)["given"]
    if "\\ud" in escape:  # the two halves may be in different pieces; no image has any
        assert len(text_of(cut.text(value))) > 256 * 1024
    else:
        assert text_of(cut.text(value)) == json.loads(b'"%s"' % raw)


def test_nobody_can_name_a_string_of_the_body() -> None:
    cut = cut_long_strings(b'["%s","0","x.0"]' % (b"a" * 5000))
    first, *others = json.loads(cut.document)
    assert text_of(cut.text(first)) == "a" * 5000
    assert [text_of(cut.text(other)) for other in others] == ["0", "x.0"]


TOO_MUCH = {
    "lists": (lambda: b"[" + b"[]," * (21 * MB), "elements"),
    "a few lists": (lambda: b"[" + b"[]," * 40_000, "elements"),
    "100,000 parts": (lambda: b'{"a":[' + TEXT.encode() * 100_000, "elements"),
    "63 MB of parts": (lambda: b'{"a":[' + TEXT.encode() * (63 * MB // len(TEXT)), "elements"),
    "brackets": (lambda: b"[" * (64 * MB), "elements"),
    "a few brackets": (lambda: b"[" * 10_000, "levels"),
    "objects": (lambda: b'{"a":' * (10 * MB), "elements"),
    "a few objects": (lambda: b'{"a":' * 1000, "levels"),
    "closing brackets": (lambda: b"]" * 1000, "closes"),
    "short strings": (lambda: b'"",' * (20 * MB), "elements"),
    "colons": (lambda: b":" * (64 * MB), "outside its strings"),
    "a long number": (lambda: b"1" * (64 * MB), "outside its strings"),
    "spaces": (lambda: b" " * (64 * MB), "outside its strings"),
    "quotes in a string": (lambda: b'"' + b'\\"' * (30 * MB) + b'"', "escaped quotes"),
    "backslashes": (lambda: b'"' + b"\\" * (63 * MB), "escaped quotes and backslashes"),
    "a backslash outside a string": (lambda: b'{"a":1}\\"' + b'"x",' * 30_000, "elements"),
    "half a string": (lambda: b'"' + b"a" * (63 * MB), "does not end"),
    "strings": (lambda: b"[" + b'"%s",' % (b"a" * 4000) * (4 * MB // 4000 + 99) + b"1]", "beside its long strings"),
}


@pytest.mark.parametrize("name", TOO_MUCH)
def test_what_holds_too_much_is_refused_before_it_is_parsed(name: str) -> None:
    make, words = TOO_MUCH[name]
    body = make()
    started = time.process_time()
    with pytest.raises(Problem, match=words) as problem:
        cut_long_strings(body)
    assert problem.value.code == "invalid"
    assert time.process_time() - started < 1
    if "beside" not in words:  # which only a replica counts
        detail, looked_at = refusal_in_pieces(body, 250_007)
        assert words in detail
        assert "does not end" in words or looked_at <= 1.3 * MB, "it is not all looked at"


def refusal_in_pieces(body: bytes, size: int) -> tuple[str, int]:
    """What a body that arrives in pieces is refused with, and how many of its bytes were looked at."""
    bounds = JsonBounds()
    for start in range(0, len(body), size):
        try:
            bounds.feed(body[start : start + size])
        except Problem as problem:
            return problem.detail, min(len(body), start + size)
    with pytest.raises(Problem) as at_the_end:
        bounds.end()
    return at_the_end.value.detail, len(body)


@given(st.lists(TEXTS, max_size=40), st.integers(1, 9), st.booleans())
def test_pieces_of_any_size_hold_what_the_whole_holds(texts: list[str], size: int, ascii_only: bool) -> None:
    """Counted by a parser: strings, commas, opening brackets; and the depth."""
    value = {"given": [texts, {"a": [[text] for text in texts]}]}
    body = json.dumps(value, ensure_ascii=ascii_only).encode()
    lists = 1 + len(texts) + 2
    commas = 2 * max(0, len(texts) - 1) + 1
    elements = (2 + 2 * len(texts)) + commas + lists + 2
    for max_elements, max_depth in ((elements, 5 if texts else 4), (elements - 1, 64), (elements, 4 if texts else 3)):
        bounds = JsonBounds(max_elements=max_elements, max_depth=max_depth)
        fits = max_elements == elements and max_depth in (64, 5 if texts else 4)
        with nullcontext() if fits else pytest.raises(Problem):
            for start in range(0, len(body), size):
                bounds.feed(body[start : start + size])
            bounds.end()


def test_what_is_just_within_the_bounds_is_read() -> None:
    read = cut_long_strings(b'{"given":%s}' % json.dumps([0] * (MAX_ELEMENTS - 10)).encode()).read(Anything)
    assert len(read.given) == MAX_ELEMENTS - 10
    deep = b'{"given":%s1%s}' % (b"[" * (MAX_DEPTH - 1), b"]" * (MAX_DEPTH - 1))
    assert read_json(deep, Anything).given
    check_json(b'{"\\\\":"","a":"\\\\\\""}')
    assert list(long_strings_of(b'{"\\\\":"","a":"\\\\\\""}')) == []


def test_a_mistake_names_its_field() -> None:
    class Inner(BaseModel):
        number: int

    class Outer(BaseModel):
        items: list[Inner]

    with pytest.raises(Problem) as problem:
        JsonBody(b'{"items":[{"number":1},{"number":"x"}]}', {}).read(Outer)
    assert problem.value.param == "items[1].number"
    assert problem.value.detail.startswith("items[1].number: ")
    with pytest.raises(Problem, match="Invalid JSON"):
        JsonBody(b'{"items":', {}).read(Outer)
