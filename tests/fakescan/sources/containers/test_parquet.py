"""Parquet files with images inside, in the forms that writers use, and Parquet files that name images."""

import hashlib
import io
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fakescan.sources import parquet_entries
from fakescan.sources.fetch import Fetched, Fetcher
from fakescan.sources.manifest import ENTRY_SCHEMA, MANIFEST_SCHEMA
from fakescan.sources.reading import LeftOutReason
from fakescan.sources.source import Source, open_source
from fakescan.storage.store import Store
from fakevlm.errors import ErrorCode, UserError
from tests.conftest import Bucket

pytestmark = pytest.mark.unit

STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
BYTES = (
    *(pa.binary(), pa.large_binary(), pa.binary_view(), pa.binary(2)),
    *(pa.dictionary(pa.int32(), pa.binary()), pa.dictionary(pa.int8(), pa.binary())),
)


def read(source: Path | str, store: Store | None = None, **options: Any) -> tuple[Source, pa.Table]:
    found = open_source(str(source), store or Store(), **options)
    table = pa.concat_tables(found)
    assert table.schema == ENTRY_SCHEMA
    assert found.left_out.seen == table.num_rows + found.left_out.total
    return found, table


def write(path: Path, column: pa.Array | None = None, name: str = "image", **options: Any) -> Path:
    table = options.pop("table", None) or pa.table({name: column, "label": range(len(column or []))})
    pq.write_table(table, path, **options)
    return path


def fetch(table: pa.Table, store: Store | None = None) -> list[Fetched]:
    rows = table.add_column(0, MANIFEST_SCHEMA.field("row_id"), pa.array(range(table.num_rows), pa.int64()))
    return Fetcher(store or Store()).fetch(rows)


def contents(table: pa.Table, store: Store | None = None) -> list[bytes | ErrorCode | None]:
    return [result.data or result.error_code for result in fetch(table, store)]


def names(table: pa.Table, folder: Path) -> list[str]:
    return [uri.removeprefix(f"{folder}/") for uri in table["uri"].to_pylist()]


def refusal(path: Path, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        read(path, **options)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


class TestBytes:
    @pytest.mark.parametrize("kind", BYTES, ids=str)
    @pytest.mark.parametrize("stored_schema", [True, False])
    def test_every_layout(self, tmp_path: Path, kind: pa.DataType, stored_schema: bool) -> None:
        images = [b"a0", b"a1", None, b"a3", b"a0"]
        path = write(tmp_path / "a.parquet", pa.array(images, kind), row_group_size=2, store_schema=stored_schema)
        source, table = read(path)
        assert (source.kind, source.unique) == ("parquet", True)
        assert names(table, tmp_path) == [f"a.parquet#row={row}" for row in range(5)]
        assert contents(table) == [image or ErrorCode.EMPTY for image in images]
        assert contents(table.slice(3)) == [b"a3", b"a0"]

    @pytest.mark.parametrize("kind", BYTES, ids=str)
    def test_in_structs_and_lists(self, tmp_path: Path, kind: pa.DataType) -> None:
        struct = pa.struct([("path", pa.large_string()), ("bytes", kind)])
        rows = [{"bytes": b"a0", "path": "x.jpg"}, {"bytes": b"a1", "path": None}]
        _, table = read(write(tmp_path / "a.parquet", pa.array(rows, struct), name="anything"))
        assert contents(table) == [b"a0", b"a1"]
        if kind == pa.binary_view():  # Arrow cannot write it in structs in lists
            return
        for number, lists in enumerate((pa.list_(struct), pa.large_list(struct), pa.list_(struct, 2))):
            _, table = read(write(tmp_path / f"{number}.parquet", pa.array([rows, rows], lists), name="anything"))
            assert contents(table) == [b"a0", b"a1"] * 2

    def test_binary_text_is_a_list_of_addresses(self, tmp_path: Path) -> None:
        """Some writers do not say that a column is text."""
        for number, column in enumerate(("image", "img", "url")):
            values = pa.array([b"pics/0.jpg", None, b"pics/1.jpg", b"caf\xe9.jpg"], pa.binary())
            source, table = read(write(tmp_path / f"{number}.parquet", values, name=column))
            assert names(table, tmp_path) == ["pics/0.jpg", "pics/1.jpg", f"file://{tmp_path}/caf%E9.jpg"]
            assert (source.kind, source.left_out.counts) == ("list", {LeftOutReason.NO_ADDRESS: 1})

    def test_several_columns(self, tmp_path: Path) -> None:
        images = {
            "thumb": [b"t"],
            "image": [b"i"],
            "nested": [{"deep": {"bytes": b"n", "path": "x"}}],
            "url": ["u.jpg"],
        }
        path = write(tmp_path / "a.parquet", table=pa.table({**images, "jpg": [b"j"]}))
        source, table = read(path)
        assert source.notes == ["images are read from column 'image', not from 'jpg'; --column chooses"]
        assert contents(table) == [b"i"]
        for column, data in (("thumb", b"t"), ("jpg", b"j"), ("nested.deep", b"n"), ("nested.deep.bytes", b"n")):
            _, table = read(path, column=column)
            assert contents(table) == [data]
        assert names(read(path, column="url")[1], tmp_path) == ["u.jpg"]
        assert "no column 'none': its columns are ['thumb', 'image', " in refusal(path, column="none")
        assert "column 'nested' of" in refusal(path, column="nested")

    def test_columns_with_odd_names(self, tmp_path: Path) -> None:
        table = pa.table({"a.b & c=ü#": [b"1", b"2"], "image": [b"3", b"4"]})
        _, entries = read(write(tmp_path / "a.parquet", table=table), column="a.b & c=ü#")
        assert contents(entries) == [b"1", b"2"]


class TestLists:
    ROWS = (
        [{"bytes": b"a", "path": "x"}, {"bytes": b"b", "path": "y"}],
        [],
        None,
        [{"bytes": b"c", "path": "z"}, None],
        [{"bytes": b"d", "path": "x"}],
    )
    NAMES = ("#row=0&image=0", "#row=0&image=1", "#row=3&image=0", "#row=3&image=1", "#row=4&image=0")

    @pytest.mark.parametrize("group", [1, 2, 3, 10])
    @pytest.mark.parametrize("paths", [True, False])
    @pytest.mark.parametrize("statistics", [True, False])
    def test_every_image_is_a_row(self, tmp_path: Path, group: int, paths: bool, statistics: bool) -> None:
        rows: list[Any] = list(self.ROWS)
        kind = pa.list_(STRUCT)
        if not paths:
            rows = [row and [item and item["bytes"] for item in row] for row in rows]
            kind = pa.list_(pa.binary())
        path = write(
            tmp_path / "a.parquet",
            pa.array(rows, kind),
            name="images",
            row_group_size=group,
            write_statistics=statistics,
        )
        source, table = read(path)
        assert source.left_out.counts == {LeftOutReason.NO_IMAGE: 2}
        assert source.left_out.places[LeftOutReason.NO_IMAGE] == f"{path} row 1"
        assert [uri.removeprefix(str(path)) for uri in table["uri"].to_pylist()] == list(self.NAMES)
        assert contents(table) == [b"a", b"b", b"c", ErrorCode.EMPTY, b"d"]
        for row in range(5):
            assert contents(table.slice(row, 1)) == [[b"a", b"b", b"c", ErrorCode.EMPTY, b"d"][row]]

    def test_many(self, tmp_path: Path) -> None:
        """Over batches and row groups, with a place for each image."""
        lists = [[b"%d %d" % (row, image) for image in range(row % 5)] for row in range(300)]
        path = write(tmp_path / "a.parquet", pa.array(lists), name="images", row_group_size=70)
        _, table = read(path)
        assert contents(table) == [image for row in lists for image in row]
        assert contents(table.slice(333, 1)) == [[image for row in lists for image in row][333]]

    def test_lists_of_lists_are_refused(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.parquet", pa.array([[[b"a"]]]), name="images")
        assert "no column of addresses: its columns are ['images', 'label']" in refusal(path)


class TestPaths:
    def folder(self, tmp_path: Path) -> Path:
        (tmp_path / "pics").mkdir()
        for name in ("0.jpg", "1.jpg"):
            (tmp_path / "pics" / name).write_bytes(name.encode())
        (tmp_path / "data").mkdir()
        return tmp_path / "data"

    ROWS = (
        {"bytes": None, "path": "../pics/0.jpg"},
        {"bytes": b"inside", "path": "0.jpg"},
        {"bytes": None, "path": None},
        {"bytes": None, "path": "https://h/x.jpg"},
        {"bytes": None, "path": "../pics/1.jpg"},
        None,
    )

    @pytest.mark.parametrize("statistics", [True, False])
    @pytest.mark.parametrize("group", [1, 4, 10])
    def test_followed_where_bytes_are_missing(self, tmp_path: Path, statistics: bool, group: int) -> None:
        folder = self.folder(tmp_path)
        options = {"row_group_size": group, "write_statistics": statistics}
        path = write(folder / "a.parquet", pa.array(self.ROWS, STRUCT), **options)
        source, table = read(path)
        assert not source.unique
        inside = [f"{path}#row={row}" for row in (1, 2, 5)]
        followed = [f"{folder}/../pics/{name}.jpg" for name in (0, 1)]
        assert sorted(table["uri"].to_pylist()) == sorted([*inside, *followed])
        found = dict(zip(table["uri"].to_pylist(), contents(table), strict=True))
        assert found == {
            **dict(zip(inside, [b"inside", ErrorCode.EMPTY, ErrorCode.EMPTY], strict=True)),
            **dict(zip(followed, [b"0.jpg", b"1.jpg"], strict=True)),
        }
        assert source.left_out.counts == {LeftOutReason.BAD_ADDRESS: 1}  # a folder does not lead to the web
        assert source.left_out.places[LeftOutReason.BAD_ADDRESS] == f"{path} row 3"
        source, table = read(path, column="image")
        assert "https://h/x.jpg" in table["uri"].to_pylist()

    def test_in_lists(self, tmp_path: Path) -> None:
        folder = self.folder(tmp_path)
        rows = [[self.ROWS[0], self.ROWS[1]], [], [self.ROWS[4], self.ROWS[2]]]
        path = write(folder / "a.parquet", pa.array(rows, pa.list_(STRUCT)), name="images", row_group_size=2)
        source, table = read(folder)
        assert sorted(table["uri"].to_pylist()) == sorted(
            [*(f"{folder}/../pics/{name}.jpg" for name in (0, 1)), f"{path}#row=0&image=1", f"{path}#row=2&image=1"]
        )
        assert source.left_out.counts == {LeftOutReason.NO_IMAGE: 1}
        assert set(contents(table)) == {b"0.jpg", b"1.jpg", b"inside", ErrorCode.EMPTY}

    def test_footers_are_enough_where_all_bytes_are_there(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = write(tmp_path / "a.parquet", pa.array([{"bytes": b"1", "path": "x"}] * 9, STRUCT))

        def refuse(*_: object) -> None:
            raise AssertionError("no column is read")

        monkeypatch.setattr(parquet_entries.ParquetReader, "batches", refuse)
        assert read(path)[1].num_rows == 9

    def test_in_a_bucket(self, s3_bucket: Bucket) -> None:
        buffer = io.BytesIO()
        rows = [
            {"bytes": None, "path": "0.jpg"},
            {"bytes": None, "path": "/etc/hostname"},
            {"bytes": b"in", "path": ""},
        ]
        pq.write_table(pa.table({"image": pa.array(rows, STRUCT)}), buffer)
        s3_bucket.put("d/a.parquet", buffer.getvalue())
        s3_bucket.put("d/0.jpg", b"out")
        source, table = read(f"{s3_bucket.url}/d/a.parquet", s3_bucket.store)
        assert source.left_out.counts == {LeftOutReason.BAD_ADDRESS: 1}  # nor does a bucket to this machine
        assert set(contents(table, s3_bucket.store)) == {b"out", b"in"}


class TestDamage:
    def sound(self, path: Path) -> bytearray:
        write(
            path,
            pa.array([{"bytes": os.urandom(2_000), "path": f"{row}.jpg"} for row in range(9)], STRUCT),
            row_group_size=3,
            compression="none",
            use_dictionary=False,
            write_page_checksum=False,
        )
        return bytearray(path.read_bytes())

    @pytest.mark.parametrize("damage", ["cut", "magic", "footer", "other", "empty"])
    def test_files_that_are_none(self, tmp_path: Path, damage: str) -> None:
        self.sound(tmp_path / "1.parquet")
        data = self.sound(tmp_path / "0.parquet")
        forms = {"cut": data[:5_000], "magic": data[:-4] + b"NONE", "other": b"hello" * 99, "empty": b""}
        (tmp_path / "0.parquet").write_bytes(forms.get(damage, data[:-100] + bytes(92) + data[-8:]))
        for path in (tmp_path, tmp_path / "0.parquet"):
            assert f"{tmp_path}/0.parquet is not a readable Parquet file" in refusal(path)
        for path in (str(tmp_path), f"{tmp_path}/{{0,1}}.parquet"):
            source, table = read(path, skip_damaged=True)
            assert (table.num_rows, source.left_out.counts) == (9, {LeftOutReason.DAMAGED: 1})
            assert source.left_out.places[LeftOutReason.DAMAGED].startswith(f"{tmp_path}/0.parquet is not a readable")

    def test_a_row_group_that_is_damaged_at_fetch(self, tmp_path: Path) -> None:
        """The images of the other row groups are not lost with it."""
        path = tmp_path / "a.parquet"
        data = self.sound(path)
        _, table = read(path)
        chunk = pq.ParquetFile(path).metadata.row_group(1).column(0)
        start = chunk.data_page_offset
        data[start : start + 40] = bytes(40)
        before = path.stat()
        path.write_bytes(data)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        results = fetch(table)
        assert [result.error_code for result in results] == [None] * 3 + [ErrorCode.TRUNCATED] * 3 + [None] * 3
        assert "the Parquet file is damaged in row group 1" in str(results[3].error_message)

    def test_a_file_that_was_replaced(self, tmp_path: Path) -> None:
        path = tmp_path / "a.parquet"
        self.sound(path)
        _, table = read(path)
        write(path, pa.array([b"1"]))
        assert contents(table) == [ErrorCode.CHANGED] * 9
        path.unlink()
        assert contents(table) == [ErrorCode.NOT_FOUND] * 9

    def test_a_damaged_row_group_of_addresses(self, tmp_path: Path) -> None:
        path = tmp_path / "a.parquet"
        addresses = [f"{hashlib.sha256(bytes([row])).hexdigest()}.jpg" for row in range(9)]
        write(path, pa.array(addresses), name="url", row_group_size=3, compression="none", use_dictionary=False)
        data = bytearray(path.read_bytes())
        start = pq.ParquetFile(path).metadata.row_group(1).column(0).data_page_offset
        data[start : start + 30] = bytes(30)
        path.write_bytes(data)
        assert f"{path} row 3 is damaged in row group 1 of column 'url'" in refusal(path)
        source, table = read(path, skip_damaged=True)
        assert (table.num_rows, source.left_out.counts) == (6, {LeftOutReason.DAMAGED: 3})


class TestAddresses:
    @pytest.mark.parametrize(
        "kind",
        [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string()), pa.binary()],
        ids=str,
    )
    def test_every_type_of_text(self, tmp_path: Path, kind: pa.DataType) -> None:
        values = pa.array(["a.jpg", None, "", "https://h/b", "x" * 9_000], kind)
        source, table = read(write(tmp_path / "a.parquet", values, name="url", row_group_size=2))
        assert names(table, tmp_path) == ["a.jpg", "https://h/b"]
        assert source.left_out.counts == {LeftOutReason.NO_ADDRESS: 2, LeftOutReason.BAD_ADDRESS: 1}
        assert source.left_out.places[LeftOutReason.BAD_ADDRESS] == f"{tmp_path}/a.parquet row 4"

    def test_structs_and_lists_are_no_candidates(self, tmp_path: Path) -> None:
        table = pa.table({"image": [["a.jpg"]], "url": [{"web": "b.jpg"}], "path": ["c.jpg"], "size": [{"w": 1}]})
        path = write(tmp_path / "a.parquet", table=table)
        source, entries = read(path)
        assert (names(entries, tmp_path), source.notes) == (["c.jpg"], [])
        assert names(read(path, column="url.web")[1], tmp_path) == ["b.jpg"]
        assert "column 'image' of" in refusal(path, column="image")
        assert "holds no sizes in bytes but struct" in refusal(path, size_column="size")

    def test_text_that_is_not_utf_8(self, tmp_path: Path) -> None:
        """Parquet's text need not be: names of local files are, other addresses are counted."""
        raw = pa.array([b"caf\xe9.jpg", b"https://h/caf\xe9", b"a.jpg"], pa.binary())
        text = pa.StringArray.from_buffers(3, raw.buffers()[1], raw.buffers()[2])
        source, table = read(write(tmp_path / "a.parquet", text, name="url"))
        assert table["uri"].to_pylist() == [f"file://{tmp_path}/caf%E9.jpg", f"{tmp_path}/a.jpg"]
        assert source.left_out.counts == {LeftOutReason.BAD_ADDRESS: 1}

    def test_sizes(self, tmp_path: Path) -> None:
        columns = {"url": ["a", "b", "c"], "size": [1, 0, None], "etag": ["x", "y", "z"], "n": [7.0, 2.5, None]}
        path = write(tmp_path / "a.parquet", table=pa.table(columns))
        assert read(path)[1]["size"].null_count == 3
        assert read(path)[1]["etag"].null_count == 3
        source, table = read(path, size_column="n")
        assert (table["size"].to_pylist(), len(source.notes)) == ([7, None, None], 1)
        assert "no column 'm'" in refusal(path, size_column="m")

    def test_what_only_looks_like_a_manifest(self, tmp_path: Path) -> None:
        """Sizes and places are believed with the names and the types of our own manifest only."""
        columns: dict[str, Any] = {name: ["a.jpg"] for name in MANIFEST_SCHEMA.names}
        _, table = read(write(tmp_path / "a.parquet", table=pa.table(columns)))
        assert table.to_pylist() == [
            {"uri": f"{tmp_path}/a.jpg", "size": None, "etag": None, "object": None, "offset": None, "kept": None}
        ]

    def test_a_manifest_with_places_that_cannot_be(self, tmp_path: Path) -> None:
        rows: list[dict[str, Any]] = [
            {"row_id": 0, "uri": "a.jpg", "size": -1},
            {"row_id": 1, "uri": None, "size": -1},
            {"row_id": 2, "uri": "tar://a::/t.tar", "object": "/t.tar"},
            {"row_id": 3, "uri": "tar://b::/t.tar", "object": "/t.tar", "offset": 512, "size": 7},
        ]
        nullable = pa.schema([field.with_nullable(True) for field in MANIFEST_SCHEMA])
        source, table = read(write(tmp_path / "a.parquet", table=pa.Table.from_pylist(rows, nullable)))
        assert table["offset"].to_pylist() == [512]
        assert source.left_out.counts == {LeftOutReason.NO_ADDRESS: 1, LeftOutReason.BAD_ADDRESS: 2}
