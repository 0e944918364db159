"""Objects whose names do not say what they are: images among them are found, and nothing is left out without a word."""

import gzip
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from fakescan.sources import listing
from fakescan.sources.filters import content
from fakescan.sources.filters.content import begins_as_image
from fakescan.sources.filters.name_filter import IMAGE_EXTENSIONS, OTHER_EXTENSIONS, says_nothing
from fakescan.sources.manifest import ManifestInfo, ManifestReader, write_manifest
from fakescan.sources.reading import LeftOut, LeftOutReason
from fakescan.sources.source import open_source
from fakescan.storage.store import Store
from fakevlm.errors import UserError
from tests.fakescan.sources.conftest import IMAGES, JPEG, NO_IMAGES, Place, fill, read, rows_of, tar_bytes
from tests.nearly_s3 import NearlyS3
from tests.web_server import Answer, Seen, WebServer

pytestmark = pytest.mark.unit


class TestLooks:
    def test_a_bucket_of_hash_keys(self, each_place: Place) -> None:
        keys = [f"{number:02x}/{number * 7919:032x}" for number in range(6)]
        for key in keys:
            each_place.put(key, JPEG)
        each_place.put("logo.webp", IMAGES["WEBP"])
        source, found = read(*each_place)
        assert sorted(found) == sorted([*keys, "logo.webp"])
        assert source.left_out.total == 0
        assert source.notes == ["taken by content: 6 objects whose names do not say what they are"]

    def test_every_format_that_is_read_and_nothing_else(self, each_place: Place) -> None:
        for name, data in {**{f"key-of-a-{name}": data for name, data in IMAGES.items()}, **NO_IMAGES}.items():
            each_place.put(name, data)
        source, found = read(*each_place)
        assert sorted(found) == sorted(f"key-of-a-{name}" for name in IMAGES)
        assert source.left_out.counts == {LeftOutReason.CONTENT: len(NO_IMAGES)}
        assert source.left_out.by_extension == {"": len(NO_IMAGES)}

    @pytest.mark.parametrize(
        "name",
        ["a.jpg_large", "a.jpg!d", "a.3f", "a.orig", "a.0", "a.jpg~", "a.jpg-1", "a.JPG_Large", "a.bin", "a.dat", "a.",
         ".thumb7", "a.jpg?w=200", "a.jpg:large", "a.jpg ", "x.jpg/a", "a.image", "a.pjpeg"],
    )  # fmt: skip
    def test_unknown_extensions(self, name: str, tmp_path: Path) -> None:
        fill(tmp_path, {name: JPEG, "z.jpg": JPEG})
        assert sorted(read(str(tmp_path))[1]) == sorted([name, "z.jpg"])
        fill(tmp_path, {name: b"something else"})
        source, found = read(str(tmp_path))
        assert found == ["z.jpg"]
        assert source.left_out.counts == {LeftOutReason.CONTENT: 1}

    @pytest.mark.parametrize("extension", [".txt", ".json", ".parquet", ".npz", ".toml", ".md", ".svg", ".gz", ".CR2"])
    def test_what_is_known_to_be_something_else_is_left_out_as_ever(self, extension: str, tmp_path: Path) -> None:
        fill(tmp_path, {f"a{extension}": JPEG, "z.jpg": JPEG})
        source, found = read(str(tmp_path))
        assert found == ["z.jpg"]
        assert source.left_out.counts == {LeftOutReason.EXTENSION: 1}
        assert source.left_out.by_extension == {extension.lower(): 1}

    def test_known_extensions_are_of_one_kind_only(self) -> None:
        assert not OTHER_EXTENSIONS & {*IMAGE_EXTENSIONS}
        assert {name for name in OTHER_EXTENSIONS if not name.startswith(".") or name != name.lower()} == set()
        assert not any(says_nothing(f"folder.d/a{name}") for name in (*IMAGE_EXTENSIONS, *OTHER_EXTENSIONS))

    def test_an_image_that_a_store_keeps_packed(self) -> None:
        assert all(begins_as_image(gzip.compress(data)[:512]) for data in IMAGES.values())
        assert not begins_as_image(gzip.compress(b"no image" * 1000)[:512])
        assert not begins_as_image(b"\x1f\x8b" + bytes(100))
        assert not begins_as_image(b"")

    def test_order_is_that_of_the_listing(self, tmp_path: Path) -> None:
        files = {f"{number:03}{'' if number % 3 else '.jpg'}": JPEG if number % 5 else b"no" for number in range(100)}
        _, found = read(fill(tmp_path, files))
        assert found == sorted(found)
        assert set(found) == {name for name, data in files.items() if data == JPEG or name.endswith(".jpg")}

    def test_a_single_file_is_taken_whatever_it_is(self, tmp_path: Path) -> None:
        fill(tmp_path, {"README": b"text"})
        assert read(f"{tmp_path}/README")[1] == [f"{tmp_path}/README"]

    def test_patterns_take_what_they_match(self, tmp_path: Path) -> None:
        fill(tmp_path, {"README": b"text", "a": JPEG})
        assert sorted(rows_of(open_source(f"{tmp_path}/*", Store()))) == [f"{tmp_path}/README", f"{tmp_path}/a"]


class TestRequests:
    def gets(self, server: NearlyS3) -> list[str]:
        return [line for line in server.requests if line.startswith("GET /b/") and "manifest.json" not in line]

    def test_names_that_say_it_cost_nothing(self) -> None:
        objects = {f"in/{number}.{kind}": b"x" for number in range(50) for kind in ("jpg", "txt", "json", "HEIC")}
        with NearlyS3(objects) as server:
            _, found = read("s3://b/in", server.store)
            assert len(found) == 100
            assert self.gets(server) == []

    def test_one_short_read_each(self) -> None:
        objects = {f"in/{number}": JPEG + bytes(100_000) for number in range(80)} | {"in/empty": b"", "in/tiny": b"x"}
        with NearlyS3(objects) as server:
            _, found = read("s3://b/in", server.store)
            assert len(found) == 80
            assert len(self.gets(server)) == 81
            assert server.sent < 500_000

    def test_objects_with_bytes_whose_keys_end_like_folders(self) -> None:
        with NearlyS3({"in/": b"", "in/image/": JPEG, "in/text/": b"text", "in/a.jpg": JPEG}) as server:
            source, found = read("s3://b/in", server.store)
        assert sorted(found) == ["a.jpg", "image/"]
        assert source.left_out.counts == {LeftOutReason.CONTENT: 1}

    @pytest.mark.parametrize("habits", [("no size",), ("no etag",), ("own spelling", "small pages")], ids=", ".join)
    def test_servers_that_are_nearly_s3(self, habits: tuple[str, ...]) -> None:
        objects = {f"in/{number:02}": JPEG if number % 2 else b"text" * 100 for number in range(10)}
        with NearlyS3(objects, *habits) as server:
            source, found = read("s3://b/in", server.store)
        assert sorted(found) == [f"{number:02}" for number in range(1, 10, 2)]
        assert source.left_out.counts == {LeftOutReason.CONTENT: 5}


class TestFailures:
    def test_a_store_that_forbids_reading(self) -> None:
        objects = {"in/a": JPEG, "in/b.jpg_large": JPEG, "in/c": b"text", "in/d.txt": b"text"}
        with NearlyS3(objects, "forbids reading") as server:
            source, found = read("s3://b/in", server.store)
        assert sorted(found) == ["a", "b.jpg_large", "c"]
        (note,) = source.notes
        assert note.startswith("taken because a look at the content failed: 3 objects whose names do not say what ")
        assert "s3://b/in/a (AccessDenied" in note

    def test_a_store_that_does_not_answer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(content, "LOOK_S", 0.5)
        started = time.monotonic()
        with NearlyS3({f"in/{number}": JPEG for number in range(100)}, "silent reading") as server:
            source, found = read("s3://b/in", server.store)
            assert len(found) == 100
        assert time.monotonic() - started < 20
        assert "(not read in time)" in source.notes[0]

    def test_local_files_that_cannot_be_read(self, unprivileged: Callable[[], AbstractContextManager[None]]) -> None:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            fill(folder, {"shut": JPEG, "text": b"text"})
            (folder / "loop").symlink_to("loop")
            (folder / "nowhere").symlink_to("/nowhere")
            (folder / "shut").chmod(0)
            folder.chmod(0o755)
            with unprivileged():
                source, found = read(name)
        assert found == ["loop", "nowhere", "shut"]
        assert source.left_out.counts == {LeftOutReason.CONTENT: 1}
        assert "a look at the content failed: 3 objects" in source.notes[0]

    def test_nothing_outside_the_allowed_prefixes_is_looked_at(self, tmp_path: Path) -> None:
        fill(tmp_path, {"in/image": JPEG, "in/text": b"text", "out/image": JPEG, "out/text": b"text"})
        for name in ("image", "text"):
            (tmp_path / "in" / f"link-to-{name}").symlink_to(tmp_path / "out" / name)
        source, found = read(f"{tmp_path}/in", allowed_prefixes=(f"{tmp_path}/in",))
        assert found == ["image"]
        assert source.left_out.counts == {LeftOutReason.CONTENT: 1, LeftOutReason.OUTSIDE: 2}


@pytest.fixture
def few_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """10 looks at each kind of name before it is asked whether more are of use, 30 in all."""
    monkeypatch.setattr(content, "LOOKS_PER_KIND", 10)
    monkeypatch.setattr(content, "MAX_LOCAL_LOOKS", 30)


@pytest.mark.usefixtures("few_looks")
class TestManyObjects:
    def test_where_nearly_all_are_images_the_rest_is_taken(self, tmp_path: Path) -> None:
        files = {f"{number:03}": JPEG for number in range(100)} | {"005": b"no", "050": b"no"}
        source, found = read(fill(tmp_path, files))
        assert found == sorted(files.keys() - {"005"})
        assert source.left_out.counts == {LeftOutReason.CONTENT: 1}
        assert source.notes == [
            "taken by content: 9 objects whose names do not say what they are",
            "taken without a look at the content: 90 objects whose names do not say what they are; of 10 that were "
            "looked at 9 are images, and what is none gets a row with an error: --extensions or --exclude leaves it "
            "out",
        ]

    def test_where_a_part_is_none_the_looking_goes_on(self, tmp_path: Path) -> None:
        files = {f"{number:03}": JPEG if number % 10 > 1 else b"no" for number in range(30)}
        source, found = read(fill(tmp_path, files))
        assert found == [name for name, data in files.items() if data == JPEG]
        assert source.left_out.counts == {LeftOutReason.CONTENT: 6}

    def test_where_few_are_images_the_looking_goes_on(self, tmp_path: Path) -> None:
        files = {f"{number:03}": b"no" for number in range(28)} | {"025": JPEG}
        source, found = read(fill(tmp_path, files))
        assert found == ["025"]
        assert source.left_out.counts == {LeftOutReason.CONTENT: 27}

    def test_beyond_the_last_look_objects_without_extension_are_rows(self, tmp_path: Path) -> None:
        files = {f"{number:03}": b"no" for number in range(40)}
        source, found = read(fill(tmp_path, files))
        assert found == [f"{number:03}" for number in range(30, 40)]
        assert "of 30 that were looked at 0 are images" in source.notes[0]

    def test_beyond_the_last_look_unknown_extensions_are_left_out_with_a_warning(self, tmp_path: Path) -> None:
        files = {f"{number:03}.foo": b"no" for number in range(40)} | {"z.jpg": JPEG, "045.bar": JPEG}
        source, found = read(fill(tmp_path, files))
        assert found == ["z.jpg"]
        assert source.left_out.counts == {LeftOutReason.CONTENT: 30, LeftOutReason.UNKNOWN: 11}
        assert source.notes == [
            "warning: images may be among 11 objects with unknown extensions that were left out without a look at "
            "their content; of 30 that were looked at 0 are images: --extensions any takes every object"
        ]

    def test_beyond_the_last_look_extensions_that_images_had_are_rows(self, tmp_path: Path) -> None:
        files = {f"{number:03}.foo": b"no" for number in range(40)} | {"012.foo": JPEG}
        source, found = read(fill(tmp_path, files))
        assert found == ["012.foo", *(f"{number:03}.foo" for number in range(30, 40))]
        assert LeftOutReason.UNKNOWN not in source.left_out.counts

    def test_a_warning_says_that_images_were_found(self, tmp_path: Path) -> None:
        files = {f"{number:03}.{'foo' if number < 40 else 'bar'}": b"no" for number in range(60)} | {"000.x": JPEG}
        source, _ = read(fill(tmp_path, files))
        assert "of 30 that were looked at 1 are images: --extensions any takes every object" in source.notes[-1]

    def test_beyond_the_last_look_unknown_extensions_are_rows_among_names_without(self, tmp_path: Path) -> None:
        files = {f"a{number:03}": b"no" for number in range(30)} | {"b.x1": b"no", "c.x2": JPEG}
        _, found = read(fill(tmp_path, files))
        assert found == ["b.x1", "c.x2"]

    def test_each_extension_has_its_own_looks(self, tmp_path: Path) -> None:
        files = {f"{number:03}.foo": JPEG for number in range(40)} | {f"z{number}.bar": JPEG for number in range(5)}
        source, found = read(fill(tmp_path, {**files, "z9.bar": b"no"}))
        assert found == sorted(files)
        assert source.left_out.counts == {LeftOutReason.CONTENT: 1}

    def test_failures_use_up_no_more_looks_than_needed(self, tmp_path: Path) -> None:
        for number in range(100):
            (tmp_path / f"{number:03}").symlink_to("/nowhere")
        source, found = read(str(tmp_path))
        assert len(found) == 100
        assert "a look at the content failed: 10 objects" in source.notes[0]
        assert "of 0 that were looked at 0 are images" in source.notes[1]

    def test_the_same_whatever_tables_a_listing_comes_in(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for seed in range(15):
            rng = random.Random(seed)
            share = rng.random()
            files = {
                f"{number:03}{rng.choice(['', '', '.jpg', '.txt', '.foo', '.bar', f'.{number}'])}": (
                    JPEG if rng.random() < share else b"no"
                )
                for number in range(120)
            }
            folder = fill(tmp_path / str(seed), files)
            found = []
            for rows in (1, 7, 16_384):
                monkeypatch.setattr(listing, "_LOCAL_ROWS", rows)
                source, names = read(folder)
                found.append((names, source.left_out, source.notes))
            assert found[0] == found[1] == found[2]

    def test_very_many_extensions_take_no_more_memory(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(content, "_MAX_KINDS", 5)
        monkeypatch.setattr(content, "MAX_LOCAL_LOOKS", 25)
        files = {f"{number:03}.x{number}": JPEG for number in range(60)}
        _, found = read(fill(tmp_path, files))
        assert found == sorted(files), "those that come late are one kind, of which most are images"


NAMES = ["", "", ".jpg", ".PNG", ".txt", ".json", ".foo", ".jpg_large", ".0", ".tar", ".heic", ".parquet", ".~1~"]


class TestMixtures:
    """What becomes a row follows from name and content alone, in each kind of store, and all else is counted."""

    def mixture(self, rng: random.Random) -> dict[str, bytes]:
        folders = ["", "a/", "a/b/", "thumbs/"]
        choices = [*IMAGES.values(), *NO_IMAGES.values()]
        return {
            f"{rng.choice(folders)}{number}{rng.choice(NAMES)}": rng.choice(choices)
            for number in range(rng.randint(3, 30))
        } | {"z.jpg": JPEG}

    @pytest.mark.parametrize("seed", range(8))
    def test_rows_and_counts(self, seed: int, each_place: Place) -> None:
        files = self.mixture(random.Random(seed))
        for name, data in files.items():
            each_place.put(name, data)
        images = set(IMAGES.values())
        expected = {
            name
            for name, data in files.items()
            if os.path.splitext(name)[1].lower() in IMAGE_EXTENSIONS or (says_nothing(name) and data in images)
        }
        source, found = read(*each_place)
        assert set(found) == expected
        assert source.left_out.seen == len(files)
        assert sum(source.left_out.by_extension.values()) == source.left_out.total == len(files) - len(expected)

    @pytest.mark.parametrize("seed", range(40))
    def test_nothing_vanishes_whatever_is_asked_for(self, seed: int, tmp_path: Path) -> None:
        rng = random.Random(seed)
        files = self.mixture(rng)
        folder = fill(tmp_path / "in", files)
        options: dict[str, Any] = {
            name: value
            for name, value in {
                "glob": rng.choice([None, ["*.jpg", "[0-9]*"], ["a/**"], ["**/*"]]),
                "exclude": rng.choice([None, ["thumbs/**"], ["*.txt", "1*"]]),
                "extensions": rng.choice([None, None, ("any",), ("jpg", ""), ("*",)]),
            }.items()
            if value
        }
        try:
            source, found = read(folder, **options)
        except UserError:  # nothing is left, or what is a tar by its name is none
            return
        assert source.left_out.seen == len(files)
        assert len(set(found)) == len(found)
        if options == {"extensions": ("any",)}:
            assert set(found) == set(files)

    def test_any_takes_every_object(self, each_place: Place) -> None:
        files = {"a": b"text", "b.txt": b"text", "c.tar": b"no", "d.jpg": JPEG, "e.parquet": b"no", "f.foo": b""}
        for name, data in files.items():
            each_place.put(name, data)
        source, found = read(*each_place, extensions=("any",))
        assert sorted(found) == sorted(files)
        assert source.left_out.total == 0
        assert sorted(read(*each_place, extensions=("*",))[1]) == sorted(files)
        assert sorted(read(*each_place, extensions=("any", "jpg"))[1]) == sorted(files)


class TestContainers:
    def test_files_that_are_no_images_do_not_keep_shards_closed(self, each_place: Place) -> None:
        for name, data in {**NO_IMAGES, "0.tar": tar_bytes({"a.jpg": JPEG}), "1.tar": tar_bytes({"b": JPEG})}.items():
            each_place.put(name, data)
        source, found = read(*each_place)
        assert sorted(found) == sorted([f"tar://a.jpg::{each_place.url}/0.tar", f"tar://b::{each_place.url}/1.tar"])
        assert (source.kind, source.unique) == ("tar", False)
        assert source.left_out.counts == {LeftOutReason.CONTENT: len(NO_IMAGES)}

    def test_neither_does_what_could_not_be_looked_at(self, tmp_path: Path) -> None:
        fill(tmp_path, {"0.tar": tar_bytes({"a.jpg": JPEG})})
        (tmp_path / "latest").symlink_to("/nowhere")
        source = open_source(str(tmp_path), Store())
        tables = iter(source)
        assert not source.unique, "a tar may hold a name twice"
        assert sum(table.num_rows for table in tables) == 2
        assert source.left_out.total == 0

    def test_shards_beside_an_image_without_extension_stay_closed_and_that_is_said(self, tmp_path: Path) -> None:
        files = {"0.tar": tar_bytes({"a.jpg": JPEG}), "1.tar": b"", "image": JPEG, "z.parquet": b""}
        source, found = read(fill(tmp_path, files))
        assert found == ["image"]
        assert source.left_out.counts == {LeftOutReason.EXTENSION: 3}
        assert source.notes[0].startswith("tar and Parquet files beside images stay closed, 3 of them")
        source, found = read(str(tmp_path), extensions=("",))
        assert (found, source.notes) == (["image"], []), "asked for, and no warning"

    @pytest.mark.parametrize("packed", [".tar", ".tar.gz"])
    def test_members_are_looked_at_too(self, packed: str, tmp_path: Path) -> None:
        members = {f"{number:02}/key": data for number, data in enumerate(IMAGES.values())}
        members |= {"a.jpg": JPEG, "a.json": b"{}", "a.cls": b"7", "b.jpg_large": JPEG, "c.cls": JPEG, "._x": JPEG}
        members |= NO_IMAGES
        links = {"link": "00/key", "link.jpg": "00/key", "link-to-text": "README", "link-to-json": "a.json"}
        data = tar_bytes(members, links)
        (tmp_path / f"0{packed}").write_bytes(gzip.compress(data) if packed.endswith("gz") else data)
        source = open_source(str(tmp_path), Store())
        found = [uri.partition("::")[0].removeprefix("tar://") for uri in rows_of(source)]
        images = [name for name, body in members.items() if body in IMAGES.values() and name != "._x"]
        assert found == [*images, "link", "link.jpg"]
        assert source.left_out.counts == {
            LeftOutReason.CONTENT: len(NO_IMAGES) + 3,  # with a.cls and two links
            LeftOutReason.EXTENSION: 1,
            LeftOutReason.HIDDEN: 1,
        }
        assert source.left_out.by_extension == {"": len(NO_IMAGES) + 2, ".cls": 1, ".json": 1}
        every = rows_of(open_source(str(tmp_path), Store(), extensions=("any",)))
        assert len(every) == len(members) + len(links) - 1

    def test_looking_at_members_takes_no_further_requests(self, web: WebServer) -> None:
        def sent_for(names: list[str]) -> tuple[int, int]:
            data = tar_bytes({name: JPEG + bytes(2_000_000) for name in names})

            def answer(seen: Seen) -> Answer:
                if "range" not in seen.headers:
                    return Answer(data)
                first, last = map(int, seen.headers["range"].removeprefix("bytes=").split("-"))
                sent.append(len(data[first : last + 1]))
                return Answer(data[first : last + 1], 206, {"Content-Range": f"bytes {first}-{last}/{len(data)}"})

            sent: list[int] = []
            web.answers[f"/{names[0]}.tar"] = answer
            assert len(rows_of(open_source(f"{web.url}/{names[0]}.tar", Store()))) == len(names)
            return len(sent), sum(sent)

        assert sent_for(["a", "b.foo", "c", "d"]) == sent_for(["a.jpg", "b.jpg", "c.jpg", "d.jpg"])


class TestAccount:
    def test_the_hint_names_what_there_is(self, tmp_path: Path) -> None:
        files = {f"{number}.{kind}": b"x" for kind in ("txt", "json", "md") for number in range(2)} | NO_IMAGES
        with pytest.raises(UserError) as caught:
            read(fill(tmp_path, files))
        assert str(caught.value) == (
            f"no images found under {tmp_path} (6 objects with other extensions and 9 objects without the name or the "
            "content of an image that is read: 9 x (no extension), 2 x .json, 2 x .md, 2 x .txt; --extensions any "
            "takes every object, whatever its name)"
        )

    def test_the_hint_says_how_many_kinds_there_are_besides(self, tmp_path: Path) -> None:
        files = {f"{number}.{kind}": b"x" for kind in range(40) for number in range(2)}
        with pytest.raises(UserError, match=r"80 objects without the name.*, and 60 with 30 more extensions; --ext"):
            read(fill(tmp_path, files))

    def test_only_what_was_asked_for_and_nothing_is_there(self, tmp_path: Path) -> None:
        folder = fill(tmp_path, {"a.jpg": JPEG, "b": JPEG})
        with pytest.raises(UserError, match=r"2 objects with other extensions: 1 x \(no extension\), 1 x \.jpg; --ext"):
            read(folder, extensions=("png",))
        source, found = read(folder, extensions=("jpg",))
        assert (found, source.notes) == (["a.jpg"], []), "their will, and no warning"

    def info(self, folder: Path, counts: dict[str, int]) -> ManifestInfo:
        left_out = LeftOut(seen=sum(counts.values()), places={LeftOutReason.EXTENSION: "/x\x1b[31m\n.txt"})
        left_out.add_extensions(counts)
        left_out.add(LeftOutReason.EXTENSION, count=sum(counts.values()))
        fs, path = Store().filesystem(str(folder))
        write_manifest([pa.table({"uri": ["/a.jpg"]})], fs, path, left_out=left_out, notes=["a \x07bell"])
        return ManifestReader(str(folder), Store()).info

    def test_all_extensions_or_how_many_more(self, tmp_path: Path) -> None:
        few = self.info(tmp_path / "few", {f".x{number}": 2 for number in range(30)}).account()
        assert few[-1].split("   ")[0].strip() == ".x0 2"
        assert len(few[-1].split("   ")) == 30
        assert " more" not in few[-1]
        many = self.info(tmp_path / "many", {f".x{number}": 2 for number in range(100)}).account()
        assert many[-1].endswith("and 140 with 70 more extensions (more in manifest.json)")
        most = self.info(tmp_path / "most", {f".x{number}": 2 for number in range(3_000)})
        assert sum(most.skipped_by_extension.values()) == 6_000
        assert len(most.skipped_by_extension) == 1_001
        assert most.account()[-1].endswith("and 5,940 with at least 971 more extensions (more in manifest.json)")

    def test_names_that_a_terminal_would_obey(self, tmp_path: Path) -> None:
        lines = self.info(tmp_path / "m", {".\x1b[31m": 1, ".\n": 1, "": 1, "." + "x" * 500: 1}).account()
        assert all(line.isprintable() for line in lines)
        assert lines[0] == "a ?bell"
        assert max(map(len, lines)) < 200

    def test_extensions_shown_add_up(self) -> None:
        counts = Counter({f".{number}": number + 1 for number in range(50)})
        left_out = LeftOut()
        left_out.add_extensions(counts)
        left_out.add_extensions(counts)
        assert left_out.by_extension == counts + counts
