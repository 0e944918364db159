"""Index: a source becomes a manifest, its two ends possibly in different stores."""

import json
from pathlib import Path

import pytest

from fakescan.sources.index import build_index
from fakescan.sources.manifest import ManifestReader
from fakescan.storage.store import Store
from fakevlm.errors import UserError
from tests.conftest import Bucket, new_bucket
from tests.storage_server import SeaweedServer

pytestmark = pytest.mark.unit


def fill(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())


def test_folder_to_folder(tmp_path: Path) -> None:
    fill(tmp_path / "in", "b.jpg", "a.png", "c/d.webp", "note.txt")
    info = build_index(str(tmp_path / "in"), str(tmp_path / "out"))
    assert (info.rows, info.duplicates, info.skipped_by_extension) == (3, 0, {".txt": 1})
    assert info.known_bytes == len("b.jpga.pngc/d.webp")
    assert json.loads((tmp_path / "out/manifest.json").read_text())["source"] == str(tmp_path / "in")
    table = ManifestReader(str(tmp_path / "out"), Store()).rows(0, 3)
    assert table["uri"].to_pylist() == [f"{tmp_path}/in/{name}" for name in ("a.png", "b.jpg", "c/d.webp")]
    again = build_index(str(tmp_path / "in"), str(tmp_path / "out2"))
    assert again.fingerprint == info.fingerprint


def test_from_one_store_to_another(s3_bucket: Bucket, own_s3: SeaweedServer) -> None:
    there = new_bucket(own_s3)
    s3_bucket.put("in/a.jpg", b"a")
    info = build_index(f"{s3_bucket.url}/in", f"{there.url}/run/m", store=s3_bucket.store, manifest_store=there.store)
    assert info.rows == 1
    table = ManifestReader(f"{there.url}/run/m", there.store).rows(0, 1)
    assert table["uri"].to_pylist() == [f"{s3_bucket.url}/in/a.jpg"]


def test_only_what_is_new(tmp_path: Path) -> None:
    fill(tmp_path / "in", "same.jpg", "changed.jpg", "gone.jpg")
    build_index(str(tmp_path / "in"), str(tmp_path / "one"))
    earlier = ManifestReader(str(tmp_path / "one"), Store())
    with pytest.raises(UserError, match=r"nothing under .* is new"):
        build_index(str(tmp_path / "in"), str(tmp_path / "none"), earlier=earlier)
    assert not (tmp_path / "none/manifest.json").exists()
    (tmp_path / "in/gone.jpg").unlink()
    (tmp_path / "in/changed.jpg").write_bytes(b"longer than it was")
    fill(tmp_path / "in", "added.jpg")
    info = build_index(str(tmp_path / "in"), str(tmp_path / "two"), earlier=earlier)
    table = ManifestReader(str(tmp_path / "two"), Store()).rows(0, info.rows)
    assert [Path(uri).name for uri in table["uri"].to_pylist()] == ["added.jpg", "changed.jpg"]


def test_list_with_duplicates(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("a.jpg\nb.jpg\n./a.jpg\na.jpg\n")
    info = build_index(str(tmp_path / "list.txt"), str(tmp_path / "out"))
    assert (info.rows, info.duplicates) == (2, 2)


def test_refusals_leave_nothing_behind(tmp_path: Path, s3_bucket: Bucket) -> None:
    fill(tmp_path / "in", "a.jpg")
    build_index(str(tmp_path / "in"), str(tmp_path / "out"))
    with pytest.raises(UserError, match="already holds a manifest"):
        build_index(str(tmp_path / "in"), str(tmp_path / "out"))
    with pytest.raises(UserError, match="no images found"):
        build_index(s3_bucket.url, str(tmp_path / "empty"), store=s3_bucket.store, manifest_store=Store())
    with pytest.raises(UserError, match="no such bucket"):
        build_index(str(tmp_path / "in"), "s3://nowhere/m", manifest_store=s3_bucket.store)
    assert not (tmp_path / "empty").exists()


def test_source_with_a_signature_keeps_it_from_the_manifest_file(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("https://h/a.jpg?X-Amz-Signature=secret\n")
    build_index(str(tmp_path / "list.txt"), str(tmp_path / "out"))
    assert "secret" not in (tmp_path / "out/manifest.json").read_text()
    reader = ManifestReader(str(tmp_path / "out"), Store())
    assert reader.rows(0, 1)["uri"][0].as_py().endswith("secret")  # needed to fetch it, also after a restart
