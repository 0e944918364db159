"""Requests that no honest client sends: damaged images, broken forms and JSON, odd headers, and no HTTP at all.

Every request follows from its number alone. To look at one:
`python -m tests.malformed_requests 4711 > request`, and to send it: `nc 127.0.0.1 8000 < request`.
"""

import base64
import functools
import io
import itertools
import json
import re
import struct
import sys
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random

from PIL import Image

from tests.drill_images import drill_images

SAMPLES = Path(__file__).parents[1] / "samples" / "images"
MODEL = "builtin-small"

IMAGE = frozenset({200, 413, 415, 422})
"""A damaged image may still be one."""
REFUSED = frozenset({404, 405, 413, 415, 422})
NOT_HTTP = frozenset({400})
"""The HTTP parser's own word; nothing behind it sees the request."""
TOO_LONG = frozenset({400, 431})
ANY = IMAGE | REFUSED | NOT_HTTP

Headers = Iterable[tuple[str | bytes, str | bytes]]


@dataclass(frozen=True)
class Malformed:
    """One request, as it goes over the wire."""

    kind: str
    raw: bytes
    statuses: frozenset[int]
    """What it may be answered with."""
    answered: bool = True
    """Whether an answer is owed; what ends in the middle is owed none."""


Make = Callable[[Random], tuple[bytes, frozenset[int]]]


def malformed(number: int) -> Malformed:
    """The request of this number."""
    random = Random(number)
    kind = random.choices(list(_KINDS), [weight for weight, _ in _KINDS.values()])[0]
    raw, statuses = _KINDS[kind][1](random)
    return Malformed(kind, raw, statuses, answered=kind not in _UNFINISHED)


def http(
    path: str | bytes,
    body: bytes = b"",
    headers: Headers = (),
    *,
    method: str | bytes = "POST",
    length: int | str | None = None,
) -> bytes:
    """A request; nothing is checked. `length` is what it says of its body's."""
    given = [
        ("host", "fakescan"),
        ("connection", "close"),
        ("content-length", str(len(body) if length is None else length)),
    ]
    lines = [b"%s %s HTTP/1.1" % (_bytes(method), _bytes(path))]
    lines += [b"%s: %s" % (_bytes(name), _bytes(value)) for name, value in (*given, *headers)]
    return b"\r\n".join([*lines, b"", body])


def sound_request(random: Random) -> bytes:
    """What would be answered with a verdict."""
    return _image_request(_sound(random))


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


def _image_request(
    data: bytes, media: str = "application/octet-stream", path: str = "/v1/detect?explain=none"
) -> bytes:
    return http(path, data, [("content-type", media)])


# --- images -----------------------------------------------------------------------------------------------------------


@functools.cache
def _pictures() -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """Small images of all formats, and photographs."""
    small = [image.data for image in itertools.islice(drill_images(200, seed=5), 80) if image.code is None]
    return tuple(small), tuple(path.read_bytes() for path in sorted(SAMPLES.iterdir()))


def _sound(random: Random) -> bytes:
    small, large = _pictures()
    return random.choice(large if random.random() < 0.03 else small)


def _cut(data: bytes, random: Random) -> bytes:
    return data[: random.randrange(len(data))]


def _flipped(data: bytes, random: Random, most: int = 40) -> bytes:
    changed = bytearray(data)
    for _ in range(random.randint(1, most)):
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def _spliced(data: bytes, random: Random) -> bytes:
    other = _sound(random)
    return data[: random.randrange(len(data))] + other[random.randrange(len(other)) :]


def _gap(data: bytes, random: Random) -> bytes:
    start, stop = sorted(random.randrange(len(data)) for _ in range(2))
    return data[:start] + random.choice([b"", bytes(stop - start), random.randbytes(stop - start)]) + data[stop:]


def _head(data: bytes, random: Random) -> bytes:
    """The first bytes, which say what it is, before noise."""
    return data[: random.randint(2, 64)] + random.randbytes(random.randrange(2000))


def _noise(data: bytes, random: Random) -> bytes:
    return random.choice([b"", b"\0" * len(data), random.randbytes(500), b"<html>" + data, data[::-1]])


def _damaged(random: Random) -> bytes:
    damage = random.choice([_cut, _cut, _flipped, _flipped, _spliced, _gap, _head, _noise])
    return damage(_sound(random), random)


def _damaged_image(random: Random) -> tuple[bytes, frozenset[int]]:
    media = random.choice(["image/jpeg", "image/png", "image/x-no-such", "IMAGE/", "application/octet-stream; a=b"])
    return _image_request(_damaged(random), media), IMAGE


_SIZES = (0, 1, 7_000, 30_000, 65_535, 2**24, 2**31 - 1, 2**32 - 1)


def _bomb(random: Random) -> tuple[bytes, frozenset[int]]:
    """An image whose header says another size."""
    data = _sound(random)
    width, height = random.choice(_SIZES), random.choice(_SIZES)
    return _image_request(_resized(data, width, height)), IMAGE


def _resized(data: bytes, width: int, height: int) -> bytes:
    changed = bytearray(data)

    def put(offset: int, layout: str, *sides: int) -> None:
        most = {"H": 0xFFFF, "I": 0xFFFFFFFF}[layout[-1]]
        packed = struct.pack(layout[0] + layout[-1] * len(sides), *(min(side, most) for side in sides))
        changed[offset : offset + len(packed)] = packed

    if data.startswith(b"\x89PNG"):
        put(16, ">I", width, height)
        put(29, ">I", zlib.crc32(changed[12:29]))
    elif data.startswith(b"GIF8"):
        put(6, "<H", width, height)
        put(data.index(b",", 13) + 5, "<H", width, height)
    elif data.startswith(b"BM"):
        put(18, "<I", width, height)
    elif data.startswith(b"\xff\xd8") and (frame := re.search(rb"\xff[\xc0\xc2]\0", data)):
        put(frame.start() + 5, ">H", height, width)
    elif data.startswith(b"RIFF"):
        put({b"VP8X": 24, b"VP8L": 21}.get(data[12:16], 26), "<H", width, height)
    elif data[:4] in (b"II*\0", b"MM\0*"):
        order = "<" if data.startswith(b"II") else ">"
        for tag, side in ((256, width), (257, height)):
            entry = data.find(struct.pack(order + "HH", tag, 4))
            put(entry + 8, order + "I", side) if entry >= 0 else None
    elif (box := data.find(b"ispe")) > 0:
        put(box + 8, ">I", width, height)
    return bytes(changed)


@functools.cache
def _crafted_images() -> tuple[bytes, ...]:
    """Images that are small as files and large in some other way."""

    def png(*chunks: tuple[bytes, bytes], side: int = 8) -> bytes:
        header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
        pixels = zlib.compress(bytes((side + 1) * side))
        whole = ((b"IHDR", header), *chunks, (b"IDAT", pixels), (b"IEND", b""))
        blocks = (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
            for name, data in whole
        )
        return b"\x89PNG\r\n\x1a\n" + b"".join(blocks)

    bomb = zlib.compress(bytes(80_000_000), 9)
    exif = b"Exif\0\0II*\0\x08\0\0\0" + b"\xff\xff" + b"\x12\x01\x03\0\xff\xff\xff\xff\x08\0\0\0" * 200
    frames = io.BytesIO()
    blank = Image.new("P", (2, 2))
    blank.save(frames, "GIF", save_all=True, append_images=[Image.new("P", (2, 2), i % 250) for i in range(1, 3000)])
    tiff = b"II*\0\x08\0\0\0" + struct.pack("<HHHIII", 1, 256, 4, 1, 1, 8)  # a directory that is its own successor
    photo = _pictures()[1][0]
    return (
        png((b"zTXt", b"a\0\0" + bomb)),
        png((b"iCCP", b"a\0\0" + bomb)),
        png((b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + bomb)),
        png(*[(b"tEXt", b"a\0b")] * 20_000),
        png((b"eXIf", exif[6:])),
        png((b"acTL", struct.pack(">II", 2**31, 0))),
        png(side=6_000),
        photo[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + photo[2:],
        photo[:2] + b"\xff\xe2\0\x02" * 10_000 + photo[2:],
        photo[:2] + b"\xff\xdb\0\x03\x00" + photo[2:],
        frames.getvalue(),
        tiff,
        b"RIFF\xff\xff\xff\xffWEBPVP8X\x0a\0\0\0\xff\0\0\0" + b"\xff" * 6,
        b"\0\0\0\x01ftypavif" + b"\xff" * 100,
    )


def _crafted(random: Random) -> tuple[bytes, frozenset[int]]:
    return _image_request(random.choice(_crafted_images())), IMAGE


# --- forms ------------------------------------------------------------------------------------------------------------

_NAMES = (
    b"a.jpg", b"", b"\xff\xfe\xed\xa0\x80.png", b"+2AA-.png", b"\\ud800", "ä\u202e\0\r.gif".encode(), b"../../passwd",
    b"n" * 5_000, b'a"b', b"%00%ff", b"=?utf-8?q?=ff?=",
)  # fmt: skip
_CHARSETS = (
    "", "; charset=utf-8", "; charset=utf-7", "; charset=unicode_escape", "; charset=raw_unicode_escape",
    "; charset=utf-16", "; charset=hex", "; charset=punycode", "; charset=undefined", "; charset=klingon", "; charset=",
    '; charset="a\\"b', "; charset*=utf-8''%ff", "; CHARSET=idna", "; charset=zlib",
)  # fmt: skip


def _part(random: Random, data: bytes | None = None) -> bytes:
    """A file; its headers are rarely in order."""
    name, file = random.choice(_NAMES), random.choice(_NAMES)
    part_headers = (
        b'Content-Disposition: form-data; name="file"; filename="%s"' % file,
        b'Content-Disposition: form-data; name="%s"; filename="%s"' % (name, file),
        b"Content-Disposition: form-data; name=file; filename*=%s" % random.choice([b"UTF-8''%ff", b"x", b"a'b'c'd"]),
        b"Content-Disposition: form-data; name=file; filename*0=a; filename*1*=%ff; filename=b",
        b'Content-Disposition: form-data; filename="%s"' % file,
        b"Content-Disposition: attachment",
        b"Content-Disposition",
        b"Content-Disposition: " + b"a=b; " * random.choice([1, 3_000]),
        b"Content-Type: image/jpeg",
        b"",
        b": ",
        b"A: b\r\n" * random.choice([1, 5, 500]) + b'Content-Disposition: form-data; name="file"; filename="a"',
        b"\xff\0: \x80",
        b'Content-Disposition: form-data; name="file"; filename="a"\r\nContent-Transfer-Encoding: base64',
        b'Content-Disposition: form-data; name="file"; filename="a"\r\nContent-Disposition: form-data; name="b"',
    )
    return (
        random.choice(part_headers if random.random() < 0.6 else part_headers[:2])
        + b"\r\n\r\n"
        + (_small_or_damaged(random) if data is None else data)
    )


def _small_or_damaged(random: Random) -> bytes:
    return random.choice([_sound(random), _damaged(random), _damaged(random), random.randbytes(30)])


def _field(name: bytes, value: bytes) -> bytes:
    return b'Content-Disposition: form-data; name="%s"\r\n\r\n%s' % (name, value)


def _multipart(parts: Iterable[bytes], boundary: bytes = b"B", line: bytes = b"\r\n", end: bytes = b"--\r\n") -> bytes:
    return b"".join(b"--" + boundary + line + part + line for part in parts) + b"--" + boundary + end


def _form_request(
    body: bytes, kind: str | bytes = "multipart/form-data; boundary=B", query: str = "explain=none"
) -> bytes:
    return http(f"/v1/detect?{query}", body, [("content-type", kind)])


def _odd_form(random: Random) -> tuple[bytes, frozenset[int]]:
    parts = [_part(random) for _ in range(random.choice([1, 1, 1, 2, 5]))]
    return _form_request(_multipart(parts), "multipart/form-data; boundary=B" + random.choice(_CHARSETS)), IMAGE


def _broken_boundary(random: Random) -> tuple[bytes, frozenset[int]]:
    parts = [_part(random)]
    said = random.choice(
        [
            b"", b"; boundary=", b"; boundary=C", b'; boundary="B', b"; boundary=" + b"b" * 5_000, b"; boundary=\xff",
            b"; boundary=B; boundary=C", b'; boundary=""', b"; boundary=' '", b";boundary = B", b"; boundary*=utf-8''B",
        ]
    )  # fmt: skip
    body = random.choice(
        [
            _multipart(parts),
            _multipart(parts, line=b"\n"),
            _multipart(parts, end=b""),
            _multipart(parts, end=b"--") + random.randbytes(300),
            _multipart(parts, boundary=b"\xff"),
            random.randbytes(300) + _multipart(parts),
            b"--B--\r\n" + _multipart(parts),
            b"--B" * 1_000,
            b"\r\n" * 10_000,
            b"",
        ]
    )
    return _form_request(body, b"multipart/form-data" + said), IMAGE


def _damaged_form(random: Random) -> tuple[bytes, frozenset[int]]:
    whole = _multipart([_part(random, b"x" * 50), _field(b"explain", b"none"), _part(random, b"GIF89a")])
    return _form_request(random.choice([_cut, _flipped, _gap, _spliced])(whole, random)), IMAGE


def _crowded_form(random: Random) -> tuple[bytes, frozenset[int]]:
    part = _part(random, random.choice([b"", b"x", _sound(random)]))
    count = random.choice([17, 1_000, 5_000])
    body = random.choice(
        [
            lambda: _multipart([part] * (17 if len(part) > 200 else count)),
            lambda: _multipart([_field(b"f%d" % i, b"v") for i in range(count)]),
            lambda: _multipart([part, *[_field(b"explain", b"none")] * count]),
            lambda: _multipart([part, _field(b"threshold", b"0" * 1_000_000)]),
            lambda: _multipart([b"a: b\r\n" * count + part]),
        ]
    )()
    return _form_request(body), IMAGE


def _nested_form(random: Random) -> tuple[bytes, frozenset[int]]:
    body = _part(random)
    for depth in range(random.choice([1, 3, 50])):
        body = b"Content-Type: multipart/mixed; boundary=B%d\r\n\r\n" % depth + _multipart([body], b"B%d" % depth)
    disposition = b'Content-Disposition: form-data; name="file"; filename="a"\r\n'
    return _form_request(_multipart([disposition + body])), IMAGE


def _odd_options(random: Random) -> tuple[bytes, frozenset[int]]:
    name = random.choice([b"explain", b"threshold", b"stream", b"colour", b"", b"\xff", b"+2AA-", b"n" * 900])
    value = random.choice(
        [
            b"",
            b"nan",
            b"-inf",
            b"1e999",
            b"0",
            b"1",
            b"0.5",
            b"maybe",
            b"true",
            b"none",
            b"\0",
            b"\xed\xa0\x80",
            b"9" * 900,
        ]
    )
    if random.random() < 0.5:
        body = _multipart([_part(random, b"GIF89a"), _field(name, value)])
        return _form_request(body, "multipart/form-data; boundary=B" + random.choice(_CHARSETS)), IMAGE
    encoded = lambda data: "".join(f"%{byte:02X}" for byte in data)  # noqa: E731
    query = random.choice(
        [f"{encoded(name)}={encoded(value)}", "&" * 2_000, "explain=none&" * 500, "%", "a=%ZZ&%=", "=&=;", "?" * 100]
    )
    return _image_request(b"GIF89a", path=f"/v1/detect?{query}"), IMAGE


def _odd_media(random: Random) -> tuple[bytes, frozenset[int]]:
    media = random.choice(
        [
            b"", b"text/plain", b"application/json", b"multipart/mixed; boundary=B", b"multipart/form-data", b"image",
            b"application/x-www-form-urlencoded", b"\xff\xfe", b"/;;;==", b"multipart/form-data; boundary=B, image/png",
            b"m" * 10_000, b"multipart/form-data;" + b"a=b;" * 2_000,
        ]
    )  # fmt: skip
    return _form_request(_multipart([_part(random)]), media), IMAGE


# --- JSON -------------------------------------------------------------------------------------------------------------


def _json_request(body: str | bytes, media: str = "application/json", path: str = "/v1/chat/completions") -> bytes:
    return http(path, _bytes(body), [("content-type", media)])


def _chat(url: str = "data:image/png;base64,AAAA", **changed: object) -> dict[str, object]:
    content = [{"type": "text", "text": "?"}, {"type": "image_url", "image_url": {"url": url}}]
    return {"model": MODEL, "messages": [{"role": "user", "content": content}], **changed}


_VALUES: tuple[object, ...] = (
    None, True, 0, -1, 2**70, 10**300, 1.5, float("nan"), float("inf"), "", "x", "9" * 4_000, [], [[]], {}, [None],
    {"": {}}, "\0", [{"type": "image_url"}], [{"role": "user"}] * 3_000, [{"role": "god", "content": "x"}],
    [{"role": "user", "content": [{"type": "video", "text": 1}]}], [{"role": "user", "content": [{}] * 2_000}],
    [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": 7}}]}],
)  # fmt: skip


def _wrong_types(random: Random) -> tuple[bytes, frozenset[int]]:
    field = random.choice(["model", "messages", "messages", "stream", "n", "max_tokens", "max_completion_tokens"])
    return _json_request(json.dumps(_chat(**{field: random.choice(_VALUES)}))), REFUSED


def _no_json(random: Random) -> tuple[bytes, frozenset[int]]:
    whole = json.dumps(_chat()).encode()
    body = random.choice(
        [
            b"", b"{", b"nul", b"[" * 10_000, b'{"a":' * 10_000, b'{"messages":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
            b"9" * 100_000, b"-", b"1e", b"NaN", b'"', b'"\\ud800"', b'{"model": "\\ud800\\udbff"}', b"\xff\xfe{\0}\0",
            b"\xef\xbb\xbf" + whole, b'{"model": "\xff"}', b"{} {}", b"{'a': 1}", whole + b"]", b'{"model":' * 3,
            b"{" + b'"a":1,' * 20_000 + b'"b":2}', b'{"n": 1' + b"0" * 5_000 + b"}", b" " * 100_000, b"\0" * 100,
        ]
    )  # fmt: skip
    return _json_request(random.choice([body, body, _cut(whole, random), _gap(whole, random)])), REFUSED


def _odd_uri(random: Random) -> tuple[bytes, frozenset[int]]:
    data = base64.b64encode(_damaged(random)).decode()
    url = random.choice(
        [
            "", "data:", "data:,", "data:;base64,", "data:image/png;base64", "data:image/png,abc", "DATA:x;base64,AAAA",
            f"data:image/png;base64,{data}", f"data:image/png;base64,{data}", f"data:image/png;base64,{data[:-1]}",
            f"data:image/png;base64,{data[::-1]}", f"data:image/png;base64, {data}", f"data:image/png;base64,{data}=\n",
            f"data:;;;;base64;base64,{data}", "data:image/png;base64,ÄÖ", "http://127.0.0.1:1/x.png", "file:///etc/passwd",
            "data:image/png;base64,%41%41", f"data:{'x' * 100_000};base64,{data}", "\0", "data:image/png;base64,-_-_",
        ]
    )  # fmt: skip
    return _json_request(json.dumps(_chat(url, stream=random.random() < 0.2))), REFUSED | {200}


def _odd_chat(random: Random) -> tuple[bytes, frozenset[int]]:
    whole = json.dumps(_chat(f"data:image/png;base64,{base64.b64encode(_damaged(random)).decode()}"))
    media = random.choice(["", "text/json", "application/json-patch+json", "multipart/form-data; boundary=B", "\xff"])
    asked = random.choice(
        [
            lambda: _json_request(whole, media),
            lambda: _json_request(_flipped(whole.encode(), random, 4)),
            lambda: _json_request(json.dumps({"source": "/etc"}), path="/v1/scans"),
            lambda: http("/v1/chat/completions", method=random.choice(["GET", "PUT", "DELETE"])),
        ]
    )
    return asked(), REFUSED | {200}


# --- paths, methods and headers ---------------------------------------------------------------------------------------


def _odd_path(random: Random) -> tuple[bytes, frozenset[int]]:
    path = random.choice(
        [
            "//", "/v1", "/v1/", "/v1/detect/", "/v1//detect", "/V1/DETECT", "/v1/models/%ff%00", "/v1/models/../../x",
            "/page/", "/page/..%2f..%2fapi.py", "/page/%2e%2e/gate.py", "/v1/scans/x", "/v1/scans/%0d%0aa", "/%",
            "/" + "a" * 20_000, "/v1/about/" + "%C3" * 1_000, "/v1/models/" + "m" * 5_000, "/docs", "/openapi.json/",
        ]
    )  # fmt: skip
    method = random.choice(["GET", "POST", "HEAD", "OPTIONS", "PATCH", "TRACE", "PROPFIND"])
    return http(path, method=method), REFUSED | TOO_LONG


def _odd_method(random: Random) -> tuple[bytes, frozenset[int]]:
    method = random.choice(
        ["GET", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "HEAD", "BREW", "get", "P\0ST", "\xff"]
    )
    return http("/v1/detect", b"x", method=method), REFUSED | NOT_HTTP


_ODD_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"x-request-timeout-seconds", b"0"), (b"x-request-timeout-seconds", b"-1"), (b"x-request-timeout-seconds", b"nan"),
    (b"x-request-timeout-seconds", b"soon"), (b"x-request-disconnect-disabled", b"?1"), (b"x-request-id", b"'; --"),
    (b"x-request-id", b"r" * 5_000), (b"x-request-id", b"\xff\x80"), (b"x-request-id", b""), (b"x-request-id", b"a b"),
    (b"x-fakescan-gate-token", b"guess"), (b"x-fakescan-from-replica", b"1"), (b"x-fakescan-outcomes", b"fake=x"),
    (b"X-FakeScan-Key", b"root"), (b"x-serve-anything", b"1"), (b"x-session-id", b"x"),
    (b"serve_multiplexed_model_id", b"x"), (b"serve-multiplexed-model-id", b"x"), (b"traceparent", b"00-" + b"f" * 70),
    (b"accept", b"text/event-stream"), (b"accept", b"*/*;q=nan, \xff"), (b"accept", b"a/b," * 1_000),
    (b"authorization", b"Bearer"), (b"authorization", b"Bearer \xff"), (b"authorization", b"Basic " + b"A" * 9_000),
    (b"x-api-key", b"fsk_00000000_" + b"A" * 43), (b"cookie", b"a=b; " * 1_000), (b"host", b"two"),
    (b"accept-encoding", b"gzip;q=9, \xff"), (b"content-encoding", b"gzip"), (b"if-none-match", b"*"),
    (b"expect", b"tea"), (b"expect", b"100-continue"), (b"forwarded", b"for=\xff"), (b"te", b"trailers, \xff"),
    (b"x-forwarded-proto", b"gopher"), (b"upgrade", b"h2c"), (b"upgrade", b"websocket"), (b"origin", b"null"),
    (b"range", b"bytes=9-1"),
)  # fmt: skip


def _odd_headers(random: Random) -> tuple[bytes, frozenset[int]]:
    """Headers that are to change nothing, but for one: what is asked is sound."""
    odd = random.choices(_ODD_HEADERS, k=random.choice([1, 1, 2, 6]))
    if random.random() < 0.7:
        # Whoever has any copy at all ("*") is told that it is good: RFC 9110, 13.1.2.
        status = 304 if (b"if-none-match", b"*") in odd else 200
        return http("/v1/about", b"", odd, method="GET"), frozenset({status})
    small = _pictures()[0][0]
    asked = http("/v1/detect?explain=none", small, [("content-type", "image/jpeg"), *odd])
    return asked, frozenset({415 if (b"content-encoding", b"gzip") in odd else 200})


# --- what is no HTTP --------------------------------------------------------------------------------------------------


def _chunked(data: bytes, random: Random, size: Callable[[bytes], bytes] = lambda piece: b"%x" % len(piece)) -> bytes:
    step = random.randint(1 + len(data) // 20, 1 + len(data))
    pieces = [data[start : start + step] for start in range(0, len(data), step)]
    return b"".join(size(piece) + b"\r\n" + piece + b"\r\n" for piece in pieces) + b"0\r\n\r\n"


def _chunked_request(body: bytes, *extra: tuple[str, str]) -> bytes:
    headers = [
        ("host", "f"),
        ("connection", "close"),
        ("content-type", "image/gif"),
        ("transfer-encoding", "chunked"),
        *extra,
    ]
    lines = [f"{name}: {value}" for name, value in headers]
    return "\r\n".join(["POST /v1/detect?explain=none HTTP/1.1", *lines, "", ""]).encode() + body


def _chunks(random: Random) -> tuple[bytes, frozenset[int]]:
    return _chunked_request(_chunked(_damaged(random), random)), IMAGE


def _no_http(random: Random) -> tuple[bytes, frozenset[int]]:
    good = sound_request(random)
    headers, _, body = good.partition(b"\r\n\r\n")
    raw = random.choice(
        [
            b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + random.randbytes(300) + b"\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"SSH-2.0-x\r\n",
            random.randbytes(500) + b"\r\n\r\n",
            b"\xff" * 70_000,
            good.replace(b"HTTP/1.1", random.choice([b"HTTP/9.9", b"HTTP/1.1.1", b"HTTP", b"http/1.1", b"ICE/1.0"]), 1),
            good.replace(b"POST ", random.choice([b"POST\t", b"", b"POST  \0", b"POST / POST "]), 1),
            headers + b"\r\nno colon here\r\n\r\n" + body,
            headers + b"\r\nna me: x\r\n\r\n" + body,
            headers + b"\r\nnul: \0\r\n\r\n" + body,
            headers + b"\r\n: empty\r\n\r\n" + body,
            headers + b"\r\ncontent-length: 5\r\n\r\n" + body,
            http("/v1/detect", b"x", length=random.choice(["-1", "1x", "0x10", "9" * 40, "1, 1", "", "+1"])),
            _chunked_request(b"5\r\nhello\r\n0\r\n\r\n", ("content-length", "5")),
            _chunked_request(_chunked(b"x" * 100, random, lambda _: b"zz")),
            _chunked_request(_chunked(b"x" * 100, random, lambda _: b"-1")),
            _chunked_request(_chunked(b"x" * 100, random, lambda _: b"f" * 20)),
            _chunked_request(b"5\r\nhelloworld\r\n0\r\n\r\n"),
            _chunked_request(b"0\r\n\r\n", ("transfer-encoding", "gzip")),
        ]
    )
    return raw, NOT_HTTP


def _large_headers(random: Random) -> tuple[bytes, frozenset[int]]:
    """Larger than sense, but HTTP."""
    many = [(f"h{number}", "v" * random.choice([0, 20])) for number in range(random.choice([100, 3_000]))]
    long = [("long", "v" * random.choice([10_000, 200_000]))]
    extended = _chunked(b"GIF89a", random, lambda piece: b"%x;%s" % (len(piece), b"e=f;" * 2_000))
    asked = random.choice(
        [http("/v1/about", headers=many, method="GET"), http("/v1/about", headers=long, method="GET")]
    )
    return random.choice([asked, asked, _chunked_request(extended)]), IMAGE | TOO_LONG


def _flipped_request(random: Random) -> tuple[bytes, frozenset[int]]:
    """A bit of the headers is wrong; a body of the length that they then announce may never come."""
    headers, _, body = sound_request(random).partition(b"\r\n\r\n")
    return _flipped(headers, random, 3) + b"\r\n\r\n" + body, ANY


def _cut_request(random: Random) -> tuple[bytes, frozenset[int]]:
    form = _form_request(_multipart([_part(random)]))
    whole = random.choice([sound_request(random), form, _chunked_request(_chunked(_sound(random), random))])
    return _cut(whole, random), ANY


def _long_promise(random: Random) -> tuple[bytes, frozenset[int]]:
    """A body that is said to be larger than it is, or than it may be."""
    length = random.choice([2_000, 100_000, 2**26 + 1, 2**40])
    return http("/v1/detect", b"GIF89a", [("content-type", "image/gif")], length=length), frozenset({413})


def _two_requests(random: Random) -> tuple[bytes, frozenset[int]]:
    """The second one, behind a sound one, must not come through."""
    second = http("/v1/nothing", method="GET")
    small = _image_request(_pictures()[0][0])
    return random.choice([small + second, small + b"\0" * 1_000, _chunked_request(b"0\r\n\r\n") + second]), IMAGE


_KINDS: Mapping[str, tuple[int, Make]] = {
    "damaged image": (24, _damaged_image),
    "size in the header": (4, _bomb),
    "crafted image": (1, _crafted),
    "odd form": (10, _odd_form),
    "broken boundary": (6, _broken_boundary),
    "damaged form": (8, _damaged_form),
    "crowded form": (2, _crowded_form),
    "nested form": (2, _nested_form),
    "odd options": (8, _odd_options),
    "odd media type": (3, _odd_media),
    "wrong types": (7, _wrong_types),
    "no JSON": (6, _no_json),
    "odd URI": (5, _odd_uri),
    "odd chat": (3, _odd_chat),
    "odd path": (4, _odd_path),
    "odd method": (2, _odd_method),
    "odd headers": (8, _odd_headers),
    "chunks": (3, _chunks),
    "no HTTP": (6, _no_http),
    "large headers": (1, _large_headers),
    "two requests": (1, _two_requests),
    "flipped request": (3, _flipped_request),
    "cut request": (4, _cut_request),
    "long promise": (2, _long_promise),
}
"""Every kind: how often it comes, and how it is made."""
_UNFINISHED = frozenset({"no HTTP", "large headers", "flipped request", "cut request", "long promise"})


if __name__ == "__main__":
    sys.stdout.buffer.write(malformed(int(sys.argv[1])).raw)
