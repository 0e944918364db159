"""A small S3 server with the habits of real ones that are nearly, but not quite, S3."""

import gzip
import hashlib
import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, quote, unquote
from xml.sax.saxutils import escape

from fakescan.storage.store import Store

_XML = '<?xml version="1.0" encoding="UTF-8"?>'
_STARTS = ("continuation-token", "start-after", "marker")


def _order(habits: frozenset[str]) -> Callable[[str], str]:
    """The key of sorting by which a server lists."""
    if "by folder" in habits:
        return lambda name: name.replace("/", "\0")
    if "no order" in habits:
        return lambda name: hashlib.md5(name.encode()).hexdigest()
    return lambda name: name


class NearlyS3:
    """One bucket `b`. `habits` are what the server does otherwise than the protocol says:

    `no etag`, `no size`, `no token` (a page that is cut and names no next one), `first version` (knows only
    ListObjects), `own spelling` (etags without quotes, compared as text), `no length` (chunked answers), `small pages`,
    `forbids reading`, `silent reading` (no answer to it while the server runs), `ignores start` (lists from the
    beginning whatever it is to start after, but knows its own tokens), `by folder` (lists what is in a folder together,
    as servers do that keep keys as files), `no order` (lists in an order of its own).
    """

    def __init__(self, objects: dict[str, bytes], *habits: str) -> None:
        self.objects, self.habits = objects, frozenset(habits)
        self.requests: list[str] = []
        self.sent = 0
        self.stopped = threading.Event()
        handler = type("Handler", (_Handler,), {"server_of": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)

    @property
    def store(self) -> Store:
        """Settings that reach it."""
        endpoint = f"http://127.0.0.1:{self._server.server_port}"
        return Store.model_validate(
            {"endpoint_url": endpoint, "region": "us-east-1", "options": {"key": "any", "secret": "any"}}
        )

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.stopped.set()
        self._server.shutdown()
        self._server.server_close()

    def etag(self, data: bytes) -> str:
        tag = hashlib.md5(data).hexdigest()
        return tag if "own spelling" in self.habits else f'"{tag}"'


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_of: NearlyS3

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path, _, text = self.path.partition("?")
        query = {name: values[0] for name, values in parse_qs(text, keep_blank_values=True).items()}
        key = unquote(path).removeprefix("/b").removeprefix("/")
        self.server_of.requests.append(f"{self.command} {self.path}")
        if not key:
            self._list(query)
        elif "forbids reading" in self.server_of.habits:
            self._error(403, "AccessDenied")
        elif "silent reading" in self.server_of.habits and key in self.server_of.objects:
            self.server_of.stopped.wait(60)
            self.close_connection = True
        elif key in self.server_of.objects:
            self._get(self.server_of.objects[key])
        else:
            self._error(404, "NoSuchKey")

    def _list(self, query: dict[str, str]) -> None:
        habits = self.server_of.habits
        first_version = "list-type" not in query
        if "first version" in habits and not first_version:
            self._error(501, "NotImplemented")
            return
        limit = min(2 if "small pages" in habits else 1000, int(query.get("max-keys", "1000")))
        starts = _STARTS[:1] if "ignores start" in habits else _STARTS
        given = {name: query[name] for name in starts if name in query}
        after = unquote(given["continuation-token"]) if "continuation-token" in given else "".join(given.values())
        after = "" if "starts anew" in habits else after
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        found_names: dict[tuple[str, bool], None] = {}
        order = _order(habits)
        for key in sorted(self.server_of.objects, key=order):
            if not key.startswith(prefix):
                continue
            folder, found, _ = key[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
            name = (prefix + folder + delimiter, True) if found else (key, False)
            if not after or order(name[0]) > order(after):
                found_names[name] = None
        cut = len(found_names) > limit
        names = sorted(found_names, key=lambda name: order(name[0]))[:limit]
        parts = [_XML, "<ListBucketResult><Name>b</Name>", f"<IsTruncated>{str(cut).lower()}</IsTruncated>"]
        if "encoding-type" in query:
            parts.append("<EncodingType>url</EncodingType>")
        if cut and not first_version and "no token" not in habits:
            parts.append(f"<NextContinuationToken>{quote(names[-1][0])}</NextContinuationToken>")
        for name, is_folder in names:
            shown = quote(name, safe="/") if "encoding-type" in query else escape(name)
            if is_folder:
                parts.append(f"<CommonPrefixes><Prefix>{shown}</Prefix></CommonPrefixes>")
                continue
            data = self.server_of.objects[name]
            etag = "" if "no etag" in habits else f"<ETag>{escape(self.server_of.etag(data))}</ETag>"
            size = "" if "no size" in habits else f"<Size>{len(data)}</Size>"
            parts.append(f"<Contents><Key>{shown}</Key>{etag}{size}</Contents>")
        self._answer(200, "".join([*parts, "</ListBucketResult>"]).encode(), {"Content-Type": "application/xml"})

    def _get(self, data: bytes) -> None:
        etag, wanted = self.server_of.etag(data), self.headers.get("If-Match")
        if wanted is not None and wanted != etag:
            self._error(412, "PreconditionFailed")
            return
        headers = {} if "no etag" in self.server_of.habits else {"ETag": etag}
        span = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if span:
            first, last = int(span[1]), min(int(span[2]), len(data) - 1)
            headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
            self._answer(206, data[first : last + 1], headers)
        elif "no length" in self.server_of.habits and self.command == "GET":
            self.send_response(200)
            for name, value in {**headers, "Transfer-Encoding": "chunked"}.items():
                self.send_header(name, value)
            self.end_headers()
            for start in range(0, len(data), 1000):
                piece = data[start : start + 1000]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")
        elif "packs" in self.server_of.habits and self.command == "GET":
            self._answer(200, gzip.compress(data), {**headers, "Content-Encoding": "gzip"})
        else:
            self._answer(200, data, headers)

    def _error(self, status: int, code: str) -> None:
        body = f"{_XML}<Error><Code>{code}</Code><Message>so it is</Message></Error>".encode()
        self._answer(status, body, {"Content-Type": "application/xml"})

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.server_of.sent += len(body)
            self.wfile.write(body)
