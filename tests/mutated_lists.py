"""Lists and Parquet files as people write them, and what disks, editors and other programs make of them."""

import bz2
import csv
import gzip
import io
import json
import lzma
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fakescan.sources.fetch import Fetcher
from fakescan.sources.manifest import MANIFEST_SCHEMA
from fakescan.sources.source import open_source
from fakescan.storage.store import Store
from fakevlm.errors import UserError

CAPTIONS = (
    *(
        "a cat",
        'the 5" cup',
        "one, two; three|four\tfive",
        "line one\nline two",
        '"quoted"',
        "",
        "ünïcode 漢",
        "x" * 3_000,
    ),
    *("a.jpg,b.jpg", "https://h/page.html", "3.5", "\\", 'say \\"hi\\"', "\u2028", "=1+1", "NULL"),
)
ADDRESSES = (
    *("pics/{}.jpg", "https://h/{}.png?sig=1", "s3://b/k/{}", "/abs/{}.webp", "ftp://h/{}.jpg", "x.parquet#row={}"),
    *(
        "tar://{}.jpg::nothing.tar",
        "data:image/png;base64,iVBORw0KGgo{}",
        "  {}.jpg ",
        "file:///a%20{}.jpg",
        "C:\\p\\{}.jpg",
        "",
    ),
)
NAMES = ("url", "image_url", "path", "image", "uri", "Image URL", "file_name", "foto")
KEPT = (("label",), ("caption",), ("size", "url"), ("path",), ("image",), ("row_id", "etag"))


def records(rng: random.Random) -> list[dict[str, Any]]:
    names = rng.sample(NAMES, rng.randint(1, 2))
    extra = rng.sample(["caption", "size", "etag", "label", "width", "row_id"], rng.randint(0, 3))
    columns = rng.sample(names + extra, len(names + extra))
    forms = rng.sample(ADDRESSES, 3)

    def cell(name: str, row: int) -> Any:
        if name in names:
            return rng.choice(forms).format(row)
        if name == "caption":
            return rng.choice(CAPTIONS)
        return rng.choice([row, -1, "M", None, 2.5, "007"])

    return [{name: cell(name, row) for name in columns} for row in range(rng.randint(0, 40))]


def delimited(rng: random.Random, rows: list[dict[str, Any]]) -> bytes:
    text = io.StringIO()
    options = {
        "delimiter": rng.choice(",\t;|"),
        "quoting": rng.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
        "lineterminator": rng.choice(["\n", "\r\n", "\r"]),
    }
    writer = csv.DictWriter(text, list(rows[0]) if rows else ["url"], **options)
    if rng.random() < 0.9:
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def json_lines(rng: random.Random, rows: list[dict[str, Any]]) -> bytes:
    return "\n".join(json.dumps(row, ensure_ascii=rng.random() < 0.5) for row in rows).encode()


def json_document(rng: random.Random, rows: list[dict[str, Any]]) -> bytes:
    whole: Any = rows if rng.random() < 0.5 else {"info": {}, "images": rows, "others": [1]}
    return json.dumps(whole, indent=rng.choice([None, 1])).encode()


def text(rng: random.Random, rows: list[dict[str, Any]]) -> bytes:
    return "\n".join(["# list", *(str(next(iter(row.values()))) for row in rows)]).encode()


FORMATS: dict[str, Callable[[random.Random, list[dict[str, Any]]], bytes]] = {
    ".csv": delimited,
    ".tsv": delimited,
    ".jsonl": json_lines,
    ".ndjson": json_lines,
    ".json": json_document,
    ".txt": text,
}
PACKED: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda data: bytes(pa.compress(data, codec="zstd", asbytes=True)),
}

STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
BYTES = (pa.binary(), pa.large_binary(), pa.binary_view(), pa.dictionary(pa.int32(), pa.binary()))
TEXTS = (pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string()), pa.binary())


def parquet(rng: random.Random) -> bytes:
    """A file of addresses, of images in one of the many forms, or with a column of some other type."""
    rows = rng.randint(0, 30)
    names = rng.sample([*NAMES, "images", "size", "etag", "row_id", "object", "offset"], rng.randint(1, 4))
    columns = {name: pa.array(*_column(rng, rows)) for name in names}
    buffer = io.BytesIO()
    pq.write_table(
        pa.table(columns),
        buffer,
        row_group_size=rng.choice([3, 10, 1_000]),
        compression=rng.choice(["none", "snappy", "zstd"]),
        write_statistics=rng.random() < 0.7,
        store_schema=rng.random() < 0.8,
    )
    return buffer.getvalue()


def _column(rng: random.Random, rows: int) -> tuple[list[Any], pa.DataType]:
    def maybe(value: Any) -> Any:
        return None if rng.random() < 0.2 else value

    def image(row: int) -> dict[str, Any]:
        return {"bytes": maybe(b"%d" % row), "path": maybe(rng.choice(ADDRESSES).format(row))}

    kind = rng.randrange(7)
    if kind < 2:
        return [maybe(rng.choice(ADDRESSES).format(row)) for row in range(rows)], rng.choice(TEXTS)
    if kind == 2:
        return [maybe(b"%d" % row) for row in range(rows)], rng.choice(BYTES)
    if kind == 3:
        return [maybe(image(row)) for row in range(rows)], STRUCT
    if kind == 4:
        lists = [maybe([maybe(image(row)) for _ in range(rng.randrange(3))]) for row in range(rows)]
        return lists, rng.choice([pa.list_(STRUCT), pa.large_list(STRUCT)])
    if kind == 5:
        return [maybe([maybe(b"x%d" % row)] * rng.randrange(3)) for row in range(rows)], pa.list_(rng.choice(BYTES))
    other = rng.choice([pa.int64(), pa.float64(), pa.list_(pa.string()), pa.struct([("a", pa.string())]), pa.bool_()])
    values = {pa.int64(): 7, pa.float64(): 2.5, pa.bool_(): True, pa.list_(pa.string()): ["a.jpg"]}
    return [maybe(values.get(other, {"a": "b.jpg"})) for _ in range(rows)], other


def mutated(data: bytes, rng: random.Random) -> bytes:
    """The bytes after a few accidents."""
    for _ in range(rng.choice([0, 1, 1, 2, 4])):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(8)
        if kind == 0:
            data = data[:at]
        elif kind == 1 and data:
            at = min(at, len(data) - 1)
            data = data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]
        elif kind == 2:
            data = data[:at] + rng.choice([b'"', b"'", b"\\", b",", b"\t", b"\n", b"\r", b"\0", b"{", b"]"]) + data[at:]
        elif kind == 3:
            lines = data.splitlines(keepends=True)
            rng.shuffle(lines)
            data = b"".join(lines)
        elif kind == 4:
            data = (
                data[:at] + rng.choice(["é".encode("latin-1"), "漢".encode(), b"\xff\xfe", b"\xed\xa0\x80"]) + data[at:]
            )
        elif kind == 5:
            data = data[: at // 2] + data[at:]
        elif kind == 6:
            data = data + data[:at]
        else:
            data = _recoded(data, rng)
    return data


def _recoded(data: bytes, rng: random.Random) -> bytes:
    try:
        return data.decode().encode(rng.choice(["utf-16", "utf-16-le", "utf-8-sig", "latin-1", "utf-32"]))
    except UnicodeError:
        return data


def source(rng: random.Random) -> tuple[str, bytes]:
    """Name and bytes of one file."""
    if rng.random() < 0.4:
        data = parquet(rng)
        return "a.parquet", _with_other_pages(data, rng) if rng.random() < 0.8 else mutated(data, rng)
    kind = rng.choice([*FORMATS])
    data = mutated(FORMATS[kind](rng, records(rng)), rng)
    if rng.random() < 0.3:
        packed = rng.choice([*PACKED])
        return f"a{kind}{packed}", mutated(PACKED[packed](data), rng) if rng.random() < 0.6 else PACKED[packed](data)
    return f"a{kind}", data


def _with_other_pages(data: bytes, rng: random.Random) -> bytes:
    """A Parquet file whose footer is whole and whose pages may not be."""
    pages = bytearray(data[: -8 - int.from_bytes(data[-8:-4], "little")])
    for _ in range(rng.choice([0, 0, 1, 3])):
        pages[rng.randrange(4, len(pages)) if len(pages) > 4 else 0] = rng.randrange(256)
    return bytes(pages) + data[len(pages) :]


def check(seed: int, folder: Path) -> str:
    """Read one mutated file: entries with a whole account, or one line of refusal; returns what it came to."""
    rng = random.Random(seed)
    name, data = source(rng)
    (folder / name).write_bytes(data)
    options = {
        "column": rng.choice([*[None] * 20, "url", "image", "images", "image.path"]),
        "size_column": rng.choice([*[None] * 9, "size"]),
        "skip_damaged": rng.random() < 0.6,
        # Drawn apart, so that the files of a seed stay the same.
        "keep_columns": random.Random(f"kept {seed}").choice([*[None] * 8, *KEPT]),
    }
    try:
        opened = open_source(str(folder / name), Store(), **options)
        tables = list(opened)
    except UserError as error:
        if len(str(error).splitlines()) != 1:
            raise AssertionError(f"{seed}: not one line: {error}") from error
        return "refused"
    rows = pa.concat_tables(tables)
    assert opened.left_out.seen == rows.num_rows + opened.left_out.total, (seed, opened.left_out)
    assert rows["kept"].null_count == (0 if options["keep_columns"] else rows.num_rows), seed
    inside = rows.filter(rows["object"].is_valid())
    numbers = pa.array(range(inside.num_rows), pa.int64())
    fetched = Fetcher(Store()).fetch(inside.add_column(0, MANIFEST_SCHEMA.field("row_id"), numbers))
    assert all((one.data is None) == (one.error_code is not None) for one in fetched), seed
    return "damaged" if opened.left_out.total else "whole"
