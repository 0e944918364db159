"""Columns of the user's own: beside their image in the manifest, from every kind of source that has columns."""

import bz2
import gzip
import json
import lzma
import os
import tarfile
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fakescan.sources.containers.parquet import ParquetReader
from fakescan.sources.index import build_index
from fakescan.sources.kept_columns import MAX_KEPT
from fakescan.sources.manifest import ManifestReader
from fakescan.sources.reading import LeftOutReason
from fakescan.sources.source import Source, open_source
from fakescan.storage.store import Store
from fakevlm.errors import UserError
from tests.conftest import Bucket

pytestmark = pytest.mark.unit

STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def read(source: Path | str, keep: str, **options: Any) -> tuple[Source, list[tuple[str, Any]]]:
    """The source, and for each image its name and its kept values."""
    columns = tuple(keep.split(",")) if keep else None
    found = open_source(str(source), options.pop("store", Store()), keep_columns=columns, **options)
    table = pa.concat_tables(found)
    assert found.left_out.seen == table.num_rows + found.left_out.total
    names = [uri.rpartition("/")[2] for uri in table["uri"].to_pylist()]
    return found, list(zip(names, [text and json.loads(text) for text in table["kept"].to_pylist()], strict=True))


def kept(source: Path | str, keep: str, **options: Any) -> list[tuple[str, Any]]:
    return read(source, keep, **options)[1]


def refusal(source: Path | str, keep: str, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        read(source, keep, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("keep_columns: ")
    return message


def write(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode(errors="surrogateescape"))
    return path


def write_parquet(path: Path, columns: dict[str, Any], **options: Any) -> Path:
    pq.write_table(pa.table(columns), path, **options)
    return path


def manifest(folder: Path) -> list[str | None]:
    """The kept values of a manifest, as it has them."""
    reader = ManifestReader(str(folder), Store())
    return [text for table in reader.tables() for text in table["kept"].to_pylist()]


class TestDelimited:
    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("a.csv", "url,id,x,label\na.jpg,007,1,cat\nb.jpg,1.50,2,\n"),
            ("a.tsv", "id\turl\tlabel\n007\ta.jpg\tcat\n1.50\tb.jpg\t\n"),
            ("a.csv", "label;id;url\r\ncat;007;a.jpg\r\n;1.50;b.jpg"),
            ("a.csv", '"url","id","label"\n"a.jpg","007","cat"\n"b.jpg","1.50",""\n'),
            ("a.csv", "\ufeffid|label|url\n007|cat|a.jpg\n1.50||b.jpg\n"),
            ("a.csv", " id , label,url\n007,cat,a.jpg\n1.50,,b.jpg,,\n"),
            ("a.txt", "url,id,label\na.jpg,007,cat\nb.jpg,1.50,\n"),
        ],
    )
    def test_values_are_as_the_list_has_them(self, tmp_path: Path, name: str, text: str) -> None:
        path = write(tmp_path, name, text)
        rows = [("a.jpg", {"id": "007", "label": "cat"}), ("b.jpg", {"id": "1.50", "label": ""})]
        assert kept(path, "id,label") == rows
        assert [list(values) for _, values in kept(path, "label,id")] == [["label", "id"]] * 2, "in the order asked for"
        assert kept(path, "id") == [(image, {"id": values["id"]}) for image, values in rows]

    def test_without_the_setting_nothing_is_kept(self, tmp_path: Path) -> None:
        assert kept(write(tmp_path, "a.csv", "url,id\na.jpg,1\n"), "") == [("a.jpg", None)]

    def test_odd_values(self, tmp_path: Path) -> None:
        values = [
            'say ""hi""',
            "back\\slash",
            "two\nlines\r\n",
            " blank ",
            "{}{0}",
            "tab\t\0 \x1f",
            "漢 😀",
            "null",
            "7,5",
        ]
        rows = [f'{number}.jpg,"{value}"' for number, value in enumerate(values)]
        path = write(tmp_path, "a.csv", "\n".join(['url,a {b} ""\\'.replace('""', "c"), *rows]))
        found = [row["a {b} c\\"] for _, row in kept(path, "a {b} c\\")]
        assert found == ['say "hi"', *values[1:]]

    def test_quotes_between_tabs_are_letters(self, tmp_path: Path) -> None:
        assert kept(write(tmp_path, "a.tsv", 'url\tid\n"a.jpg"\t"7"\n'), "id") == [("a.jpg", {"id": '"7"'})]
        assert kept(write(tmp_path, "b.tsv", '"url"\t"id"\n"a.jpg"\t"7"\n'), "id") == [("a.jpg", {"id": "7"})]

    def test_text_that_is_not_utf_8(self, tmp_path: Path) -> None:
        path = write(tmp_path, "a.csv", b"url,name\na.jpg,caf\xe9\nb.jpg,caf\xc3\xa9\n")
        source, rows = read(path, "name")
        assert rows == [("a.jpg", {"name": "caf\ufffd"}), ("b.jpg", {"name": "café"})]
        assert source.notes == ["kept values that are not UTF-8 have the sign U+FFFD where a byte is no text"]

    def test_what_is_left_out_takes_its_values_with_it(self, tmp_path: Path) -> None:
        text = 'url,id\na.jpg,1\n,2\nc.jpg\nd.jpg,"4\ne.jpg,5\nC:\\f.jpg,6\ng.jpg,7\n'
        source, rows = read(write(tmp_path, "a.csv", text), "id", skip_damaged=True)
        assert rows == [(f"{name}.jpg", {"id": number}) for name, number in (("a", "1"), ("e", "5"), ("g", "7"))]
        assert source.left_out.total == 4

    def test_many_rows_over_many_batches(self, tmp_path: Path) -> None:
        rows = [f"{number}.jpg,{number % 7},{number:08}" for number in range(120_000)]
        found = kept(write(tmp_path, "a.csv", "\n".join(["url,x,id", *rows])), "id")
        assert found == [(f"{number}.jpg", {"id": f"{number:08}"}) for number in range(120_000)]

    def test_the_column_of_addresses_itself(self, tmp_path: Path) -> None:
        assert kept(write(tmp_path, "a.csv", "url\n./sub/a.jpg\n"), "url") == [("a.jpg", {"url": "./sub/a.jpg"})]

    def test_images_inside_containers(self, tmp_path: Path) -> None:
        """The `uri` of a result is accepted in a list, with the values beside it."""
        path = write_parquet(tmp_path / "b.parquet", {"image": [b"1", b"2"]})
        listed = write(tmp_path, "a.csv", f"uri,id\n{path}#row=1,x\n{path}#row=9,y\n{path}#row=0,z\n")
        assert kept(listed, "id") == [("b.parquet#row=1", {"id": "x"}), ("b.parquet#row=0", {"id": "z"})]


class TestJson:
    @pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson", "a.json"])
    def test_values(self, tmp_path: Path, name: str) -> None:
        written: dict[str, str | None] = {
            "7": "7", "-0.10": "-0.10", "1e400": "1e400", "true": "true", "null": None, '"007"': "007", '""': "",
            "123456789012345678901234567890": "123456789012345678901234567890",
            "12345678.123456789012345678": "12345678.123456789012345678",
            '" a\\n\\u00e9"': " a\né", '[1, "a", null, 2.50]': '[1, "a", null, 2.50]', "{}": "{}",
            '{"b":  {"c": [true, "é"]}}': '{"b": {"c": [true, "é"]}}',
        }  # fmt: skip
        lines = [f'{{"url": "{number}.jpg", "v": {value}}}' for number, value in enumerate(written)]
        lines.append('{"url": "last.jpg"}')
        text = f"[{', '.join(lines)}]" if name == "a.json" else "\n".join(lines)
        found = kept(write(tmp_path, name, text), "v")
        assert [values["v"] for _, values in found] == [*written.values(), None]

    def test_fields_of_objects(self, tmp_path: Path) -> None:
        lines = ['{"url": "a.jpg", "m": {"id": 1}}', '{"url": "b.jpg", "m": 2}', '{"url": "c.jpg", "m.id": 3}']
        path = write(tmp_path, "a.jsonl", "\n".join(lines))
        assert [values for _, values in kept(path, "m.id,m")] == [
            {"m.id": "1", "m": '{"id": 1}'},
            {"m.id": None, "m": "2"},
            {"m.id": None, "m": None},
        ]

    def test_a_list_within_an_object_and_items_of_both_kinds(self, tmp_path: Path) -> None:
        coco = '{"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"id": 9}]}'
        assert kept(write(tmp_path, "a.json", coco), "id") == [("a.jpg", {"id": "1"})]
        mixed = '["a.jpg", {"url": "b.jpg", "id": 2}]'
        assert kept(write(tmp_path, "b.json", mixed), "id") == [("a.jpg", {"id": None}), ("b.jpg", {"id": "2"})]
        assert "a list of addresses, without columns" in refusal(write(tmp_path, "c.json", '["a.jpg"]'), "id")

    def test_sizes_are_read_as_well(self, tmp_path: Path) -> None:
        path = write(tmp_path, "a.jsonl", '{"url": "a.jpg", "n": 6.0, "id": 1.0}\n')
        (table,) = open_source(str(path), Store(), size_column="n", keep_columns=("id",))
        assert (table["size"].to_pylist(), table["kept"].to_pylist()) == ([6], ['{"id": "1.0"}'])

    def test_half_characters(self, tmp_path: Path) -> None:
        path = write(
            tmp_path, "a.jsonl", '{"url": "a.jpg", "id": "x\\ud800y"}\n{"url": "b.jpg", "id": "\\ud83d\\ude00"}\n'
        )
        assert [values["id"] for _, values in kept(path, "id")] == ["x\ufffdy", "😀"]

    def test_deep_values(self, tmp_path: Path) -> None:
        """Kept, or refused in one line, up to where JSON itself cannot be parsed."""

        def outcome(deep: str) -> str:
            path = write(tmp_path, "a.jsonl", f'{{"url": "a.jpg", "id": {deep}}}\n')
            try:
                return str(kept(path, "id")[0][1]["id"])
            except UserError as error:
                return str(error)

        for depth in range(100, 2_000, 50):
            deep = "[" * depth + "]" * depth
            found = outcome(deep)
            assert found == deep or "nested too deeply" in found
            assert found == deep or depth > 100

    def test_damaged_lines_and_documents(self, tmp_path: Path) -> None:
        path = write(tmp_path, "a.jsonl", '{"url": "a.jpg", "id": 1}\n{"url": \n{"url": "b.jpg", "id": 2.50}\n')
        assert kept(path, "id", skip_damaged=True) == [("a.jpg", {"id": "1"}), ("b.jpg", {"id": "2.50"})]
        path = write(tmp_path, "a.json", '[{"url": "a.jpg", "id": 1}, {"url": "b.jpg"')
        assert kept(path, "id", skip_damaged=True) == [("a.jpg", {"id": "1"})]


@pytest.mark.parametrize(
    "pack", [gzip.compress, bz2.compress, lzma.compress, lambda data: pa.compress(data, codec="zstd", asbytes=True)]
)
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_compressed_lists(tmp_path: Path, pack: Callable[[bytes], bytes], kind: str) -> None:
    text = b"url,id\na.jpg,01\n" if kind == "csv" else b'{"url": "a.jpg", "id": "01"}\n'
    assert kept(write(tmp_path, f"a.{kind}.gz", pack(text)), "id") == [("a.jpg", {"id": "01"})]


class TestParquet:
    def test_a_list(self, tmp_path: Path) -> None:
        columns = {
            "url": [f"{number}.jpg" for number in range(20_000)],
            "id": list(range(20_000)),
            "label": [None if number % 3 else f"l{number % 5}" for number in range(20_000)],
            "price": [Decimal(f"{number}.10") for number in range(20_000)],
        }
        path = write_parquet(tmp_path / "a.parquet", columns, row_group_size=9_000)
        expected = [
            (f"{number}.jpg", {"label": columns["label"][number], "id": str(number), "price": f"{number}.10"})
            for number in range(20_000)
        ]
        assert kept(path, "label,id,price") == expected

    def test_fields_of_structs_and_odd_names(self, tmp_path: Path) -> None:
        columns = {
            "url": ["a.jpg"],
            "m.x": ["flat"],
            "m": [{"x": 1, "deep": {"y": [1, 2]}}],
            "tags": [["a", None]],
            "": ["empty"],
        }
        path = write_parquet(tmp_path / "a.parquet", columns)
        (row,) = kept(path, "m.x,m.deep.y,m,tags")
        assert row[1] == {
            "m.x": "flat",
            "m.deep.y": "[1, 2]",
            "m": '{"x": 1, "deep": {"y": [1, 2]}}',
            "tags": '["a", null]',
        }

    @pytest.mark.parametrize("group", [1, 2, 100])
    def test_images_in_bytes(self, tmp_path: Path, group: int) -> None:
        rows = [{"bytes": b"%d" % number, "path": f"{number}.jpg"} for number in range(5)]
        columns = {"image": pa.array(rows, STRUCT), "label": [0, 1, None, 1, 0], "id": list("abcde")}
        path = write_parquet(tmp_path / "a.parquet", columns, row_group_size=group)
        labels = ["0", "1", None, "1", "0"]
        expected = [
            (f"a.parquet#row={number}", {"id": "abcde"[number], "label": labels[number]}) for number in range(5)
        ]
        assert kept(path, "id,label") == expected
        assert kept(tmp_path, "id,label") == expected, "a folder of Parquet files"

    @pytest.mark.parametrize("group", [1, 3, 100])
    def test_images_in_lists(self, tmp_path: Path, group: int) -> None:
        rows = [[b"a", b"b"], [], None, [b"c"], [b"d", None]]
        columns = {"images": pa.array(rows, pa.list_(pa.binary())), "id": list(range(5))}
        source, found = read(write_parquet(tmp_path / "a.parquet", columns, row_group_size=group), "id")
        assert [(name.partition("#")[2], values["id"]) for name, values in found] == [
            ("row=0&image=0", "0"),
            ("row=0&image=1", "0"),
            ("row=3&image=0", "3"),
            ("row=4&image=0", "4"),
            ("row=4&image=1", "4"),
        ]
        assert source.left_out.counts == {LeftOutReason.NO_IMAGE: 2}

    @pytest.mark.parametrize("lists", [False, True])
    def test_images_behind_paths(self, tmp_path: Path, lists: bool) -> None:
        rows: list[Any] = [
            {"bytes": None, "path": "0.jpg"},
            {"bytes": b"1", "path": "1.jpg"},
            {"bytes": None, "path": "2.jpg"},
        ]
        values = pa.array([[row] for row in rows], pa.list_(STRUCT)) if lists else pa.array(rows, STRUCT)
        found = dict(kept(write_parquet(tmp_path / "a.parquet", {"image": values, "id": [5, 6, 7]}), "id"))
        inside = "a.parquet#row=1&image=0" if lists else "a.parquet#row=1"
        assert found == {"0.jpg": {"id": "5"}, inside: {"id": "6"}, "2.jpg": {"id": "7"}}

    def test_only_the_named_columns_are_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        rows = [{"bytes": b"1", "path": "x"}] * 9
        columns = {"image": pa.array(rows, STRUCT), "id": list(range(9)), "label": ["x"] * 9}
        path = write_parquet(tmp_path / "a.parquet", columns)
        leaves = []
        batches = ParquetReader.batches

        def noted(self: ParquetReader, leaf: str, *arguments: Any) -> Any:
            leaves.append(leaf)
            return batches(self, leaf, *arguments)

        monkeypatch.setattr(ParquetReader, "batches", noted)
        assert len(kept(path, "id")) == 9
        assert leaves == ["id"]

    def test_a_column_that_is_damaged(self, tmp_path: Path) -> None:
        """Of images as of addresses: the rows of the row group are counted, none with another's values."""
        for name, values in (("url", [f"{number}.jpg" for number in range(9)]), ("image", [b"1"] * 9)):
            path = tmp_path / f"{name}.parquet"
            ids = [os.urandom(20).hex() for _ in range(9)]
            write_parquet(path, {name: values, "id": ids}, row_group_size=3, compression="none", use_dictionary=False)
            data = bytearray(path.read_bytes())
            start = pq.ParquetFile(path).metadata.row_group(1).column(1).data_page_offset
            data[start : start + 30] = bytes(30)
            path.write_bytes(data)
            with pytest.raises(UserError, match="is damaged in row group 1 of column 'id'"):
                kept(path, "id")
            source, found = read(path, "id", skip_damaged=True)
            assert [row["id"] for _, row in found] == ids[:3] + ids[6:]
            assert source.left_out.counts == {LeftOutReason.DAMAGED: 3}
            assert len(kept(path, "")) == 9, "without the column the rest is whole"

    def test_columns_of_bytes_are_refused(self, tmp_path: Path) -> None:
        columns = {
            "url": ["a.jpg"],
            "raw": [b"x"],
            "fixed": pa.array([b"xy"], pa.binary(2)),
            "lists": pa.array([[b"x"]]),
            "struct": pa.array([{"a": 1, "b": b"x"}]),
        }
        path = write_parquet(tmp_path / "a.parquet", columns)
        for name in columns.keys() - {"url"}:
            message = refusal(path, name)
            assert f"column '{name}' of {path} holds " in message
            assert "binary" in message
            assert "is no text" in message
        path = write_parquet(tmp_path / "b.parquet", {"image": [b"1"], "thumb": [b"2"]})
        assert "column 'image' of" in refusal(path, "image")

    def test_text_that_is_not_utf_8(self, tmp_path: Path) -> None:
        raw = pa.array([b"caf\xe9", b"tea"], pa.binary())
        text = pa.StringArray.from_buffers(2, raw.buffers()[1], raw.buffers()[2])
        path = write_parquet(tmp_path / "a.parquet", {"url": ["a.jpg", "b.jpg"], "name": text})
        assert kept(path, "name") == [("a.jpg", {"name": "caf\ufffd"}), ("b.jpg", {"name": "tea"})]
        nested = pa.ListArray.from_arrays(pa.array([0, 1, 2], pa.int32()), text)
        path = write_parquet(tmp_path / "b.parquet", {"url": ["a.jpg", "b.jpg"], "name": nested})
        assert f"column 'name' of {path} has a value that cannot be written as text" in refusal(path, "name")

    def test_in_a_bucket(self, s3_bucket: Bucket, tmp_path: Path) -> None:
        path = write_parquet(tmp_path / "a.parquet", {"image": [b"1", b"2"], "id": ["x", "y"]})
        s3_bucket.put("a.parquet", path.read_bytes())
        found = kept(f"{s3_bucket.url}/a.parquet", "id", store=s3_bucket.store)
        assert found == [("a.parquet#row=0", {"id": "x"}), ("a.parquet#row=1", {"id": "y"})]


class TestManifests:
    def index(self, folder: Path, keep: str = "id,label") -> Path:
        path = write(folder, "a.csv", "url,id,label\na.jpg,1,cat\nb.jpg,2,\n./a.jpg,3,dog\n")
        output = folder / f"manifest-{keep}"
        build_index(str(path), str(output), keep_columns=tuple(keep.split(",")) if keep else None)
        return output

    def test_in_the_manifest_with_the_first_rows_values(self, tmp_path: Path) -> None:
        output = self.index(tmp_path)
        assert manifest(output) == ['{"id": "1", "label": "cat"}', '{"id": "2", "label": ""}']
        assert ManifestReader(str(output), Store()).kept_columns == ("id", "label")

    @pytest.mark.parametrize("part", ["", "/part-00000.parquet"])
    def test_kept_again(self, tmp_path: Path, part: str) -> None:
        source = f"{self.index(tmp_path)}{part}"
        assert kept(source, "") == [("a.jpg", None), ("b.jpg", None)]
        assert kept(source, "id") == [("a.jpg", {"id": "1"}), ("b.jpg", {"id": "2"})]
        assert kept(source, "label,id") == [("a.jpg", {"label": "cat", "id": "1"}), ("b.jpg", {"label": "", "id": "2"})]
        again = build_index(source, str(tmp_path / "again"), keep_columns=("id", "label"))
        assert manifest(tmp_path / "again") == manifest(tmp_path / "manifest-id,label")
        assert again.fingerprint == ManifestReader(str(tmp_path / "manifest-id,label"), Store()).info.fingerprint
        message = refusal(source, "id,lable")
        assert "has no column 'lable' (did you mean 'label'?): its columns are ['id', 'label']" in message
        assert "uri" not in message.partition("columns are")[2]

    @pytest.mark.parametrize("part", ["", "/part-00000.parquet"])
    def test_a_manifest_that_keeps_none(self, tmp_path: Path, part: str) -> None:
        source = f"{self.index(tmp_path, '')}{part}"
        assert "keeps no columns; index its list again with --keep-columns id" in refusal(source, "id")
        file = Path(self.index(tmp_path / ".", "id")) / "part-00000.parquet"
        earlier = Path(f"{source}/part-00000.parquet" if not part else source)
        pq.write_table(pq.read_table(earlier).drop_columns(["kept"]), earlier, row_group_size=16_384)
        assert kept(source, "") == [("a.jpg", None), ("b.jpg", None)], "as earlier versions wrote it"
        assert "keeps no columns" in refusal(source, "id")
        assert file.exists()

    def test_a_part_whose_kept_values_are_none(self, tmp_path: Path) -> None:
        part = Path(self.index(tmp_path)) / "part-00000.parquet"
        table = pq.read_table(part)
        for text in ("nonsense", "[1]", "[" * 100_000):
            bad = pa.array(['{"id": "1"}', text], pa.string())
            path = tmp_path / "bad.parquet"
            pq.write_table(table.set_column(table.schema.get_field_index("kept"), "kept", bad), path)
            assert "are not those of a manifest" in refusal(path, "id")


class TestRefusals:
    def test_names(self, tmp_path: Path) -> None:
        path = write(tmp_path, "a.csv", "url,Product ID,label,label\na.jpg,1,2,3\n")
        assert f"{path} has no column 'product_id' (did you mean 'Product ID'?): its columns are [" in refusal(
            path, "product_id"
        )
        assert "(did you mean 'label'?)" in refusal(path, "lable")
        assert "did you mean" not in refusal(path, "zzz")
        assert f"{path} has 2 columns called 'label'; rename all but one" in refusal(path, "label")
        assert "'x' is named twice" in refusal(path, "x,y,x")
        assert "a name is empty" in refusal(path, "x,,y")
        assert kept(path, "Product ID") == [("a.jpg", {"Product ID": "1"})], "what is not kept may be there twice"
        path = write(tmp_path, "a.jsonl", '{"url": "a.jpg", "id": 1}\n')
        assert (
            "a.jsonl, up to line 1, has no column 'ID' (did you mean 'id'?): its columns are ['url', 'id']"
            in refusal(path, "ID")
        )
        table = pa.Table.from_arrays([pa.array(["a.jpg"]), pa.array([1]), pa.array([2])], ["url", "id", "id"])
        pq.write_table(table, tmp_path / "a.parquet")
        assert "has 2 columns called 'id'" in refusal(tmp_path / "a.parquet", "id")
        assert "has no column 'idd' (did you mean 'id'?)" in refusal(tmp_path / "a.parquet", "idd")
        path = write_parquet(tmp_path / "b.parquet", {"image": [b"1"], "label": [1]})
        assert "has no column 'labels' (did you mean 'label'?)" in refusal(path, "labels")

    def test_sources_without_columns(self, tmp_path: Path) -> None:
        pictures = tmp_path / "pictures"
        pictures.mkdir()
        image = write(pictures, "a.jpg", b"1")
        text = write(tmp_path, "a.txt", "a.jpg\nb.jpg\n")
        (tmp_path / "shards").mkdir()
        with tarfile.open(tmp_path / "shards" / "a.tar", "w") as archive:
            archive.add(image, "a.jpg")
        for source, words in (
            (pictures, "is read as image files"),
            (f"{pictures}/*.jpg", "is read as image files"),
            (image, "is read as image files"),
            (tmp_path / "shards", "is read as tar files"),
            (tmp_path / "shards" / "a.tar", "is read as tar files"),
            (f"{tmp_path}/shards/{{a,b}}.tar", "is read as tar files"),
            (text, "is read as one address on each line"),
        ):
            message = refusal(source, "id")
            assert words in message
            assert ".csv, .tsv, .jsonl, .json and .parquet lists have columns" in message

    def test_values_that_are_too_long(self, tmp_path: Path) -> None:
        fits = "x" * (MAX_KEPT - len('{"id": ""}'))
        path = write(tmp_path, "a.csv", f"url,id\na.jpg,1\nb.jpg,{fits}\n")
        assert len(kept(path, "id")[1][1]["id"]) == len(fits)
        path = write(tmp_path, "a.csv", f"url,id\na.jpg,1\nb.jpg,{fits}x\n")
        assert f"the values of {path} line 3 take more than 32,768 bytes" in refusal(path, "id")
        assert len(kept(path, "url")) == 2
        path = write_parquet(tmp_path / "a.parquet", {"image": [b"1", b"2"], "id": ["1", f"{fits}x"]})
        assert f"the values of {path} row 1 take more than" in refusal(path, "id")

    def test_several_sources_at_once(self, tmp_path: Path) -> None:
        write(tmp_path, "a.csv", "url,id\na.jpg,1\n")
        write(tmp_path, "b.csv", "id,url\n2,b.jpg\n")
        assert kept(f"{tmp_path}/{{a,b}}.csv", "id") == [("a.jpg", {"id": "1"}), ("b.jpg", {"id": "2"})]
        write(tmp_path, "b.csv", "url\nb.jpg\n")
        assert "b.csv has no column 'id'" in refusal(f"{tmp_path}/{{a,b}}.csv", "id")


def test_long_values_are_written_in_bounded_tables(tmp_path: Path) -> None:
    """More of them than one of Arrow's arrays of strings may hold is cut before it is joined."""
    text = "x" * 20_000
    rows = [f"{number}.jpg,{number:05}{text}" for number in range(9_000)]
    path = write(tmp_path, "a.csv", "\n".join(["url,id", *rows]))
    info = build_index(str(path), str(tmp_path / "m"), keep_columns=("id",))
    assert info.rows == 9_000
    values = manifest(tmp_path / "m")
    assert [json.loads(str(value))["id"][:5] for value in values] == [f"{number:05}" for number in range(9_000)]
