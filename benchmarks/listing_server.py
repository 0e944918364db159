"""An S3 server that has nothing but a listing: millions of keys in one folder, made up as they are asked for.

python -m benchmarks.listing_server ROWS        # prints its port; ends when its standard input does
"""

import hashlib
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

_PREFIX = "photos/"
_DIGITS = 12
_PAGE = 1_000


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    rows = 0

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""

    def do_GET(self) -> None:
        query = {name: values[0] for name, values in parse_qs(self.path.partition("?")[2]).items()}
        first = int(query.get("continuation-token", 0)) or _after(query.get("start-after", ""), self.rows)
        last = min(self.rows, first + int(query.get("max-keys", _PAGE)))
        body = _page(first, last, self.rows)
        self.send_response(200)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def key(number: int) -> str:
    """The name of an object."""
    return f"{_PREFIX}{number:0{_DIGITS}}.jpg"


def _after(name: str, rows: int) -> int:
    """The number of the first key after a name."""
    low, high = 0, rows
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if key(middle) > name else (middle + 1, high)
    return low


def _page(first: int, last: int, rows: int) -> bytes:
    parts = [
        '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">',
        f"<Name>b</Name><Prefix>{_PREFIX}</Prefix><KeyCount>{last - first}</KeyCount><MaxKeys>{_PAGE}</MaxKeys>",
        f"<EncodingType>url</EncodingType><IsTruncated>{'true' if last < rows else 'false'}</IsTruncated>",
        f"<NextContinuationToken>{last}</NextContinuationToken>" if last < rows else "",
    ]
    tag = hashlib.md5(str(first).encode()).hexdigest()[:24]
    parts += [
        f"<Contents><Key>{key(number)}</Key><LastModified>2026-11-25T07:{number % 60:02}:00.000Z</LastModified>"
        f"<ETag>&quot;{tag}{number & 0xFFFFFFFF:08x}&quot;</ETag><ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm>"
        f"<ChecksumType>FULL_OBJECT</ChecksumType><Size>{100_000 + number}</Size>"
        "<StorageClass>STANDARD</StorageClass></Contents>"
        for number in range(first, last)
    ]
    return "".join([*parts, "</ListBucketResult>"]).encode()


def main() -> None:
    """Serve until standard input ends."""
    _Handler.rows = int(sys.argv[1])
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
