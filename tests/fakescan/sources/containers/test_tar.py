"""Tar files: every member is a row that fetches its own bytes, or is counted, or the tar is refused by name."""

import bz2
import gzip
import io
import lzma
import random
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from fakescan.sources.containers.tar import MAX_URI_CHARACTERS, member_uri, tar_entries, tar_members
from fakescan.sources.fetch import Fetcher
from fakescan.sources.listing import list_objects
from fakescan.sources.reading import LeftOutReason, Reading
from fakescan.sources.source import open_source
from fakescan.storage.store import Store
from fakevlm.errors import UserError
from tests.conftest import Bucket
from tests.web_server import Answer, Seen, WebServer

pytestmark = pytest.mark.unit

BLOCK = 512
NAMES = ("a.jpg", "b.jpg", "c.jpg", "d.jpg")
FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    ".tar.gz": gzip.compress,
    ".tgz": gzip.compress,
    ".tar.bz2": bz2.compress,
    ".tar.xz": lzma.compress,
    ".tar.zst": lambda data: pa.compress(data, codec="zstd", asbytes=True),
}


def content(name: str) -> bytes:
    """Bytes that belong to one name; 900 to 2,000 of them."""
    random_bytes = random.Random(name)
    return random_bytes.randbytes(random_bytes.randint(900, 2000))


def header(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE, link: str = "", form: str = "ustar") -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = size, kind, link
    return info.tobuf(FORMATS[form], "utf-8", "surrogateescape")


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % BLOCK)


def member(name: str, data: bytes | None = None, form: str = "ustar") -> bytes:
    data = content(name) if data is None else data
    return header(name, len(data), form=form) + padded(data)


def end(blocks: int = 2) -> bytes:
    return bytes(BLOCK * blocks)


def whole(*names: str, form: str = "ustar") -> bytes:
    return b"".join(member(name, form=form) for name in names) + end()


def with_checksum(block: bytes) -> bytes:
    """The header with the checksum that its other bytes ask for."""
    total = 256 + sum(block[:148]) + sum(block[156:BLOCK])
    return block[:148] + b"%06o\0 " % total + block[156:]


@dataclass
class Found:
    """What became of a tar file."""

    rows: list[dict[str, Any]]
    reading: Reading
    data: bytes

    @property
    def bytes_by_name(self) -> dict[str, bytes]:
        return {
            row["uri"].partition("::")[0].removeprefix("tar://"): self.data[row["offset"] : row["offset"] + row["size"]]
            for row in self.rows
        }

    def holds(self, *names: str) -> bool:
        return self.bytes_by_name == {name: content(name) for name in names}

    @property
    def left_out(self) -> dict[LeftOutReason, int]:
        return dict(self.reading.left_out.counts)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "shard.tar"


def look(path: Path, data: bytes, *, skip_damaged: bool = False, unpacked: bytes | None = None) -> Found:
    path.write_bytes(data)
    reading = Reading(Store(), skip_damaged=skip_damaged)
    tar = pa.table({"uri": [str(path)], "etag": pa.nulls(1, pa.string())})
    rows = [row for table in tar_entries([tar], reading) for row in table.to_pylist()]
    assert reading.left_out.seen == len(rows) + reading.left_out.total
    return Found(rows, reading, data if unpacked is None else unpacked)


def refusal(path: Path, data: bytes) -> str:
    with pytest.raises(UserError) as refused:
        look(path, data)
    assert "\n" not in str(refused.value)
    assert str(refused.value).startswith(str(path))
    return str(refused.value)


A, B, C, D = (member(name) for name in NAMES)
AT_B, AT_C = len(A), len(A + B)


def pax_header(records: bytes) -> bytes:
    return header("PaxHeader", len(records), tarfile.XHDTYPE) + padded(records)


def sized(size_field: bytes) -> bytes:
    """Member b.jpg with these 12 bytes as its size, under a right checksum."""
    return with_checksum(B[:124] + size_field + B[136:BLOCK]) + B[BLOCK:]


DAMAGE = {
    "checksum": (A + B[:150] + b"777777" + B[156:] + C + end(), AT_B, ["a.jpg", "c.jpg"]),
    "name with a flipped bit": (A + b"B" + B[1:] + C + end(), AT_B, ["a.jpg", "c.jpg"]),
    "header overwritten": (A + bytes([7]) * BLOCK + B[BLOCK:] + C + end(), AT_B, ["a.jpg", "c.jpg"]),
    "header zeroed": (A + bytes(BLOCK) + B[BLOCK:] + C + end(), AT_B, ["a.jpg", "c.jpg"]),
    "first header": (bytes([7]) * BLOCK + A[BLOCK:] + B + end(), 0, ["b.jpg"]),
    "block inserted": (A + bytes([7]) * BLOCK + B + end(), AT_B, ["a.jpg", "b.jpg"]),
    "bytes inserted": (A + b"seven77" + B + C + end(), AT_B, ["a.jpg", "b.jpg", "c.jpg"]),
    "block missing": (A + B[:BLOCK] + B[2 * BLOCK :] + C + D + end(), AT_B, ["a.jpg", "c.jpg", "d.jpg"]),
    "size beyond the file": (A + sized(b"77777777777\0") + C + end(), AT_B, ["a.jpg", "c.jpg"]),
    "size beyond any file": (A + sized(b"\x80" + b"\x7f" * 11) + C + end(), AT_B, ["a.jpg", "c.jpg"]),
    "negative size": (A + sized(b"\xff" * 10 + b"\xf0\0") + C + end(), AT_B, ["a.jpg", "c.jpg"]),
    "size that is no number": (A + sized(b"twelve kB. \0") + C + end(), AT_B, ["a.jpg", "c.jpg"]),
    "size too large": (A + sized(b"%011o\0" % (len(B) + 600)) + C + D + end(), AT_B, ["a.jpg", "c.jpg", "d.jpg"]),
    "pax record": (A + pax_header(b"14 path=b.jpg\n99 comment=x\n") + B + C + end(), AT_B, ["a.jpg", "c.jpg"]),
    "pax nonsense": (A + pax_header(b"nonsense" * 9) + B + C + end(), AT_B, ["a.jpg", "c.jpg"]),
    "pax size": (A + pax_header(b"13 size=-500\n") + B + C + end(), AT_B, ["a.jpg", "c.jpg"]),
    "pax header of nothing": (A + pax_header(b"14 path=b.jpg\n") + end(), AT_B + 2 * BLOCK, ["a.jpg"]),
    "long name of nothing": (A + header("l", 9, b"L") + padded(b"long.jpg\0") + end(), AT_B + 2 * BLOCK, ["a.jpg"]),
    "long name without end": (A + header("l", 2**32, b"L") + B + C + end(), AT_B, ["a.jpg", "b.jpg", "c.jpg"]),
    "cut in the data": (A + B + C[:-700], AT_C, ["a.jpg", "b.jpg"]),
    "cut in a header": (A + B + C[:300], AT_C, ["a.jpg", "b.jpg"]),
    "lone block of zeros": (A + end(1) + B + end(), AT_B, ["a.jpg", "b.jpg"]),
    "garbage behind the end mark": (A + B + end() + b"garbage" * 100, AT_C + 2 * BLOCK, ["a.jpg", "b.jpg"]),
    "one byte behind the end mark": (A + B + end() + b"\n", AT_C + 2 * BLOCK, ["a.jpg", "b.jpg"]),
    "cut and continued": (A + B[:-700] + whole("c.jpg"), AT_B, ["a.jpg", "c.jpg"]),
}


class TestDamage:
    @pytest.mark.parametrize("case", DAMAGE)
    def test_is_refused_with_its_place_or_counted(self, case: str, path: Path) -> None:
        data, at, names = DAMAGE[case]
        words = refusal(path, data)
        assert f"byte {at}, after" in words if at else "is not a readable, uncompressed tar file" in words
        assert "--skip-damaged" in words
        found = look(path, data, skip_damaged=True)
        assert found.holds(*names)
        assert found.left_out == {LeftOutReason.DAMAGED: 1}
        assert found.reading.left_out.places[LeftOutReason.DAMAGED].startswith(str(path))
        assert found.reading.notes == []

    @pytest.mark.parametrize("data", [b"", b"<html>no</html>" * 99, b"\xff\xd8\xff" * 999, A[:100]])
    def test_of_a_file_that_is_no_tar(self, data: bytes, path: Path) -> None:
        assert "is not a readable, uncompressed tar file" in refusal(path, data)
        assert look(path, data, skip_damaged=True).left_out == {LeftOutReason.DAMAGED: 1}

    def test_costs_no_other_tar(self, tmp_path: Path) -> None:
        for number in range(20):
            data = whole(f"{number}a.jpg", f"{number}b.jpg")
            (tmp_path / f"{number:02}.tar").write_bytes(data if number % 5 else bytes([7]) * BLOCK + data[BLOCK:])
        found = open_source(str(tmp_path), Store(), skip_damaged=True)
        assert sum(table.num_rows for table in found) == 36
        assert found.left_out.counts == {LeftOutReason.DAMAGED: 4}
        with pytest.raises(UserError, match=r"00\.tar is not a readable"):
            list(open_source(str(tmp_path), Store()))

    def test_message_has_one_short_line(self, path: Path) -> None:
        name = "x\n" * 2000 + ".jpg"
        assert len(refusal(path, member(name, form="gnu") + b"?" * BLOCK)) < 500 + len(str(path))

    def test_chain_of_long_names(self, path: Path) -> None:
        chain = (header("l", 9, b"L") + padded(b"long.jpg\0")) * 5000
        assert look(path, chain + member("x") + end()).rows[0]["uri"].startswith("tar://long.jpg::")


class TestEnd:
    def test_without_an_end_mark(self, tmp_path: Path) -> None:
        for number, blocks in enumerate([0, 0, 2, 1, 20]):
            (tmp_path / f"{number}.tar").write_bytes(member(f"{number}.jpg") + end(blocks))
        found = open_source(str(tmp_path), Store())
        assert sum(table.num_rows for table in found) == 5
        (note,) = found.notes
        assert note == f"2 tar files without an end mark, maybe cut between two members: {tmp_path}/0.tar"

    def test_padding_of_the_last_member_may_be_missing(self, path: Path) -> None:
        found = look(path, A + B[: BLOCK + len(content("b.jpg"))])
        assert found.holds("a.jpg", "b.jpg")
        assert len(found.reading.notes) == 1

    @pytest.mark.parametrize("blocks", [2, 3, 20, 200])
    def test_joined_tars_are_read_to_their_end(self, blocks: int, path: Path) -> None:
        found = look(path, A + end(blocks) + B + end(blocks) + C + end(blocks))
        assert found.holds("a.jpg", "b.jpg", "c.jpg")
        assert "members behind an end mark" in found.reading.notes[0]

    def test_empty_tar(self, path: Path) -> None:
        found = look(path, end(20))
        assert (found.rows, found.left_out, found.reading.notes) == ([], {}, [])


class TestLinks:
    def link(self, name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> bytes:
        return header(name, 0, kind, target)

    @pytest.mark.parametrize(
        ("name", "target", "kind"),
        [
            ("x.jpg", "sub/a.jpg", tarfile.LNKTYPE),
            ("x.jpg", "./sub/a.jpg", tarfile.LNKTYPE),
            ("deep/x.jpg", "sub/a.jpg", tarfile.LNKTYPE),
            ("x.jpg", "sub/a.jpg", tarfile.SYMTYPE),
            ("./deep/er/x.jpg", "../../sub/a.jpg", tarfile.SYMTYPE),
            ("sub/x.jpg", "a.jpg", tarfile.SYMTYPE),
            ("sub/x.jpg", ".././sub//a.jpg", tarfile.SYMTYPE),
        ],
    )
    @pytest.mark.parametrize("first", [True, False])
    def test_are_rows_with_the_bytes_of_their_target(
        self, name: str, target: str, kind: bytes, first: bool, path: Path
    ) -> None:
        parts = [member("./sub/a.jpg"), self.link(name, target, kind)]
        found = look(path, b"".join(reversed(parts) if first else parts) + end())
        assert found.bytes_by_name == {"./sub/a.jpg": content("./sub/a.jpg"), name: content("./sub/a.jpg")}
        assert found.left_out == {}

    def test_over_links_and_linked_folders(self, path: Path) -> None:
        data = (
            member("2026/a.jpg")
            + self.link("one.jpg", "two.jpg")
            + self.link("two.jpg", "three.jpg", tarfile.LNKTYPE)
            + self.link("three.jpg", "now/a.jpg")
            + self.link("now", "latest")
            + self.link("latest", "./2026")
            + end()
        )
        found = look(path, data)
        assert {name for name in found.bytes_by_name} == {"2026/a.jpg", "one.jpg", "two.jpg", "three.jpg"}
        assert set(found.bytes_by_name.values()) == {content("2026/a.jpg")}
        assert found.left_out == {LeftOutReason.LINK: 2}  # those to the folder

    @pytest.mark.parametrize("target", ["/etc/passwd", "../a.jpg", "missing.jpg", "x.jpg", "y.jpg", "folder", ".", ""])
    def test_that_lead_to_no_file_are_counted(self, target: str, path: Path) -> None:
        folder = header("folder", 0, tarfile.DIRTYPE)
        found = look(path, A + folder + self.link("y.jpg", "x.jpg") + self.link("x.jpg", target) + end())
        assert found.holds("a.jpg")
        assert found.left_out == {LeftOutReason.LINK: 2}
        assert found.reading.left_out.places[LeftOutReason.LINK] == f"tar://y.jpg::{path}"

    def test_hard_link_with_the_size_of_its_target(self, path: Path) -> None:
        size = len(content("a.jpg"))
        found = look(path, A + header("x.jpg", size, tarfile.LNKTYPE, "a.jpg") + B + end())
        assert found.bytes_by_name == {name: content("b.jpg" if name == "b.jpg" else "a.jpg") for name in
                                       ("a.jpg", "b.jpg", "x.jpg")}  # fmt: skip

    def test_hard_link_with_data(self, path: Path) -> None:
        link = header("c.jpg", len(content("c.jpg")), tarfile.LNKTYPE, "a.jpg")
        assert look(path, A + link + padded(content("c.jpg")) + B + end()).holds("a.jpg", "b.jpg", "c.jpg")


class TestKinds:
    def test_what_is_no_file_is_counted(self, path: Path) -> None:
        kinds = (tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, b"Z")
        data = b"".join(header(f"{kind!r}.jpg", 0, kind) for kind in kinds)
        found = look(path, A + data + header("folder.jpg", 0, tarfile.DIRTYPE) + B + end())
        assert found.holds("a.jpg", "b.jpg")
        assert found.left_out == {LeftOutReason.NOT_A_FILE: 4}
        assert found.reading.left_out.seen == 6

    def test_folders_of_before_there_were_kinds(self, path: Path) -> None:
        found = look(path, header("old.jpg/", 0, tarfile.AREGTYPE) + A + end())
        assert found.holds("a.jpg")
        assert found.reading.left_out.seen == 1

    def test_sparse_members_are_counted(self, path: Path) -> None:
        holes = b"".join(b"%011o\0" % number for number in (0, 512, 4096, 512)) + bytes(48)
        old = bytearray(header("old.jpg", 1024, tarfile.GNUTYPE_SPARSE, form="gnu"))
        old[386 : 386 + len(holes)] = holes
        old[482] = 1
        old[483:495] = b"%011o\0" % 8192
        new = b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n25 GNU.sparse.name=a.jpg\n"
        data = with_checksum(bytes(old)) + bytes(BLOCK) + bytes([7]) * 1024
        data += pax_header(new) + header("GNUSparseFile.0/a.jpg", 1024) + padded(b"1\n0\n512\n") + bytes([7]) * 512
        found = look(path, data + B + end())
        assert found.holds("b.jpg")
        assert found.left_out == {LeftOutReason.SPARSE: 2}

    def test_global_headers(self, path: Path) -> None:
        comment = b"18 comment=abcdef\n"
        head = header("pax_global_header", len(comment), tarfile.XGLTYPE) + padded(comment)
        assert look(path, head + A + head + B + head + end()).holds("a.jpg", "b.jpg")

    def test_times_of_incremental_gnu_tars_are_no_folder(self, path: Path) -> None:
        block = bytearray(header("a.jpg", len(content("a.jpg")), form="gnu"))
        block[345:369] = b"14747127342\00014747127342\0"
        assert look(path, with_checksum(bytes(block)) + A[BLOCK:] + end()).holds("a.jpg")


NASTY = {
    "latin-1": b"caf\xe9.jpg",
    "latin-1 too": b"caf\xe8.jpg",
    "absolute": b"/etc/a.jpg",
    "upwards": b"../../a.jpg",
    "colons": b"a::b.jpg",
    "colons of an address": b"s3::https://h/x.jpg",
    "colon at the end": b"a.jpg:",
    "newline": b"a\nb.jpg",
    "carriage return and tab": b"a\r\tb.jpg",
    "spaces": b" a b .jpg",
    "percent": b"100%25.jpg",
    "query": b"a.jpg?X-Amz-Signature=b",
    "hash": b"a#row=1.jpg",
    "braces": b"{a,b}[1]*.jpg",
    "emoji": "🦊é.jpg".encode(),
    "dots": b"..jpg",
    "long": b"d/" * 2000 + b"a.jpg",
    "quotes": b"\"'`.jpg",
}


def nasty_tar(form: str, names: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=FORMATS[form], encoding="utf-8") as archive:
        for key, name in names.items():
            info = tarfile.TarInfo(name.decode(errors="surrogateescape"))
            info.size = len(content(key))
            archive.addfile(info, io.BytesIO(content(key)))
    return buffer.getvalue()


class TestNames:
    @pytest.mark.parametrize("form", ["gnu", "pax"])
    @pytest.mark.parametrize("extension", [".tar", ".tar.gz"])
    def test_each_is_a_row_that_fetches_its_own_bytes(self, form: str, extension: str, tmp_path: Path) -> None:
        path = tmp_path / f"shard{extension}"
        data = nasty_tar(form, NASTY)
        path.write_bytes(data if extension == ".tar" else gzip.compress(data))
        reading = Reading(Store())
        table = pa.concat_tables(tar_entries(list_objects(str(path), reading), reading))
        uris = table["uri"].to_pylist()
        assert len(set(uris)) == len(uris) == len(NASTY)
        assert all(uri.isprintable() and uri.endswith(f"::{path}") and uri.count("::") == 1 for uri in uris)
        fetched = Fetcher(Store()).fetch(table)
        assert [image.data for image in fetched] == [content(key) for key in NASTY]

    def test_doubled_names_are_duplicates(self, path: Path) -> None:
        path.write_bytes(A + member("a.jpg", b"other") + B + end())
        table = pa.concat_tables(open_source(str(path), Store()))
        assert table["uri"].to_pylist().count(member_uri("a.jpg", str(path))) == 2
        assert tar_members(str(path), Reading(Store()))[member_uri("a.jpg", str(path))] == (
            BLOCK,
            len(content("a.jpg")),
        )

    def test_no_name_and_one_that_nothing_stores(self, path: Path) -> None:
        names = {"none": b"", "endless": b"n" * MAX_URI_CHARACTERS}
        found = look(path, nasty_tar("gnu", names))
        assert list(found.bytes_by_name.items()) == [("", content("none"))]
        assert found.left_out == {LeftOutReason.BAD_ADDRESS: 1}


class TestCompressed:
    @pytest.mark.parametrize("extension", PACKERS)
    @pytest.mark.parametrize("kind", ["file", "s3", "memory"])
    def test_members_are_rows_and_fetched(
        self, extension: str, kind: str, tmp_path: Path, request: pytest.FixtureRequest
    ) -> None:
        url, store = str(tmp_path), Store()
        names = [f"{number}.jpg" for number in range(40)]
        data = PACKERS[extension](whole(*names, "label.json", form="pax"))
        if kind == "s3":
            bucket: Bucket = request.getfixturevalue("s3_bucket")
            url, store = bucket.url, bucket.store
            bucket.put(f"set/shard{extension}", data)
        else:
            url = url if kind == "file" else f"memory://{tmp_path.name}"
            filesystem, root = store.filesystem(url)
            filesystem.makedirs(f"{root}/set", exist_ok=True)
            filesystem.pipe_file(f"{root}/set/shard{extension}", data)
        for source in (f"{url}/set", f"{url}/set/shard{extension}"):
            table = pa.concat_tables(open_source(source, store))
            assert table["uri"].to_pylist() == [f"tar://{name}::{url}/set/shard{extension}" for name in names]
        chosen = [39, 3, 4, 3, 17]
        images = Fetcher(store).fetch(table.take(chosen))
        assert [image.data for image in images] == [content(names[number]) for number in chosen]

    def test_over_http_in_one_request(self, web: WebServer) -> None:
        web.answers["/shard.tgz"] = Answer(gzip.compress(whole(*NAMES)), length=False)
        table = pa.concat_tables(open_source(f"{web.url}/shard.tgz?token=secret", Store()))
        web.seen.clear()
        images = Fetcher(Store()).fetch(table)
        assert [image.data for image in images] == [content(name) for name in NAMES]
        assert len(web.seen) == 2  # what it is, and all of it
        assert not any("range" in seen.headers for seen in web.seen)

    def test_replaced(self, tmp_path: Path) -> None:
        path = tmp_path / "shard.tgz"
        path.write_bytes(gzip.compress(whole(*NAMES)))
        table = pa.concat_tables(open_source(str(path), Store()))
        path.write_bytes(gzip.compress(whole("a.jpg")))
        assert {image.error_code for image in Fetcher(Store()).fetch(table)} == {"changed"}

    @pytest.mark.parametrize("extension", PACKERS)
    @pytest.mark.parametrize("harm", ["cut", "overwritten", "followed by garbage"])
    def test_damage(self, extension: str, harm: str, tmp_path: Path) -> None:
        path = tmp_path / f"shard{extension}"
        names = [f"{number}.jpg" for number in range(400)]
        data = PACKERS[extension](whole(*names))
        middle = len(data) // 2
        hurt = {
            "cut": data[:middle],
            "overwritten": data[:middle] + bytes(5000) + data[middle + 5000 :],
            "followed by garbage": data + b"garbage" * 9,
        }[harm]
        if (extension, harm) == (".tar.zst", "overwritten"):
            pytest.skip("without checksums, which are optional, nothing tells wrong bytes from right ones")
        words = refusal(path, hurt)
        assert ("of what it unpacks to, after" in words) or extension == ".tar.bz2"  # which has blocks of 900 kB
        found = look(path, hurt, skip_damaged=True, unpacked=whole(*names))
        assert found.left_out[LeftOutReason.DAMAGED] >= 1
        fetched = Fetcher(Store()).fetch(pa.Table.from_pylist(found.rows, schema=table_schema()))
        for row, image in zip(found.rows, fetched, strict=True):
            name = row["uri"].partition("::")[0].removeprefix("tar://")
            assert image.data == content(name) or harm == "overwritten"

    def test_ends_early_when_fetched(self, tmp_path: Path) -> None:
        path = tmp_path / "shard.tgz"
        data = gzip.compress(whole(*NAMES))
        path.write_bytes(data)
        table = pa.concat_tables(open_source(str(path), Store())).drop_columns("etag")
        table = table.append_column("etag", pa.nulls(4, pa.string()))
        path.write_bytes(data[: len(data) // 2])
        images = Fetcher(Store()).fetch(table)
        assert images[0].data == content("a.jpg")
        assert images[3].error_code == "truncated"

    def test_compressed_without_saying_so(self, path: Path) -> None:
        assert "rename it to end in .tar.gz" in refusal(path, gzip.compress(whole(*NAMES)))
        assert "rename it to end in .tar.xz" in refusal(path, lzma.compress(whole(*NAMES)))

    def test_plain_under_a_compressed_name(self, tmp_path: Path) -> None:
        assert look(tmp_path / "shard.tgz", whole(*NAMES)).holds(*NAMES)

    @pytest.mark.parametrize(
        ("name", "start"),
        [("a.zip", b"PK\3\4"), ("a.rar", b"Rar!\x1a\7"), ("a.tar", b"PK\3\4"), ("a.7z", b"7z\xbc\xaf'\x1c")],
    )
    def test_other_archives_are_refused_with_what_to_do(self, name: str, start: bytes, tmp_path: Path) -> None:
        (tmp_path / name).write_bytes(start + bytes(5000))
        with pytest.raises(UserError, match=f"{name} is a .* file: unpack it, or pack it again as .tar"):
            list(open_source(str(tmp_path / name), Store()))


def table_schema() -> pa.Schema:
    return pa.schema(
        [("uri", pa.string()), ("size", pa.int64()), ("etag", pa.string()), ("object", pa.string()),
         ("offset", pa.int64())]
    )  # fmt: skip


class TestRemote:
    def test_big_members_are_jumped_over(self, web: WebServer) -> None:
        big = {name: content(name) * 2000 for name in NAMES}
        data = b"".join(member(name, body) for name, body in big.items()) + end()

        def answer(seen: Seen) -> Answer:
            if "range" not in seen.headers:
                return Answer(data)
            first, last = map(int, seen.headers["range"].removeprefix("bytes=").split("-"))
            sent.append(len(data[first : last + 1]))
            return Answer(data[first : last + 1], 206, {"Content-Range": f"bytes {first}-{last}/{len(data)}"})

        sent: list[int] = []
        web.answers["/a.tar"] = answer
        reading = Reading(Store())
        (table,) = tar_entries([pa.table({"uri": [f"{web.url}/a.tar"], "etag": [None]})], reading)
        assert table["size"].to_pylist() == [len(body) for body in big.values()]
        assert sum(sent) <= 5 * 2**18
        assert len(sent) <= 5


class TestMembers:
    def test_offset_and_size_by_uri(self, tmp_path: Path) -> None:
        for name, data in {"a.tar": whole(*NAMES), "b.tgz": gzip.compress(whole(*NAMES))}.items():
            (tmp_path / name).write_bytes(data)
            tar = str(tmp_path / name)
            members = tar_members(tar, Reading(Store()))
            assert members[f"tar://b.jpg::{tar}"] == (AT_B + BLOCK, len(content("b.jpg")))
            assert len(members) == 4

    def test_are_found_behind_damage(self, path: Path) -> None:
        path.write_bytes(A + bytes([7]) * BLOCK + B[BLOCK:] + C + end())
        reading = Reading(Store())
        assert set(tar_members(str(path), reading)) == {f"tar://{name}::{path}" for name in ("a.jpg", "c.jpg")}
        assert reading.left_out.seen == 0

    @pytest.mark.parametrize("data", [b"", b"<html>", gzip.compress(b"x", mtime=0)])
    def test_of_no_tar(self, data: bytes, path: Path) -> None:
        path.write_bytes(data)
        with pytest.raises(UserError, match=r"shard\.tar is "):
            tar_members(str(path), Reading(Store()))

    def test_of_a_missing_tar(self, path: Path) -> None:
        with pytest.raises(UserError, match=r"cannot read .*shard\.tar"):
            tar_members(str(path), Reading(Store()))


def healthy(rng: random.Random) -> tuple[bytes, dict[str, tuple[int, int]]]:
    """A tar with members of all kinds, and the span of each regular one with its headers."""
    form = rng.choice(list(FORMATS.values()))
    buffer = io.BytesIO()
    spans: dict[str, tuple[int, int]] = {}
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for number in range(rng.randint(1, 8)):
            name = (
                f"{number}.jpg" if form == tarfile.USTAR_FORMAT or rng.random() < 0.7 else f"{'d' * 120}/{number}.jpg"
            )
            info = tarfile.TarInfo(name)
            info.type = rng.choice([tarfile.REGTYPE] * 8 + [tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.FIFOTYPE])
            info.linkname = "0.jpg" if info.type == tarfile.SYMTYPE else ""
            start = buffer.tell()
            if info.type == tarfile.REGTYPE:
                info.size = rng.choice([0, 1, 511, 512, 513, rng.randint(0, 3000)])
                spans[name] = (start, 0)
            archive.addfile(info, io.BytesIO(rng.randbytes(info.size)))
            if name in spans:
                spans[name] = (start, buffer.tell())
    return buffer.getvalue(), spans


def mutated(tar: bytes, rng: random.Random) -> bytes:
    data = bytearray(tar)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        at = rng.randrange(len(data)) if data else 0
        block = at // BLOCK * BLOCK
        match rng.randrange(9):
            case 0 if data:
                data[at] ^= 1 << rng.randrange(8)
            case 1:
                heads = [place for place in range(0, len(data), BLOCK) if data[place + 257 : place + 262] == b"ustar"]
                for place in rng.sample(heads, min(1, len(heads))):
                    data[place + rng.randrange(min(BLOCK, len(data) - place))] = rng.randrange(256)
            case 2:
                del data[at:]
            case 3:
                del data[block : block + BLOCK * rng.randint(1, 3)]
            case 4:
                data[block:block] = rng.choice([rng.randbytes(BLOCK), bytes(BLOCK), bytes(2 * BLOCK)])
            case 5:
                data += healthy(rng)[0]
            case 6:
                data[block : block + BLOCK] = bytes(len(data[block : block + BLOCK]))
            case 7:
                data[at:at] = rng.randbytes(rng.randint(1, 600))
            case 8:
                del data[at : at + rng.randint(1, 600)]
    return bytes(data)


class TestMutations:
    @pytest.mark.parametrize("extension", [".tar", ".tgz"])
    def test_rows_or_one_line(self, extension: str, tmp_path: Path) -> None:
        """No exception but `UserError`; every row within the tar; all that is seen is a row or counted."""
        path = tmp_path / f"shard{extension}"
        refused = 0
        for seed in range(1500 if extension == ".tar" else 500):
            rng = random.Random(seed)
            data = mutated(healthy(rng)[0], rng)
            packed = data if extension == ".tar" else gzip.compress(data, 1)
            strict = None
            try:
                strict = look(path, packed)
            except UserError as error:
                refused += 1
                one_line = "\n" not in str(error)
            assert strict is not None or one_line
            found = look(path, packed, skip_damaged=True)
            assert all(0 <= row["offset"] <= row["offset"] + row["size"] <= len(data) for row in found.rows)
            assert (strict is None) == (found.reading.left_out.counts[LeftOutReason.DAMAGED] > 0)
            assert strict is None or strict.rows == found.rows
        assert refused > 200

    def test_one_overwritten_header_costs_one_member(self, tmp_path: Path) -> None:
        for seed in range(300):
            rng = random.Random(seed)
            data, spans = healthy(rng)
            heads = [place for place in range(0, len(data), BLOCK) if data[place + 257 : place + 262] == b"ustar"]
            at = rng.choice(heads)
            hurt = data[:at] + rng.randbytes(BLOCK) + data[at + BLOCK :]
            found = look(tmp_path / "shard.tar", hurt, skip_damaged=True)
            assert found.left_out[LeftOutReason.DAMAGED] == 1
            lost = [name for name, (start, stop) in spans.items() if start <= at < stop]
            assert set(spans) - set(lost) <= set(found.bytes_by_name)

    @pytest.mark.parametrize("extension", PACKERS)
    def test_of_compressed_streams(self, extension: str, tmp_path: Path) -> None:
        packed = PACKERS[extension](whole(*(f"{number}.jpg" for number in range(30))))
        for seed in range(60):
            rng = random.Random(seed)
            hurt = bytearray(packed)
            for _ in range(rng.choice([1, 10])):
                hurt[rng.randrange(6, len(hurt))] ^= 1 << rng.randrange(8)
            if seed % 3 == 0:
                del hurt[rng.randrange(len(hurt)) :]
            found = look(tmp_path / f"shard{extension}", bytes(hurt), skip_damaged=True)
            Fetcher(Store()).fetch(pa.Table.from_pylist(found.rows, schema=table_schema()))
