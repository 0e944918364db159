"""Lists: every record becomes an entry or is counted with its place, whatever people and programs write."""

import bz2
import csv
import gzip
import json
import lzma
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fakescan.sources.fetch import Fetcher
from fakescan.sources.lists.url_list import LIST_EXTENSIONS
from fakescan.sources.manifest import ENTRY_SCHEMA, MANIFEST_SCHEMA
from fakescan.sources.reading import LeftOutReason
from fakescan.sources.source import Source, open_source
from fakescan.storage.store import Store
from fakevlm.errors import ErrorCode, UserError
from tests.conftest import Bucket
from tests.mutated_lists import check
from tests.web_server import Answer, WebServer

pytestmark = pytest.mark.unit


def read(source: Path | str, store: Store | None = None, **options: Any) -> tuple[Source, pa.Table]:
    found = open_source(str(source), store or Store(), **options)
    table = pa.concat_tables(found)
    assert table.schema == ENTRY_SCHEMA
    assert found.left_out.seen == table.num_rows + found.left_out.total
    return found, table


def write(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def uris(path: Path, **options: Any) -> list[str]:
    """The addresses of a list, without the list's folder."""
    return [uri.removeprefix(f"{path.parent}/") for uri in read(path, **options)[1]["uri"].to_pylist()]


def left_out(path: Path, **options: Any) -> dict[LeftOutReason, str]:
    """What was left out, each with `COUNT at PLACE`, without the list's folder."""
    account = read(path, **options)[0].left_out
    return {
        reason: f"{count} at {account.places[reason].removeprefix(f'{path.parent}/')}"
        for reason, count in account.counts.items()
    }


def refusal(path: Path, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        read(path, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(f"{path.parent}/", "")


ROWS = ["a.jpg", "./sub/b c.jpg", "/abs/c.jpg", "s3://b/d.jpg", "https://h/e.jpg?sig=1", "a.jpg"]


def absolute(base: str) -> list[str]:
    return [f"{base}/a.jpg", f"{base}/sub/b c.jpg", *ROWS[2:5], f"{base}/a.jpg"]


class TestFormats:
    @pytest.mark.parametrize("kind", ["txt", "csv", "tsv", "jsonl", "json", "parquet"])
    @pytest.mark.parametrize("column", ["uri", "url", "Image_URL", "path"])
    def test_every_format(self, tmp_path: Path, kind: str, column: str) -> None:
        path = tmp_path / f"list.{kind}"
        table = [{"label": index, column: row, "size": index, "etag": f'"{index}"'} for index, row in enumerate(ROWS)]
        if kind == "txt":
            path.write_text("\ufeff# mine\n" + "\r\n".join(["", *ROWS, "  ", ""]))
        elif kind in ("csv", "tsv"):
            with path.open("w", newline="") as file:
                writer = csv.DictWriter(file, list(table[0]), delimiter="\t" if kind == "tsv" else ",")
                writer.writeheader()
                writer.writerows(table)
        elif kind == "parquet":
            pq.write_table(pa.Table.from_pylist(table), path)
        else:
            path.write_text(json.dumps(table) if kind == "json" else "\n".join(map(json.dumps, table)) + "\n\n")
        source, found = read(path)
        assert found["uri"].to_pylist() == absolute(str(tmp_path))
        assert (source.kind, source.unique, source.left_out.seen) == ("list", False, len(ROWS))
        for name in ("size", "etag", "object", "offset"):
            assert found[name].null_count == len(ROWS)  # a user's `size` may be anything
        if kind != "txt":
            assert read(path, size_column="size")[1]["size"].to_pylist() == list(range(6))

    def test_in_a_bucket_relative_to_it(self, s3_bucket: Bucket) -> None:
        s3_bucket.put("lists/a.txt", b"x.jpg\n../y.jpg\n")
        s3_bucket.put("lists/a.csv.gz", gzip.compress(b"url\nx.jpg\n"))
        for name in ("a.txt", "a.csv.gz"):
            _, table = read(f"{s3_bucket.url}/lists/{name}", s3_bucket.store)
            assert table["uri"][0].as_py() == f"{s3_bucket.url}/lists/x.jpg"

    def test_on_the_web(self, web: WebServer) -> None:
        web.answers["/lists/a.txt"] = Answer(b"x.jpg\nhttps://h/y.jpg", length=False)
        web.answers["/latest"] = Answer(status=302, headers={"Location": "/lists/a.txt"})
        assert read(f"{web.url}/lists/a.txt?sig=1")[1]["uri"].to_pylist() == [
            f"{web.url}/lists/x.jpg",
            "https://h/y.jpg",
        ]
        assert read(f"{web.url}/latest")[1]["uri"].to_pylist() == [f"{web.url}/x.jpg", "https://h/y.jpg"]
        web.answers["/z.jpg"] = Answer(b"image")
        assert read(f"{web.url}/z.jpg?sig=1")[1]["uri"].to_pylist() == [f"{web.url}/z.jpg?sig=1"]
        web.answers["/b.csv.gz"] = Answer(gzip.compress(b"url\nx.jpg\n"))
        assert read(f"{web.url}/b.csv.gz")[1]["uri"].to_pylist() == [f"{web.url}/x.jpg"]
        with pytest.raises(UserError, match=r"cannot read .*/none\.txt") as caught:
            read(f"{web.url}/none.txt?sig=secret")
        assert "secret" not in str(caught.value)

    def test_what_a_web_address_serves_instead_of_a_list(self, web: WebServer) -> None:
        for body, words in (
            (b"<!DOCTYPE html><html>", "is a web page, perhaps of a login"),
            (b"\xff\xd8\xff\xe0 image", "is a JPEG image.*, not a list of addresses"),
            (b"PK\x03\x04 xlsx", "is a ZIP file.*, not a list of addresses"),
        ):
            web.answers["/list"] = Answer(body)
            with pytest.raises(UserError, match=words):
                read(f"{web.url}/list")

    def test_what_texts_hold(self, tmp_path: Path) -> None:
        """Addresses, unless the first line is that of another kind of list, which is said."""
        for text, kind in (
            ("\ufeffa.jpg\n# b\n\ufeffb.jpg\n", None),
            ("# url,x\na.jpg\nb.jpg\n", None),
            ("image\nb.jpg\n", None),
            ("url,x\na.jpg,1\nb.jpg,2\n", ".csv"),
            ("image_url\na.jpg\nb.jpg\n", ".csv"),
            ('{"url": "a.jpg"}\n{"url": "b.jpg"}\n', ".jsonl"),
        ):
            path = write(tmp_path, "a.txt", text)
            source, table = read(path)
            first = "image" if text.startswith("image\n") else "a.jpg"
            assert table["uri"].to_pylist() == [f"{tmp_path}/{first}", f"{tmp_path}/b.jpg"]
            said = f"{path} is read as a {kind} list, which its first line looks like"
            assert source.notes == ([said] if kind else [])

    def test_filter_only_if_asked(self, tmp_path: Path) -> None:
        path = write(tmp_path, "a.txt", "https://h/1\nhttps://h/2.png?x=.jpg\nhttps://h/3.JPG?sig=1\n")
        assert len(uris(path)) == 3
        assert uris(path, extensions=("jpg",)) == ["https://h/3.JPG?sig=1"]

    @pytest.mark.parametrize(
        ("name", "text", "words"),
        [
            ("a.csv", "name,label\nx,1\n", "no column of addresses: its columns are ['name', 'label']"),
            ("a.csv", "name,foto\nx,a.jpg\n", "--column 'foto' looks like one"),
            ("a.jsonl", '{"uri": "a"}\nnonsense\n', "line 2 is not JSON"),
            ("a.jsonl", '{"uri": ' + "[" * 100_000 + "\n", "line 1 is"),
            ("a.json", '[{"uri": "a"}, {"uri": "b"', "item 2 the file is cut off in it"),
            ("a.json", '{"a": ["x.jpg"], "b": ["y.jpg"]}', "a JSON object with 2 lists of addresses, not one"),
            ("a.json", '{"a": 1}', "its keys are ['a']"),
            ("a.json", "7", "no JSON array"),
            ("a.parquet", "nonsense", "not a readable Parquet file"),
            ("a.txt", "\n", "no images found"),
            ("a.csv", "", "no images found"),
            ("a.csv", "url\n", "no images found"),
            ("a.csv", "https://h/a.jpg,1\nhttps://h/b.jpg,2\n", "has no header: its first line holds an address"),
            ("a.csv", "pics/a.jpg\n", "has no header: its first line holds an address"),
            ("a.csv", "PK\x03\x04", "is a ZIP file"),
        ],
    )
    def test_bad_lists(self, tmp_path: Path, name: str, text: str, words: str) -> None:
        assert words in refusal(write(tmp_path, name, text))

    def test_missing_list(self, tmp_path: Path) -> None:
        for name in ("a.txt", "a.csv", "a.csv.gz", "a.json", "a.parquet", "a.tar"):
            with pytest.raises(UserError, match="cannot read"):
                read(tmp_path / name)


class TestCompression:
    @pytest.mark.parametrize("kind", [".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".txt"])
    @pytest.mark.parametrize(
        ("packed", "pack"),
        [
            (".gz", gzip.compress),
            (".bz2", bz2.compress),
            (".xz", lzma.compress),
            (".zst", lambda data: pa.compress(data, codec="zstd", asbytes=True)),
        ],
    )
    def test_every_compression(self, tmp_path: Path, kind: str, packed: str, pack: Callable[[bytes], bytes]) -> None:
        texts = {".txt": "a.jpg\nb.jpg\n", ".json": '["a.jpg", "b.jpg"]', ".csv": "url\na.jpg\nb.jpg\n"}
        text = texts.get(kind, texts[".csv"] if kind == ".tsv" else '{"url": "a.jpg"}\n{"url": "b.jpg"}\n').encode()
        assert kind + packed in LIST_EXTENSIONS
        assert uris(write(tmp_path, f"A{kind.upper()}{packed}", pack(text))) == ["a.jpg", "b.jpg"]
        assert uris(write(tmp_path, f"misnamed{kind}", pack(text))) == ["a.jpg", "b.jpg"]
        assert uris(write(tmp_path, f"unpacked{kind}{packed}", text)) == ["a.jpg", "b.jpg"]

    @pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
    def test_broken_off(self, tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
        """What comes before the damage is read; the line in which it is is named."""
        data = pack(b"url\n" + os.urandom(300_000).hex(",").replace(",", ".jpg\n").encode())
        for name, broken in (("cut.csv.gz", data[: len(data) // 2]), ("bad.csv.gz", data[:-9_000] + bytes(9_000))):
            path = write(tmp_path, name, broken)
            message = refusal(path)
            assert f"{name} line " in message
            assert "is broken off or damaged in its compression" in message
            source, table = read(path, skip_damaged=True) if pack is gzip.compress else (None, None)
            if source is not None and table is not None:
                assert source.left_out.counts == {LeftOutReason.DAMAGED: 1}
                assert table.num_rows > 100_000

    def test_several_streams_in_one_file(self, tmp_path: Path) -> None:
        data = gzip.compress(b"url\na.jpg\n") + gzip.compress(b"b.jpg\n")
        assert uris(write(tmp_path, "a.csv.gz", data)) == ["a.jpg", "b.jpg"]


class TestDelimited:
    @pytest.mark.parametrize(
        "text",
        [
            "url,x\na.jpg,1\nb.jpg,2\n",
            "\ufeffurl,x\r\na.jpg,1\r\nb.jpg,2",
            "url;x\na.jpg;1,5\nb.jpg;2\n",
            "url\tx\na.jpg\t1,5\nb.jpg\t2\n",
            "x|url\n1,5|a.jpg\n2|b.jpg\n",
            "url,x\ra.jpg,1\rb.jpg,2\r",
            '"url","x"\n"a.jpg","1"\n"b.jpg","2"\n',
            ' "x" , URL \n1, a.jpg\n2, b.jpg \n',
            "Image URL,x\na.jpg,1\nb.jpg,2\n",
            "imageUrl,x\na.jpg,1\nb.jpg,2\n",
            "url,x,url\na.jpg,1,z.jpg\nb.jpg,2,z.jpg\n",
            "sep=;\nurl;x\na.jpg;1\nb.jpg;2\n",
            "\n\nurl,x\n\na.jpg,1\n\n  \nb.jpg,2\n\n",
            "url,x\na.jpg,1,\nb.jpg,2,,\n",
            "url,x\na.jpg,\0\nb.jpg,2\n",
            "'url','x'\n'a.jpg','1'\n'b.jpg','2, 3'\n",
            'url,x\na.jpg,"two\nlines"\nb.jpg,"three\r\n\r\nlines, and ""quotes"""\n',
            'url,x\na.jpg,"the 5" cup"\nb.jpg,"say \\"hi\\""\n',
            'url,x\na.jpg,the 5" cup\nb.jpg,"a" b\n',
        ],
    )
    @pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.csv.gz"])
    def test_dialects(self, tmp_path: Path, text: str, name: str) -> None:
        assert uris(write(tmp_path, name, text)) == ["a.jpg", "b.jpg"]

    @pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig"])
    def test_encodings(self, tmp_path: Path, encoding: str) -> None:
        assert uris(write(tmp_path, "a.csv", "url,x\nü漢.jpg,ö\nb.jpg,2\n".encode(encoding))) == ["ü漢.jpg", "b.jpg"]

    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ('caption\turl\n"Hello\ta.jpg\nthe 5" cup\tb.jpg\nplain\tc.jpg\n', ["a.jpg", "b.jpg", "c.jpg"]),
            ('url\tcaption\na.jpg\t"\nb.jpg\tsay "no"\nc.jpg\tend"\n', ["a.jpg", "b.jpg", "c.jpg"]),
            ('"url"\t"caption"\n"a.jpg"\t"tab\there"\n"b.jpg"\t"two\nlines"\n', ["a.jpg", "b.jpg"]),
            ('"url"\t"caption"\n"1"\t"a.jpg"\t"x"\n"2"\t"b.jpg"\t"say \\"hi\\""\n', ["a.jpg", "b.jpg"]),
            ('url\tx\n"a.jpg"\t1\nb.jpg\t2\n', ["a.jpg", "b.jpg"]),
        ],
    )
    def test_quotes_between_tabs_are_letters_unless_the_header_has_them(
        self, tmp_path: Path, text: str, found: list[str]
    ) -> None:
        for name in ("a.tsv", "a.csv"):
            assert uris(write(tmp_path, name, text)) == found

    @pytest.mark.parametrize(
        ("text", "line", "kept"),
        [
            ('url,x\na.jpg,1\nb.jpg,"open\nc.jpg,3\n', 3, ["a.jpg", "c.jpg"]),
            ('url,x\nb.jpg,"open\nc.jpg,3\nd.jpg,"closes"\n', 2, ["c.jpg", "d.jpg"]),
            ('url,x\nb.jpg,"open\nc.jpg,3\nd.jpg,"\n', 2, ["c.jpg"]),
            ('x,url\n1,a.jpg\n"open,b.jpg\n3,c.jpg\n4",d.jpg\n', 3, ["a.jpg", "c.jpg", "d.jpg"]),
            ('id,x,url\n1,"open,https://h/a\n2,shut",https://h/b\n', 2, ["https://h/b"]),
            ('url\na.jpg\n"b.jpg\nc.jpg\n', 3, ["a.jpg", "c.jpg"]),
        ],
    )
    def test_open_quotes_are_named_and_cost_one_record(
        self, tmp_path: Path, text: str, line: int, kept: list[str]
    ) -> None:
        path = write(tmp_path, "a.csv", text)
        message = refusal(path)
        assert message.startswith(f"a.csv line {line} ")
        assert "quote" in message
        assert "--skip-damaged" in message
        source, table = read(path, skip_damaged=True)
        assert [uri.removeprefix(f"{tmp_path}/") for uri in table["uri"].to_pylist()][: len(kept)] == kept
        assert source.left_out.places[LeftOutReason.DAMAGED].startswith(f"{tmp_path}/a.csv line {line} ")

    def test_open_quote_in_a_long_list(self, tmp_path: Path) -> None:
        """Over many batches, at their bounds and behind records of several lines."""
        rows = [f'{number}.jpg,"two\nlines {number}"' for number in range(60_000)]
        rows[30_000] = '30000.jpg,"open'
        path = write(tmp_path, "a.csv", "\n".join(["url,x", *rows]))
        assert "a.csv line 60002 has a quote in the wrong place" in refusal(path)
        assert len(uris(path, skip_damaged=True)) == 59_999
        rows[30_000] = "30000.jpg,plain"
        rows[59_999] = '59999.jpg,"open'
        path = write(tmp_path, "a.csv", "\n".join(["url,x", *rows]))
        assert "a.csv line 119999 opens a quote that is not closed" in refusal(path)

    @pytest.mark.parametrize(
        ("text", "lost"),
        [
            ("x,url\n1,a.jpg\nb.jpg\n3,c.jpg\n", "1 at a.csv line 3"),
            ("url,x\na.jpg,one, two\nb.jpg,2\nc.jpg,3,4,5\n", "2 at a.csv line 2"),
            ('url,x\n"a\nb.jpg",1\nc.jpg\nd.jpg,1\n', "1 at a.csv line 4"),
        ],
    )
    def test_ragged_records(self, tmp_path: Path, text: str, lost: str) -> None:
        assert left_out(write(tmp_path, "a.csv", text)) == {LeftOutReason.CELLS: lost}

    def test_commas_in_a_list_of_one_column(self, tmp_path: Path) -> None:
        path = write(tmp_path, "a.csv", "url\nhttps://h/w_1,h_2/a.jpg\nb.jpg,,\n")
        assert uris(path) == ["https://h/w_1,h_2/a.jpg", "b.jpg"]

    def test_other_columns_do_no_harm(self, tmp_path: Path) -> None:
        """Over a megabyte: a column that is empty at first, another one that becomes text, Latin-1, a cell of 3 MB."""
        rows = [f"{number}.jpg,,{number}" for number in range(80_000)]
        rows[70_000:70_003] = ["70000.jpg,7,many", "70001.jpg,caf\udce9,1", f'70002.jpg,"{"x" * 3_000_000}",1']
        path = write(tmp_path, "a.csv", "\n".join(["url,late,size", *rows]).encode(errors="surrogateescape"))
        source, table = read(path)
        assert (table.num_rows, source.left_out.total) == (80_000, 0)


class TestJson:
    def test_objects_without_an_address_are_counted(self, tmp_path: Path) -> None:
        lines = [
            *['{"uri": "a.jpg"}'] * 9,
            "",
            '{"uri": 7}',
            '{"url": "b.jpg"}',
            '{"uri": null}',
            '["c.jpg"]',
            '"d.jpg"',
            "3",
        ]
        lines += ['{"uri": "' + "data:image/png;base64," + "A" * 200_000 + '"}', '{"uri": {"a": 1}}', '{"uri": " "}']
        path = write(tmp_path, "a.jsonl", "\n".join(lines))
        assert left_out(path) == {
            LeftOutReason.NO_ADDRESS: "6 at a.jsonl line 12",
            LeftOutReason.INLINE: "1 at a.jsonl line 17",
            LeftOutReason.BAD_ADDRESS: "2 at a.jsonl line 11",
        }

    def test_damaged_lines(self, tmp_path: Path) -> None:
        path = write(tmp_path, "a.ndjson", '{"uri": "a.jpg"}\n{"uri": "b.j\n{"uri": ' + "9" * 5_000 + "}\n\0\n")
        assert "a.ndjson line 2 is not JSON" in refusal(path)
        assert left_out(path, skip_damaged=True) == {LeftOutReason.DAMAGED: "3 at a.ndjson line 2 is not JSON"}

    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("a.json", '["a.jpg", "b.jpg"]'),
            ("a.json", '[{"url": "a.jpg"}, {"url": "b.jpg"}]'),
            ("a.json", '{\n "images": [{"file_name": "a.jpg"}, {"file_name": "b.jpg"}], "annotations": [{"id": 1}]}'),
            ("a.json", '{"data": [{"image": {"url": "a.jpg"}}, {"image": {"url": "b.jpg"}}]}'),
            ("a.json", '{"url": "a.jpg"}\n{"url": "b.jpg"}\n'),
            ("a.jsonl", '[{"url": "a.jpg"},\n {"url": "b.jpg"}]'),
            ("a.jsonl", '[{"url": "a.jpg"}, {"url": "b.jpg"}]'),
            ("a.jsonl", '\ufeff{"url": "a.jpg"}\r\n{"url": "b.jpg"}'),
            ("a.jsonl", '{"n": 1, "url": "a.jpg"}\n{"url": "b.jpg", "x": {"url": 1}}'),
        ],
    )
    def test_forms(self, tmp_path: Path, name: str, text: str) -> None:
        assert uris(write(tmp_path, name, text)) == ["a.jpg", "b.jpg"]

    def test_damage_in_a_document(self, tmp_path: Path) -> None:
        path = write(tmp_path, "a.json", '[{"url": "a.jpg"}, {"url": "b.jpg"}, {"url": c}, {"url": "d.jpg"}]')
        assert "a.json item 3 is not JSON" in refusal(path)
        assert uris(path, skip_damaged=True) == ["a.jpg", "b.jpg"]

    def test_nested_by_name(self, tmp_path: Path) -> None:
        path = write(tmp_path, "a.jsonl", '{"foto": {"web": "a.jpg"}, "n": {"bytes": 12}}\n{"foto": "b.jpg"}\n')
        source, table = read(path, column="foto.web", size_column="n.bytes")
        assert (table["size"].to_pylist(), source.left_out.counts) == ([12], {LeftOutReason.NO_ADDRESS: 1})


class TestAddresses:
    def test_what_cannot_be_one(self, tmp_path: Path) -> None:
        path = write(
            tmp_path,
            "a.txt",
            "a.jpg\nhttps://h/"
            + "x" * 8_192
            + "\nC:\\pics\\b.jpg\nhttps://h/\0.jpg\ndata:image/png;base64,iVBORw0KGgo=\n"
            "pics\\c.jpg\nftp://h/d.jpg\n~/e.jpg\n",
        )
        assert uris(path) == ["a.jpg", "pics\\c.jpg", "ftp://h/d.jpg", "~/e.jpg"]
        assert left_out(path) == {
            LeftOutReason.BAD_ADDRESS: "3 at a.txt line 2",
            LeftOutReason.INLINE: "1 at a.txt line 5",
        }

    def test_names_that_are_not_utf_8(self, tmp_path: Path) -> None:
        (tmp_path / os.fsdecode(b"caf\xe9.jpg")).write_bytes(b"coffee")
        path = write(
            tmp_path, "a.csv", b"url,x\ncaf\xe9.jpg,1\nhttps://h/caf\xe9.jpg,2\ns3://b/caf\xe9.jpg,3\nb.jpg,4\n"
        )
        _, table = read(path)
        assert table["uri"].to_pylist() == [f"file://{tmp_path}/caf%E9.jpg", f"{tmp_path}/b.jpg"]
        assert left_out(path) == {LeftOutReason.BAD_ADDRESS: "2 at a.csv line 3"}
        assert fetched(table)[0] == b"coffee"

    def test_addresses_that_are_missing(self, tmp_path: Path) -> None:
        path = write(tmp_path, "a.csv", 'x,url\n1,a.jpg\n2,\n3,"  "\n')
        assert left_out(path) == {LeftOutReason.NO_ADDRESS: "2 at a.csv line 3"}


class TestColumns:
    @pytest.mark.parametrize(
        ("header", "row", "column"),
        [
            ("code,url,product_name,image_url", "1,http://h/p/1,name,a.jpg", "image_url"),
            ("url,image", "http://h/p/1,a.jpg", "image"),
            ("image,url", "a cat on a mat,a.jpg", "url"),
            ("url,image_url", "http://h/page/1,https://cdn/x?id=1", "image_url"),
            ("file_name,image_url", "a.jpg,https://cdn/x?id=1", "image_url"),
            ("image,path", f"{'iVBORw0KGgo' + 'A' * 300},a.jpg", "path"),
            ("path,url", "shop/1,https://h/a.png?w=1", "url"),
            ("url,num_images,main image url", "http://h/p/1,3,a.jpg", "main image url"),
            ("image,uri,row_id", "17,s3://b/a.jpg,0", "uri"),
        ],
    )
    def test_the_likeliest(self, tmp_path: Path, header: str, row: str, column: str) -> None:
        path = write(tmp_path, "a.csv", f"{header}\n{row}\n")
        chosen = row.split(",")[header.split(",").index(column)]
        assert uris(path) == [chosen]
        (note,) = read(path)[0].notes or ["none but one"]
        assert note == "none but one" or note.startswith(f"addresses are read from column {column!r}, not from ")
        for name in header.split(","):
            if len(row.split(",")[header.split(",").index(name)]) < 200:
                assert uris(path, column=name) == [row.split(",")[header.split(",").index(name)]]

    def test_of_many_others_it_is_said_how_many(self, tmp_path: Path) -> None:
        names = ["image_url", *(f"{letter}_image_url" for letter in "bcdefghij")]
        path = write(tmp_path, "a.csv", ",".join(names) + "\n" + ",".join(["a.jpg"] * 10) + "\n")
        (note,) = read(path)[0].notes
        assert note.endswith(" or 'f_image_url' or 4 more; --column chooses")

    def test_named(self, tmp_path: Path) -> None:
        for name, text in (
            ("a.csv", "url,foto\nx.jpg,b.jpg\n"),
            ("a.tsv", "url\tfoto\nx.jpg\tb.jpg\n"),
            ("a.jsonl", '{"url": "x.jpg", "foto": "b.jpg"}'),
            ("a.json", '[{"url": "x.jpg", "foto": "b.jpg"}]'),
            ("a.txt", "url;foto\nx.jpg;b.jpg\n"),
        ):
            path = write(tmp_path, name, text)
            assert uris(path, column="foto") == ["b.jpg"]
            assert f"{name} has no column 'Foto': its columns are ['url', 'foto']" in refusal(path, column="Foto")
            if name != "a.txt":
                assert "bytes" in refusal(path, size_column="bytes")

    def test_base64_is_refused(self, tmp_path: Path) -> None:
        image = "/9j/4AAQSkZJRgABAQAAAQABAAD" + "AbC/" * 100
        for name, text in (
            ("a.tsv", f"index\timage\tquestion\n0\t{image}\twhat?\n"),
            ("a.csv", f"image\n{image}\n"),
            ("a.jsonl", json.dumps({"image": image})),
            ("b.jsonl", json.dumps({"image": f"data:image/png;base64,{image}"})),
        ):
            path = write(tmp_path, name, text)
            assert "column 'image' of" in refusal(path)
            assert "base64" in refusal(path)
            assert "as text" in refusal(path, column="image")

    @pytest.mark.parametrize("sizes", ["S,M,L,XL", "0,0,0,0", "1,1,1,1", "1.5,-3,1e9,"])
    def test_sizes_of_a_user_are_not_believed(self, tmp_path: Path, sizes: str) -> None:
        rows = [f"{number}.jpg,{size},{number}" for number, size in enumerate(sizes.split(","))]
        path = write(tmp_path, "a.csv", "\n".join(["url,size,etag", *rows]))
        _, table = read(path)
        assert (table["size"].null_count, table["etag"].null_count) == (4, 4)

    def test_size_column(self, tmp_path: Path) -> None:
        values = ["7", " 8 ", "", "-1", "M", "2.5", "9" * 30, "0"]
        path = write(tmp_path, "a.csv", "\n".join(["url,n", *(f"{i}.jpg,{value}" for i, value in enumerate(values))]))
        source, table = read(path, size_column="n")
        assert table["size"].to_pylist() == [7, 8, None, None, None, None, None, 0]
        assert source.notes == ["4 values of column 'n' are no sizes in bytes: ignored"]
        path = write(tmp_path, "a.jsonl", '{"url": "a", "n": 5}\n{"url": "b", "n": true}\n{"url": "c", "n": 6.0}\n')
        assert read(path, size_column="n")[1]["size"].to_pylist() == [5, None, 6]


def fetched(table: pa.Table) -> list[bytes | ErrorCode | None]:
    """The bytes of the entries, or their errors."""
    rows = table.add_column(0, MANIFEST_SCHEMA.field("row_id"), pa.array(range(table.num_rows), pa.int64()))
    return [result.data or result.error_code for result in Fetcher(Store()).fetch(rows)]


class TestAddressesOfResults:
    """What a scan calls an image inside a container is accepted in a list."""

    def containers(self, folder: Path) -> list[str]:
        with tarfile.open(folder / "a.tar", "w") as archive:
            for name in ("one.jpg", "two.jpg"):
                write(folder, name, name)
                archive.add(folder / name, name)
        struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        images = [
            [{"bytes": b"0", "path": "x"}],
            [],
            None,
            [{"bytes": b"1", "path": None}, {"bytes": b"2", "path": None}],
        ]
        columns = {"image": [b"three", b"four", b"five"], "thumb": [b"t3", b"t4", b"t5"]}
        pq.write_table(pa.table(columns), folder / "b.parquet", row_group_size=2)
        pq.write_table(pa.table({"images": pa.array(images, pa.list_(struct))}), folder / "c.parquet", row_group_size=3)
        found = [
            str(uri)
            for name in ("a.tar", "b.parquet", "c.parquet")
            for uri in read(folder / name)[1]["uri"].to_pylist()
        ]
        return [*found, f"{folder}/b.parquet#row=1&column=thumb"]

    CONTENTS = (b"one.jpg", b"two.jpg", b"three", b"four", b"five", b"0", b"1", b"2", b"t4")

    def test_round_trip(self, tmp_path: Path) -> None:
        inside = self.containers(tmp_path)
        assert inside[-3:-1] == [f"{tmp_path}/c.parquet#row=3&image={image}" for image in (0, 1)]
        path = write(tmp_path, "a.txt", "\n".join(inside))
        _, table = read(path)
        assert table["uri"].to_pylist() == inside
        assert fetched(table) == list(self.CONTENTS)
        whole = [read(tmp_path / name)[1] for name in ("a.tar", "b.parquet", "c.parquet")]
        assert table.slice(0, 8).to_pylist() == pa.concat_tables(whole).to_pylist()

    def test_what_is_gone_is_counted(self, tmp_path: Path) -> None:
        self.containers(tmp_path)
        gone = [
            *(
                f"tar://three.jpg::{tmp_path}/a.tar",
                f"tar://one.jpg::{tmp_path}/none.tar",
                f"tar://one.jpg::{tmp_path}",
            ),
            *(f"{tmp_path}/b.parquet#row=3", f"{tmp_path}/none.parquet#row=0", f"{tmp_path}/b.parquet#row=0&image=0"),
            *(f"{tmp_path}/c.parquet#row=1&image=0", f"{tmp_path}/c.parquet#row=0", "b.parquet#row=0&column=no"),
            *("tar://a::ftp://h/b.tar", "tar://a::foo://b.tar"),
        ]
        path = write(tmp_path, "a.txt", "\n".join(["x.jpg", *gone, "b.parquet#row=2"]))
        assert uris(path) == ["x.jpg", "b.parquet#row=2"]
        assert left_out(path) == {LeftOutReason.BAD_ADDRESS: "11 at a.txt line 2: no such file, member or row"}

    def test_keys_that_look_like_rows(self, tmp_path: Path) -> None:
        (tmp_path / "x#row=1").write_bytes(b"image")
        _, table = read(write(tmp_path, "a.txt", "x#row=1\nx.parquet#rows=1\nx.parquet.jpg#row=1\n"))
        assert table["object"].null_count == 3
        assert fetched(table)[0] == b"image"

    def test_in_a_bucket(self, s3_bucket: Bucket, tmp_path: Path) -> None:
        self.containers(tmp_path)
        for name in ("a.tar", "b.parquet", "c.parquet"):
            s3_bucket.put(name, (tmp_path / name).read_bytes())
        inside = [read(f"{s3_bucket.url}/{name}", s3_bucket.store)[1] for name in ("a.tar", "b.parquet", "c.parquet")]
        table = pa.concat_tables(inside)
        s3_bucket.put("a.txt", "\n".join([*table["uri"].to_pylist(), f"tar://no::{s3_bucket.url}/no.tar"]).encode())
        source, again = read(f"{s3_bucket.url}/a.txt", s3_bucket.store)
        assert again.to_pylist() == table.to_pylist()
        assert source.left_out.counts == {LeftOutReason.BAD_ADDRESS: 1}


@pytest.mark.parametrize("seed", range(0, 300, 50))
def test_mutations(tmp_path: Path, seed: int) -> None:
    """Rows or one line of refusal, and every record accounted for; tests/drills has ten times as many."""
    outcomes = [check(one, tmp_path) for one in range(seed, seed + 50)]
    assert {"damaged", "refused"} <= set(outcomes)
