"""Bounds on JSON before it is parsed: what a client may mean passes, whatever would take memory or time does not."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakescan.serve.gate.json_bounds import MAX_DEPTH, MAX_TOKENS, check_json
from fakescan.serve.problem import Problem

pytestmark = pytest.mark.unit

LARGE = 20 * 2**20
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def depth_of(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    return 1 + max(map(depth_of, value), default=0) if isinstance(value, list) else 0


@given(values, st.booleans())
def test_depth_is_counted_as_a_parser_counts(value: Any, ascii_only: bool) -> None:
    body = json.dumps(value, ensure_ascii=ascii_only).encode()
    depth = depth_of(value)
    check_json(body, max_depth=depth)
    if depth:
        with pytest.raises(Problem, match="nested deeper"):
            check_json(body, max_depth=depth - 1)


@pytest.mark.parametrize(
    "text", ['"', "\\", '\\"', "[[[[", "]]]]", '\\\\"[[', ",,,,", "é\u2028", '"' * 50, "\\" * 51, "{" * 99]
)
def test_what_is_in_a_string_counts_for_nothing(text: str) -> None:
    check_json(json.dumps({text: [text, {"a": text}]}).encode(), max_depth=3, max_tokens=12)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * (MAX_DEPTH + 1),
        b'{"a":' * (MAX_DEPTH + 1),
        b"[" * LARGE,
        b'{"a":' * (LARGE // 5),
        b"[" + b"{}," * (LARGE // 3),
        b"[" + b"0," * (LARGE // 2),
        b"[" + b'"",' * (LARGE // 3),
        b"[" + b'""' * (LARGE // 2),
        b"[" + b'"\\"",' * (LARGE // 5),
        b'{"content": [' + b'{"type":"text","text":""},' * (MAX_TOKENS // 5) + b"{}]}",
        b"[" + b"9" * LARGE + b"]",
        b"[0." + b"9" * 2_000 + b"]",
        b'["' + b"a" * 70_000 + b'", ' + b"-" * 1_001,
        b" " * 65_000 + b"1" * 1_100,
    ],
    ids=range(14),
)
def test_what_would_take_memory_or_time_is_refused_at_once(body: bytes) -> None:
    started = time.process_time()
    with pytest.raises(Problem) as caught:
        check_json(body)
    assert caught.value.code == "invalid"
    assert time.process_time() - started < 0.3


@pytest.mark.parametrize("text", ['{"a": 1}', "[]", '"x"'])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
def test_another_encoding_would_hide_its_structure(text: str, encoding: str) -> None:
    with pytest.raises(Problem, match="UTF-8"):
        check_json(text.encode(encoding))


@pytest.mark.parametrize("body", [b"", b"{", b'"', b'{"a', b"]]]]", b"\xff\xff\xff", b'"\\', b"]" * LARGE])
def test_what_is_no_json_is_left_to_the_parser(body: bytes) -> None:
    check_json(body)


@pytest.mark.parametrize("escaped", [False, True])
def test_a_large_image_passes_quickly(escaped: bool) -> None:
    data = "data:image/png;base64," + ("AbC+/9" * (LARGE // 6))
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": [{"image_url": {"url": data}}]}]})
    started = time.process_time()
    check_json((body.replace("/", "\\/") if escaped else body).encode())
    assert time.process_time() - started < 1.5
