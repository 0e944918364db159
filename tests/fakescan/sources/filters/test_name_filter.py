"""Patterns: what --glob and --exclude are matched against, for each kind of source."""

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fakescan.sources.index import build_index
from fakescan.sources.manifest import ManifestReader
from fakescan.sources.reading import LeftOutReason
from fakescan.sources.source import Source, open_source
from fakescan.storage.store import Store
from fakevlm.errors import UserError
from tests.fakescan.sources.conftest import IMAGES, JPEG, NO_IMAGES, Place, fill, read, rows_of, tar_bytes
from tests.web_server import Answer, WebServer

pytestmark = pytest.mark.unit

FILES = ("a.jpg", "b.png", "key", "x/a.jpg", "x/thumbs/t.jpg", "x/y/thumbs/u.jpg", "thumbs/v.jpg", "note.txt")


def uris(source: str, **options: Any) -> tuple[Source, list[str]]:
    """A source, and its URIs in full."""
    found = open_source(source, Store(), **options)
    return found, rows_of(found)


class TestFolders:
    @pytest.mark.parametrize(
        ("exclude", "left"),
        [
            (["*.png"], {"a.jpg", "key", "x/a.jpg", "x/thumbs/t.jpg", "x/y/thumbs/u.jpg", "thumbs/v.jpg"}),
            (["thumbs/*"], {"a.jpg", "b.png", "key", "x/a.jpg", "x/thumbs/t.jpg", "x/y/thumbs/u.jpg"}),
            (["**/thumbs/**"], {"a.jpg", "b.png", "key", "x/a.jpg"}),
            (["/a.jpg"], {"b.png", "key", "x/a.jpg", "x/thumbs/t.jpg", "x/y/thumbs/u.jpg", "thumbs/v.jpg"}),
            (["a.*", "[k-v]*"], {"b.png"}),
            (["x/**", "thumbs/**", "key"], {"a.jpg", "b.png"}),
            (["X/*", "*.JPG", "none"], {*FILES} - {"note.txt"}),
        ],
    )  # fmt: skip
    def test_what_is_excluded_is_counted(self, each_place: Place, exclude: list[str], left: set[str]) -> None:
        for name in FILES:
            each_place.put(f"in/{name}", JPEG)
        source, found = read(f"{each_place.url}/in", each_place.store, exclude=exclude)
        assert set(found) == left
        gone = source.left_out.counts[LeftOutReason.PATTERN]
        assert gone + source.left_out.counts[LeftOutReason.EXTENSION] == len(FILES) - len(left)

    def test_together_with_what_is_asked_for(self, tmp_path: Path) -> None:
        folder = fill(tmp_path, dict.fromkeys(FILES, JPEG))
        assert read(folder, glob=["x/**"], exclude=["**/thumbs/*"])[1] == ["x/a.jpg"]
        assert read(folder, extensions=("jpg",), exclude=["x/**", "thumbs/*"])[1] == ["a.jpg"]
        assert read(folder, extensions=("any",), exclude=["*.jpg"])[1] == ["b.png", "key", "note.txt"]

    def test_names_below_a_pattern_count_from_its_folder(self, tmp_path: Path) -> None:
        fill(tmp_path, dict.fromkeys(FILES, JPEG))
        found = uris(f"{tmp_path}/x/**/*.jpg", exclude=["y/**"])[1]
        assert found == [f"{tmp_path}/x/a.jpg", f"{tmp_path}/x/thumbs/t.jpg"]

    def test_what_is_excluded_is_not_looked_at(self, tmp_path: Path) -> None:
        folder = fill(tmp_path, {"a.jpg": JPEG, **NO_IMAGES})
        source, found = read(folder, exclude=["[A-Z_]*", "p*", "drawing", "short"])
        assert found == ["a.jpg"]
        assert source.left_out.counts == {LeftOutReason.PATTERN: len(NO_IMAGES)}

    def test_nothing_left_is_said_with_the_reason(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=r"no images found under .* \(8 with names that were not asked for\)"):
            read(fill(tmp_path, dict.fromkeys(FILES, JPEG)), exclude=["**"])

    def test_a_folder_whose_name_is_not_utf8(self, tmp_path: Path) -> None:
        folder = bytes(tmp_path) + b"/in\xff"
        for name in (b"x", b"y"):
            path = folder + b"/" + name
            os.makedirs(path)
            Path(os.fsdecode(path + b"/a.jpg")).write_bytes(JPEG)
        found = uris(f"file://{tmp_path}/in%FF", exclude=["x/*"])[1]
        assert [uri.rpartition("%FF")[2] for uri in found] == ["/y/a.jpg"]

    @pytest.mark.parametrize("setting", ["glob", "exclude"])
    @pytest.mark.parametrize("pattern", ["", "/", "[z-a]*"])
    def test_what_is_no_pattern_is_refused(self, setting: str, pattern: str, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=rf"^{setting}: .* is no pattern"):
            open_source(str(tmp_path), Store(), **{setting: [pattern]})  # type: ignore[arg-type]

    @pytest.mark.parametrize("pattern", ["a[b", "(a|b)", "a+b", "a\\b", "{a,b}", "ä*", "a b", "$^", "[!a]", "[]]"])
    def test_whatever_else_is_a_pattern(self, pattern: str, tmp_path: Path) -> None:
        folder = fill(tmp_path, {"zz.png": JPEG, f"in/{pattern}": JPEG})
        assert "zz.png" in read(folder, exclude=[f"in/{pattern}"])[1]


class TestLists:
    ADDRESSES = (
        "https://h/2026/a.jpg?size=2#top", "https://h/2026/b", "https://h/2025/c.jpg", "s3://bucket/2026/d.png",
        "s3://bucket/x/2026/deep/e.jpg", "/data/2026/f.jpg", "relative.jpg",
    )  # fmt: skip

    @pytest.mark.parametrize(
        ("pattern", "matched"),
        [
            ("*.jpg", {"a.jpg?size=2#top", "c.jpg", "e.jpg", "f.jpg", "relative.jpg"}),
            ("2026/*", {"a.jpg?size=2#top", "b", "d.png", "f.jpg"}),
            ("2026/**", {"a.jpg?size=2#top", "b", "d.png", "e.jpg", "f.jpg"}),
            ("s3://bucket/**", {"d.png", "e.jpg"}),
            ("https://h/2026/*", {"a.jpg?size=2#top", "b"}),
            ("/data/**", {"f.jpg"}),
            ("?", {"b"}),
        ],
    )
    def test_the_end_of_the_address_from_any_slash_on(self, pattern: str, matched: set[str], tmp_path: Path) -> None:
        (tmp_path / "list.txt").write_text("\n".join(self.ADDRESSES))
        every = {uri.rpartition("/")[2] for uri in self.ADDRESSES}
        build_index(f"{tmp_path}/list.txt", f"{tmp_path}/manifest")
        for source in ("list.txt", "manifest"):
            kept, found = uris(f"{tmp_path}/{source}", glob=[pattern])
            assert {uri.rpartition("/")[2] for uri in found} == matched
            assert kept.left_out.counts == {LeftOutReason.PATTERN: len(every - matched)}
            dropped, found = uris(f"{tmp_path}/{source}", exclude=[pattern])
            assert {uri.rpartition("/")[2] for uri in found} == every - matched
            assert dropped.left_out.counts == {LeftOutReason.PATTERN: len(matched)}

    def test_images_in_containers_are_called_as_if_those_were_folders(self, tmp_path: Path) -> None:
        fill(tmp_path, {"0.tar": tar_bytes({"./thumbs/a.jpg": JPEG, "b.jpg": JPEG})})
        pq.write_table(pa.table({"image": [JPEG, JPEG]}), tmp_path / "1.parquet")
        build_index(f"{tmp_path}/0.tar", f"{tmp_path}/tar")
        build_index(f"{tmp_path}/1.parquet", f"{tmp_path}/parquet")
        assert uris(f"{tmp_path}/tar", exclude=["thumbs/*"])[1] == [f"tar://b.jpg::{tmp_path}/0.tar"]
        assert uris(f"{tmp_path}/tar", glob=["0.tar/b.*"])[1] == [f"tar://b.jpg::{tmp_path}/0.tar"]
        assert len(uris(f"{tmp_path}/parquet", glob=["*.parquet"])[1]) == 2
        with pytest.raises(UserError, match="2 with names that were not asked for"):
            uris(f"{tmp_path}/parquet", exclude=["1.parquet"])

    def test_addresses_without_extension_stay_when_others_are_excluded(self, tmp_path: Path) -> None:
        (tmp_path / "list.txt").write_text("/data/a\n/data/b.txt\n/data/._c\n/data/d.png\n")
        assert uris(f"{tmp_path}/list.txt", exclude=["*.png"])[1] == ["/data/a", "/data/b.txt", "/data/._c"]


class TestTars:
    MEMBERS = ("a.jpg", "./thumbs/b.jpg", "x/thumbs/c.jpg", "x/key", "x/label.json")

    @pytest.mark.parametrize(
        ("options", "found"),
        [
            ({}, ["a.jpg", "./thumbs/b.jpg", "x/thumbs/c.jpg", "x/key"]),
            ({"exclude": ["thumbs/*"]}, ["a.jpg", "x/thumbs/c.jpg", "x/key"]),
            ({"exclude": ["**/thumbs/*"]}, ["a.jpg", "x/key"]),
            ({"exclude": ["?.jpg"]}, ["x/key"]),
            ({"glob": ["x/**"]}, ["x/thumbs/c.jpg", "x/key"]),
            ({"glob": ["x/**"], "exclude": ["*.jpg"]}, ["x/key"]),
            ({"glob": ["x/**"], "extensions": ("any",)}, ["x/thumbs/c.jpg", "x/key", "x/label.json"]),
            ({"glob": ["x/**"], "extensions": ("json",)}, ["x/label.json"]),
        ],
    )
    def test_members_of_a_tar_that_is_named(self, options: dict[str, Any], found: list[str], tmp_path: Path) -> None:
        fill(tmp_path, {"0.tar": tar_bytes(dict.fromkeys(self.MEMBERS, JPEG))})
        for source in ("0.tar", "{0..0}.tar"):
            rows = uris(f"{tmp_path}/{source}", **options)[1]
            assert [uri.partition("::")[0].removeprefix("tar://") for uri in rows] == found

    def test_in_a_folder_globs_choose_tars_and_what_is_excluded_may_be_either(self, tmp_path: Path) -> None:
        for number in range(3):
            fill(tmp_path, {f"{number}.tar": tar_bytes({"a.jpg": JPEG, "thumbs/b.jpg": JPEG})})
        assert len(uris(str(tmp_path))[1]) == 6
        assert len(uris(str(tmp_path), glob=["0.*"])[1]) == 2
        assert len(uris(f"{tmp_path}/*.tar", exclude=["0.tar"])[1]) == 4
        source, found = uris(str(tmp_path), exclude=["0.tar", "thumbs/*"])
        assert found == [f"tar://a.jpg::{tmp_path}/{number}.tar" for number in (1, 2)]
        assert source.left_out.counts == {LeftOutReason.PATTERN: 3}


class TestParquet:
    def test_in_a_folder_patterns_choose_files(self, tmp_path: Path) -> None:
        for number in range(3):
            pq.write_table(pa.table({"image": [JPEG, JPEG]}), tmp_path / f"{number}.parquet")
        assert len(uris(str(tmp_path), glob=["[01].*"])[1]) == 4
        source, found = uris(str(tmp_path), exclude=["0.parquet"])
        assert len(found) == 4
        assert source.left_out.counts == {LeftOutReason.PATTERN: 1}

    def test_addresses_in_files_of_a_folder_are_not_what_globs_choose(self, tmp_path: Path) -> None:
        pq.write_table(pa.table({"path": ["a.jpg", "b.png"]}), tmp_path / "list.parquet")
        assert uris(str(tmp_path), glob=["*.parquet"])[1] == [f"{tmp_path}/a.jpg", f"{tmp_path}/b.png"]
        assert uris(str(tmp_path), exclude=["*.png"])[1] == [f"{tmp_path}/a.jpg"]

    @pytest.mark.parametrize("options", [{"glob": ["*.jpg"]}, {"exclude": ["*"]}, {"extensions": ("jpg",)}])
    def test_a_file_named_in_full_is_taken_whole(self, options: dict[str, Any], tmp_path: Path) -> None:
        pq.write_table(pa.table({"image": [JPEG]}), tmp_path / "a.parquet")
        fill(tmp_path, {"b.png": IMAGES["PNG"]})
        for name in ("a.parquet", "b.png"):
            source, found = uris(f"{tmp_path}/{name}", **options)
            assert len(found) == 1
            assert source.notes == [
                "a file named in full is taken whole: --glob, --exclude and --extensions have no say in it"
            ]
        assert uris(f"{tmp_path}/a.parquet")[0].notes == []

    def test_of_many_columns_it_is_said_how_many_more(self, tmp_path: Path) -> None:
        columns = {f"view_{number}": [{"bytes": JPEG, "path": None}] for number in range(9)}
        pq.write_table(pa.table(columns), tmp_path / "a.parquet")
        (note,) = uris(f"{tmp_path}/a.parquet")[0].notes
        assert note.endswith(" or 'view_5' or 3 more; --column chooses")

    def test_a_web_address_that_is_named(self, web: WebServer) -> None:
        web.answers["/a.jpg"] = Answer(JPEG)
        source, found = uris(f"{web.url}/a.jpg", exclude=["*.jpg"])
        assert found == [f"{web.url}/a.jpg"]
        assert "named in full" in source.notes[0]


def test_a_manifest_keeps_what_was_left_out(tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", dict.fromkeys(FILES, JPEG))
    info = build_index(folder, f"{tmp_path}/out", exclude=["**/thumbs/**"])
    assert info == ManifestReader(f"{tmp_path}/out", Store()).info
    assert (info.rows, info.seen) == (4, 8)
    assert info.left_out == {"with names that were not asked for": 3, "with other extensions": 1}
    assert "left out: 3 with names that were not asked for, such as " in "\n".join(info.account())
    assert info.account()[0] == "taken by content: 1 object whose name does not say what it is"
