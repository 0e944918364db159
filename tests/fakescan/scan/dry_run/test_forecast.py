"""A dry run: what a scan would do, told without an engine, without Ray, and without a trace at the output."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fakescan.cli.main import main
from fakescan.cli.reports.dry_run import print_forecast
from fakescan.engine.model import open_model
from fakescan.run.folder import RunFolder
from fakescan.scan.config import ScanConfig
from fakescan.scan.dry_run.forecast import forecast
from fakescan.scan.stability.failed_variants import rows_with_failed_variants
from fakescan.scan.start.plan import make_plan
from fakescan.scan.start.prepare import identity_of, start_run
from fakescan.storage.lease import Lease
from fakescan.storage.preflight import check_writable_without_trace
from fakescan.storage.store import Store
from fakevlm.errors import UserError
from tests.conftest import Bucket
from tests.fakescan.run.stability.conftest import make_strip_run

pytestmark = pytest.mark.unit

IMAGES = 40


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(IMAGES):
        (folder / f"{number:02}.jpg").write_bytes(b"x" * (number + 1))
    (folder / "notes.txt").touch()
    return folder


def settings(images: object, output: object, tiny_model: Path, **more: Any) -> ScanConfig:
    return ScanConfig.model_validate(
        {"source": str(images), "output": str(output), "model": str(tiny_model), "engine": {"kind": "fake"}, **more}
    )


def begin(config: ScanConfig) -> RunFolder:
    """The run as a scan starts it, without parts."""
    checkpoint = open_model(config.model, config.model_store)
    folder = RunFolder(config.output, config.output_store)
    options = config.options(checkpoint, config.explain, config.output_store)
    start_run(config, folder, identity_of(config, checkpoint, options), checkpoint)
    return folder


def test_a_new_run(images: Path, tmp_path: Path, tiny_model: Path) -> None:
    found = forecast(settings(images, tmp_path / "some" / "run", tiny_model))
    assert (found.info.rows, found.population, found.rows_left, found.run) == (IMAGES, IMAGES, IMAGES, None)
    assert found.info.known_bytes == sum(range(1, IMAGES + 1))
    assert found.unknown_sizes == 0
    assert found.info.everything_left_out() == {"with other extensions": 1}
    assert (found.sharding.shard_rows, found.sharding.count) == (16, 3)
    assert found.model == "fake-engine"
    assert not (tmp_path / "some").exists(), "no trace"


def test_the_numbers_are_those_of_the_scan(images: Path, tmp_path: Path, tiny_model: Path) -> None:
    for more in ({}, {"limit": 7}, {"sample": 7}, {"globs": ("1*",)}, {"shard_rows": 5}, {"limit": 10**30}):
        config = settings(images, tmp_path / f"run-{len(str(more))}", tiny_model, **more)
        found = forecast(config)
        run = begin(config).open()
        assert (found.info.rows, found.population, found.sharding) == (run.rows, run.population, run.sharding)
        assert (found.info.fingerprint, found.info.everything_left_out()) == (run.manifest_fingerprint, run.left_out)


def test_a_list_with_duplicates_and_without_sizes(images: Path, tmp_path: Path, tiny_model: Path) -> None:
    source = tmp_path / "list.txt"
    source.write_text("".join(f"{images}/{name}\n" for name in ("00.jpg", "01.jpg", "00.jpg")))
    found = forecast(settings(source, tmp_path / "run", tiny_model))
    assert (found.info.rows, found.info.duplicates, found.unknown_sizes, found.info.known_bytes) == (2, 1, 2, 0)


def test_a_run_that_would_be_resumed(images: Path, tmp_path: Path, tiny_model: Path) -> None:
    config = settings(images, tmp_path / "run", tiny_model)
    folder = begin(config)
    before = sorted(path.name for path in (tmp_path / "run").rglob("*"))
    (images / "new.jpg").write_bytes(b"x")
    found = forecast(config)
    assert found.run == folder.open()
    assert (found.info.rows, found.rows_left) == (IMAGES, IMAGES), "the run keeps the images it was started with"
    Path(folder.parts).mkdir()
    Path(folder.part(0)).touch()
    assert forecast(config).rows_left == IMAGES - 16
    Path(folder.part(0)).unlink()
    Path(folder.parts).rmdir()
    assert sorted(path.name for path in (tmp_path / "run").rglob("*")) == before


def test_what_a_scan_would_refuse_is_refused(images: Path, tmp_path: Path, tiny_model: Path) -> None:
    begin(settings(images, tmp_path / "run", tiny_model)).write_part(0, b"a part, which binds")
    with pytest.raises(UserError, match="was started with different settings"):
        forecast(settings(images, tmp_path / "run", tiny_model, limit=3))
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="a file is in the place of the folder"):
        forecast(settings(images, tmp_path / "file", tiny_model))
    (tmp_path / "parts-only" / "parts").mkdir(parents=True)
    (tmp_path / "parts-only" / "parts" / "part-00000000.parquet").touch()
    with pytest.raises(UserError, match=r"holds parts but no run\.json"):
        forecast(settings(images, tmp_path / "parts-only", tiny_model))
    with pytest.raises(UserError, match="no images found"):
        forecast(settings(images, tmp_path / "new", tiny_model, globs=("*.gif",)))
    with pytest.raises(UserError, match="/no/such/model"):
        forecast(settings(images, tmp_path / "new", tiny_model, model="/no/such/model"))
    assert not (tmp_path / "new").exists()


def test_a_run_that_another_scan_is_writing(images: Path, tmp_path: Path, tiny_model: Path) -> None:
    config = settings(images, tmp_path / "run", tiny_model)
    folder = begin(config)
    lease = Lease(folder.fs, f"{folder.path}/lease.json")
    lease.acquire()
    try:
        assert f"process {os.getpid()} on " in str(forecast(config).holder)
    finally:
        lease.release()
    assert forecast(config).holder is None


def test_a_model_that_a_scan_would_download(
    images: Path, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    found = forecast(settings(images, tmp_path / "run", tiny_model, model="nobody/no-such-model-xyz"))
    assert found.checkpoint is None
    assert found.info.rows == IMAGES


def test_a_bucket_keeps_no_trace(s3_bucket: Bucket, images: Path, tiny_model: Path) -> None:
    s3_bucket.upload(images, "images")
    before = objects(s3_bucket)
    store = s3_bucket.settings()
    config = settings(
        f"{s3_bucket.url}/images", f"{s3_bucket.url}/run", tiny_model, input_store=store, output_store=store
    )
    found = forecast(config)
    assert (found.info.rows, found.rows_left) == (IMAGES, IMAGES)
    assert objects(s3_bucket) == before
    assert s3_bucket.call("list_multipart_uploads").get("Uploads", []) == []
    wrong = {**store, "options": {**store["options"], "secret": "wrong"}}
    with pytest.raises(UserError, match="wrong or expired credentials"):
        forecast(config.model_copy(update={"output_store": Store.model_validate(wrong)}))


def objects(bucket: Bucket) -> list[tuple[str, str]]:
    found = bucket.call("list_objects_v2").get("Contents", [])
    return sorted((item["Key"], item["ETag"]) for item in found)


def test_the_command_says_it_to_people_and_to_programs(
    images: Path, tmp_path: Path, tiny_model: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY", "hidden")
    arguments = ["scan", str(images), "-o", str(tmp_path / "run"), "--model", str(tiny_model), "--engine", "fake"]
    arguments += ["--dry-run", "--model-option", "secret=hidden", "--model-option", "key=env:KEY"]
    with pytest.raises(SystemExit) as exit:
        main(arguments)
    assert exit.value.code == 0
    out, err = capfd.readouterr()
    lines = out.splitlines()
    assert lines[0] == "dry run: nothing is started and nothing is written"
    assert f"source: {images}: {IMAGES} images, 820 bytes" in lines
    assert f"left out: 1 with other extensions, such as {images}/notes.txt" in lines
    assert f"output: {tmp_path}/run: a new run" in lines
    assert "parts: 3, of up to 16 images each" in lines
    assert err == ""
    with pytest.raises(SystemExit) as exit:
        main([*arguments, "--json"])
    out, err = capfd.readouterr()
    found = json.loads(out)
    assert (found["dry_run"], found["images"], found["rows_left"], found["resumes"]) == (True, IMAGES, IMAGES, False)
    assert found["settings"]["explain"] == "fakes"
    assert found["settings"]["engine"]["kind"] == "fake"
    assert "hidden" not in out + err
    assert not (tmp_path / "run").exists()


def test_credentials_are_told_without_secrets(capfd: pytest.CaptureFixture[str]) -> None:
    from fakescan.cli.reports.dry_run import _in_words

    def words(url: str, **store: Any) -> str:
        return _in_words(url, Store.model_validate(store))

    assert words("/local") == ""
    assert words("s3://b/x") == "as the AWS tools find them"
    assert words("s3://b/x", profile="audit", region="eu-west-1") == "AWS profile audit, region eu-west-1"
    assert words("s3://b/x", anon=True) == "none, unsigned requests"
    assert words("s3://b/x", options={"key": "env:KEY", "secret": "s"}, endpoint_url="http://u:p@e:1") == (
        "options key=env:KEY, secret, at http://e:1"
    )
    assert words("gs://b/x") == "as Google's tools find them"


def test_neither_ray_nor_an_engine_is_imported(images: Path, tmp_path: Path, tiny_model: Path) -> None:
    arguments = ["scan", str(images), "-o", str(tmp_path / "run"), "--model", str(tiny_model), "--dry-run"]
    code = (
        "import sys\nfrom fakescan.cli.main import main\n"
        f"try:\n    main({arguments!r})\nfinally:\n"
        "    print(sorted({'ray', 'vllm', 'torch', 'transformers'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr.strip()) == (0, "[]")


@pytest.mark.parametrize("is_closed", [True, False])
def test_a_folder_that_may_not_be_written(
    unprivileged: Callable[[], AbstractContextManager[None]], is_closed: bool
) -> None:
    with tempfile.TemporaryDirectory() as base:  # above tmp_path are folders that only their owner may enter
        Path(base).chmod(0o555 if is_closed else 0o777)
        with unprivileged():
            if is_closed:
                with pytest.raises(UserError, match="cannot write to"):
                    check_writable_without_trace(f"{base}/a/run", Store())
            else:
                check_writable_without_trace(f"{base}/a/run", Store())
        assert list(Path(base).iterdir()) == []


def test_what_a_stability_strip_will_cost(
    images: Path, tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of flagged images that depends on how many there are: as many as so far, once the run has judged some."""
    for more, prefills in (
        ({}, 0),
        ({"stability": "all"}, 5 * IMAGES),
        ({"stability": "sample"}, round(5 * IMAGES * 0.02)),
        ({"stability": "sample", "stability_share": 0.25}, 5 * IMAGES // 4),
        ({"stability": "flagged"}, None),
        ({"stability": "flagged", "limit": 10}, None),
        ({"stability": "all", "sample": 10}, 50),
    ):
        found = forecast(settings(images, tmp_path / "none", tiny_model, **more))
        assert found.strip_prefills == prefills, more
        print_forecast(found)
        printed = capsys.readouterr().out
        assert ("stability: " in printed) is bool(more)
        assert ("5% more of them for every 1%" in printed) is (prefills is None)


def test_a_run_with_variants_that_failed(tmp_path: Path) -> None:
    folder = RunFolder(str(tmp_path / "run"), Store())
    run = make_strip_run(folder, stability="all")
    shards = np.arange(run.sharding.count)
    failed = rows_with_failed_variants(folder, run, shards)
    rows = [folder.whole_part(shard).to_pylist() for shard in shards.tolist()]
    assert failed.tolist() == [sum(row["strip_note"] is not None for row in part) for part in rows]
    assert failed.sum() > 0
    plan = make_plan(folder, run, retry_errors=True)
    errors = [any(row["error_code"] for row in part) for part in rows]
    assert plan.todo.tolist() == [n for n in shards.tolist() if failed[n] or errors[n]]
    assert not len(make_plan(folder, run, retry_errors=False).todo)
