"""The file system through which Ray Train writes its list of checkpoints."""

import pickle
import threading
from pathlib import Path

import pyarrow.fs
import pytest

from fakescan.storage import objects
from fakescan.storage.store import Store
from fakescan.train.checkpoints.arrow_filesystem import arrow_filesystem
from tests.conftest import Bucket, new_bucket
from tests.storage_server import SeaweedServer

pytestmark = pytest.mark.unit


def test_a_list_is_replaced_as_a_whole(tmp_path: Path) -> None:
    fs = pickle.loads(pickle.dumps(arrow_filesystem(Store(), str(tmp_path))))
    path = f"{tmp_path}/run/list.json"
    fs.create_dir(f"{tmp_path}/run")
    for content in (b"first", b"second"):
        with fs.open_output_stream(path) as file:
            file.write(content[:3])
            assert not Path(path).exists() or Path(path).read_bytes() == b"first", "half of it is never seen"
            file.write(content[3:])
    with fs.open_input_stream(path) as file:
        assert file.read() == b"second"
    assert fs.get_file_info(path).is_file
    assert fs.get_file_info(f"{path}.none").type == pyarrow.fs.FileType.NotFound
    fs.delete_dir(f"{tmp_path}/run")
    assert not list(tmp_path.iterdir())
    assert fs == arrow_filesystem(Store(), str(tmp_path)), "Ray asks whether a checkpoint is on it"


def test_a_bucket(s3_bucket: Bucket) -> None:
    fs = arrow_filesystem(s3_bucket.store, s3_bucket.url)
    path = f"{s3_bucket.name}/run/list.json"
    with fs.open_output_stream(path) as file:
        file.write(b"listed")
    with fs.open_input_stream(path) as file:
        assert file.read() == b"listed"
    found = fs.get_file_info(pyarrow.fs.FileSelector(f"{s3_bucket.name}/run"))
    assert [entry.base_name for entry in found] == ["list.json"]


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    fs = arrow_filesystem(Store(), str(tmp_path))
    with pytest.raises(OSError), fs.open_output_stream(f"{tmp_path}/file/list.json") as file:  # noqa: PT011
        file.write(b"listed")


def test_it_waits_for_a_store_that_is_away(own_s3: SeaweedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = new_bucket(own_s3)
    fs = arrow_filesystem(bucket.store, bucket.url)
    path = f"{bucket.name}/run/list.json"
    waits = threading.Event()
    monkeypatch.setattr(objects.WAITS, "_listener", lambda _: waits.set())
    own_s3.kill()
    stream = fs.open_output_stream(path)
    stream.write(b"listed")
    closing = threading.Thread(target=stream.close)
    closing.start()
    assert waits.wait(60)
    own_s3.start()
    closing.join(60)
    assert fs.open_input_stream(path).read() == b"listed"
