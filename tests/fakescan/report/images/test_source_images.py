"""Images fetched again are the judged ones, whatever happened to their objects."""

import hashlib
import io
import os
import tarfile
from pathlib import Path

import pytest

from fakescan.report.images.source_images import SourceImages, WantedImage
from fakescan.run.folder import RunFolder
from fakescan.run.run_file import RunFile, new_run
from fakescan.sources.index import build_index
from fakescan.storage.store import Store
from tests.conftest import Bucket
from tests.fakescan.report.conftest import picture
from tests.fakescan.run.conftest import identity

pytestmark = pytest.mark.unit


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def run_of(source: str, store: Store, folder: RunFolder) -> RunFile:
    info = build_index(source, f"{folder.url}/manifest", store=store, manifest_store=folder.store)
    return new_run(
        identity(source), "m", None, fingerprint=info.fingerprint, rows=info.rows, population=info.rows, shard_rows=16
    )


def test_an_object_that_changed_its_etag_and_not_its_bytes(s3_bucket: Bucket, tmp_path: Path) -> None:
    for number in range(4):
        s3_bucket.put(f"in/{number}.jpg", picture(number))
    folder = RunFolder(str(tmp_path / "run"), Store())
    run = run_of(f"{s3_bucket.url}/in/", s3_bucket.store, folder)
    wanted = [WantedImage(row, "e", sha256(picture(row))) for row in range(4)]
    s3_bucket.put("in/1.jpg", picture(9))
    s3_bucket.call("delete_object", Key="in/2.jpg")
    # Copied in several parts, an object has another etag.
    upload = s3_bucket.call("create_multipart_upload", Key="in/3.jpg")["UploadId"]
    part = s3_bucket.call("upload_part", Key="in/3.jpg", UploadId=upload, PartNumber=1, Body=picture(3))
    parts = {"Parts": [{"ETag": part["ETag"], "PartNumber": 1}]}
    s3_bucket.call("complete_multipart_upload", Key="in/3.jpg", UploadId=upload, MultipartUpload=parts)
    found = SourceImages(folder, run, s3_bucket.store).fetch(wanted[::-1])[::-1]
    assert [one.data for one in found] == [picture(0), None, None, picture(3)]
    assert [one.error_code for one in found] == [None, "changed", "not_found", None]
    assert found[1].error_message == "the image was changed since it was judged"


def test_members_of_a_tar(tmp_path: Path) -> None:
    tar = tmp_path / "source" / "a.tar"
    tar.parent.mkdir()

    def write(first: int) -> None:
        with tarfile.open(tar, "w") as file:
            for number in range(3):
                data = picture(first + number)
                member = tarfile.TarInfo(f"{number}.jpg")
                member.size = len(data)
                file.addfile(member, io.BytesIO(data))

    write(0)
    folder = RunFolder(str(tmp_path / "run"), Store())
    run = run_of(str(tar), Store(), folder)
    wanted = [WantedImage(row, None, sha256(picture(row))) for row in range(3)]
    assert [one.data for one in SourceImages(folder, run, Store()).fetch(wanted)] == [picture(row) for row in range(3)]
    os.utime(tar, ns=(1, 1))
    assert [one.data for one in SourceImages(folder, run, Store()).fetch(wanted)] == [picture(row) for row in range(3)]
    write(7)
    changed = SourceImages(folder, run, Store()).fetch(wanted)
    assert {(one.data, one.error_code) for one in changed} == {(None, "changed")}
