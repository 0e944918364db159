"""The drill: 2,000 images of mixed formats, 5 % of them bad in every way, scanned undisturbed and under kill -9."""

import json
import random
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from fakescan.run.folder import RunFolder
from fakescan.sources.manifest import ENTRY_SCHEMA, ManifestReader, write_manifest
from fakevlm.errors import ErrorCode
from tests.conftest import Bucket, new_bucket
from tests.drill_images import MAX_BYTES, MAX_PIXELS, POISON_RGB, DrillImage, Fate, drill_images
from tests.scan_process import ScanProcess, fakescan, read_rows, running
from tests.storage_server import SeaweedServer
from tests.web_server import Answer, WebServer

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

SHARD_ROWS = 32
STORE = ("endpoint_url", "region")
WEB = {Fate.FORBIDDEN, Fate.BROKEN, Fate.RESET}

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Drill:
    """What stands in the bucket, and what a scan must say about it."""

    bucket: Bucket
    folder: Path
    model: Path
    images: list[DrillImage]
    """In the order of the manifest's rows."""

    @property
    def environment(self) -> dict[str, str]:
        return {"DRILL_KEY": SeaweedServer.access_key, "DRILL_SECRET": SeaweedServer.secret_key}

    def run(self, name: str) -> RunFolder:
        return RunFolder(f"{self.bucket.url}/{name}", self.bucket.store)

    def command(self, name: str, engine: dict[str, Any]) -> list[object]:
        """The scan of the drill's manifest into the run `name`."""
        config = self.folder / f"{name}.yaml"
        settings = {
            "source": f"{self.bucket.url}/manifest",
            "output": f"{self.bucket.url}/{name}",
            "model": str(self.model),
            "engine": engine,
            "explain": "none" if engine["kind"] == "vllm" else "fakes",
            "shard_rows": SHARD_ROWS,
            "max_error_rate": 1,
            "max_bytes": MAX_BYTES,
            "max_pixels": MAX_PIXELS,
            **dict.fromkeys(("input_store", "output_store"), self.store),
        }
        config.write_text(json.dumps(settings))  # JSON is YAML
        return ["scan", "--config", config]

    @property
    def store(self) -> dict[str, Any]:
        """The bucket's settings for a file: its secrets stay in the environment."""
        plain = {name: getattr(self.bucket.store, name) for name in STORE}
        return {**plain, "options": {"key": "env:DRILL_KEY", "secret": "env:DRILL_SECRET"}}

    @property
    def flags(self) -> list[str]:
        """The same for the commands that read a run."""
        return [
            *("--output-endpoint", str(self.bucket.store.endpoint_url), "--output-region", "us-east-1"),
            *("--output-option", "key=env:DRILL_KEY", "--output-option", "secret=env:DRILL_SECRET"),
        ]

    def verify(self, name: str) -> ScanProcess:
        return fakescan("verify", f"{self.bucket.url}/{name}", *self.flags, environment=self.environment)


@pytest.fixture(scope="module")
def drill(s3: SeaweedServer, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drill]:
    """List the images with `fakescan index`, and then let happen to them what is to happen before the scan."""
    bucket, folder = new_bucket(s3), tmp_path_factory.mktemp("drill")
    images = list(drill_images())
    with WebServer() as web, ThreadPoolExecutor(8) as pool:
        stored = [image for image in images if image.fate not in WEB]
        list(pool.map(lambda image: bucket.put(f"images/{image.name}", image.data), stored))
        drill = Drill(bucket, folder, tiny_model, images)
        index(drill, f"{bucket.url}/images", f"{bucket.url}/listed")
        fs, path = bucket.store.filesystem(f"{bucket.url}/manifest")
        write_manifest([pa.Table.from_pylist(list(entries(drill, web)), ENTRY_SCHEMA)], fs, path)
        list(pool.map(lambda image: meet_its_fate(image, bucket, web), images))
        yield drill


def index(drill: Drill, source: str, manifest: str) -> None:
    fakescan(
        *("index", source, "-o", manifest, "--input-endpoint", drill.bucket.store.endpoint_url),
        *("--input-option", "key=env:DRILL_KEY", "--input-option", "secret=env:DRILL_SECRET", *drill.flags),
        environment=drill.environment,
    )


def entries(drill: Drill, web: WebServer) -> Iterator[dict[str, Any]]:
    """Objects with the size and etag that were listed, and pages of a web server without."""
    reader = ManifestReader(f"{drill.bucket.url}/listed", drill.bucket.store)
    listed = {row["uri"].rpartition("/")[2]: row for row in reader.rows(0, reader.info.rows).to_pylist()}
    for image in drill.images:
        if image.fate in WEB:
            yield {"uri": f"{web.url}/{image.name}?X-Amz-Signature=drill-secret"}
        else:
            yield {name: listed[image.name][name] for name in ("uri", "size", "etag")}


def meet_its_fate(image: DrillImage, bucket: Bucket, web: WebServer) -> None:
    key, page = f"images/{image.name}", f"/{image.name}"
    match image.fate:
        case Fate.DELETED:
            bucket.call("delete_object", Key=key)
        case Fate.OVERWRITTEN:
            bucket.put(key, image.data[::-1])
        case Fate.REPLACED:
            bucket.put(key, image.data + b"more")
        case Fate.FORBIDDEN:
            web.answers[page] = Answer(b"no", 403)
        case Fate.BROKEN:
            web.answers[page] = Answer(b"sorry", 500)
        case Fate.RESET:
            web.answers[page] = Answer(image.data, cut=len(image.data) // 2)


FAKE = {"kind": "fake", "max_num_seqs": 8, "die_on_rgb": POISON_RGB}
SLOW = {**FAKE, "step_s": 0.03}
VLLM = {"kind": "vllm", "max_num_seqs": 32}


@pytest.fixture(scope="module")
def undisturbed(drill: Drill) -> Rows:
    """The fake engine's results when nothing is killed but by the poison image."""
    fakescan(*drill.command("undisturbed", FAKE), environment=drill.environment)
    return read_rows(drill.run("undisturbed"))


def assert_same_results(rows: Rows, expected: Rows) -> None:
    facts = ["row_id", "uri", "sha256", "width", "height", "format", "num_bytes", "verdict", "error_code", "model"]
    assert [{name: row[name] for name in facts} for row in rows] == [
        {name: row[name] for name in facts} for row in expected
    ]
    for row, other in zip(rows, expected, strict=True):
        assert (row["score"] is None) == (row["error_code"] is not None)
        for name in ("score", "logit", "off_script"):
            assert row[name] == (None if other[name] is None else pytest.approx(other[name], abs=1e-3))


def assert_accounted(rows: Rows, images: list[DrillImage], *, poison: bool) -> None:
    """Every image has one row, with its own facts or its own error."""
    assert len(rows) == len(images)
    for row, image in zip(rows, images, strict=True):
        code = image.code if poison or image.code is not ErrorCode.POISON else None
        assert row["uri"].endswith(f"/{image.name}")
        assert row["error_code"] == code, (image.name, row)
        if code is None:
            assert row["verdict"] in ("real", "fake")
            assert 0 <= row["score"] <= 1
            assert row["num_bytes"] == len(image.data)
        else:
            assert row["error_message"]
            assert (row["verdict"], row["score"], row["explanation"]) == (None, None, None)
        if image.format is not None:
            assert (row["format"], (row["width"], row["height"])) == (image.format, image.size)


def test_every_image_has_a_verdict_or_the_right_error(drill: Drill, undisturbed: Rows) -> None:
    assert_accounted(undisturbed, drill.images, poison=True)
    codes = Counter(row["error_code"] for row in undisturbed)
    assert codes.total() - codes[None] == 100
    assert codes["poison"] == 1
    # judge_failed is the one error that sound engines do not produce.
    assert set(codes) - {None} == set(map(str, ErrorCode)) - {"judge_failed"}
    verified = drill.verify("undisturbed").out.splitlines()
    assert verified[0].startswith("ok: 2,000 rows, each once")
    assert {line.split()[0]: int(line.split()[1]) for line in verified[1:]} == {
        code: count for code, count in codes.items() if code
    }


def test_no_signature_reaches_the_results(drill: Drill, undisturbed: Rows) -> None:
    assert not [row for row in undisturbed if "drill-secret" in str(row)]
    assert len([row for row in undisturbed if row["uri"].startswith("http")]) == 15


def a_moment() -> int:
    """A random number of parts, early enough that work is left."""
    return random.randrange(3, 2000 // SHARD_ROWS // 2)


def assert_end(drill: Drill, name: str, expected: Rows) -> None:
    drill.verify(name)
    assert_same_results(read_rows(drill.run(name)), expected)


def test_the_driver_is_killed_and_the_scan_started_again(drill: Drill, undisturbed: Rows) -> None:
    name, moment = "driver-killed", a_moment()
    with running(*drill.command(name, SLOW), environment=drill.environment) as scan:
        scan.wait_for_parts(drill.run(name), moment)
        scan.kill()
        scan.wait_until_no_worker_is_left()
    done = len(drill.run(name).part_names())
    again = fakescan(*drill.command(name, FAKE), environment=drill.environment)
    scanned = int(again.out.partition("scanned now: ")[2].split()[0].replace(",", ""))
    assert scanned <= 2000 - SHARD_ROWS * done, "what stood was not scanned again"
    assert_end(drill, name, undisturbed)


def test_a_decoder_is_killed_and_the_scan_goes_on(drill: Drill, undisturbed: Rows) -> None:
    name = "decoder-killed"
    with running(*drill.command(name, SLOW), environment=drill.environment) as scan:
        # Decoders run ahead of the engine: after the first few parts there may be none left to kill.
        scan.wait_for_parts(drill.run(name), random.randrange(3))
        scan.kill_worker("ray::MapBatches(Feed)")
        assert scan.end() == 0, scan.err
    assert scan.out.startswith("results: "), "what Ray has to say about it is not for the user's terminal"
    assert_end(drill, name, undisturbed)


def test_an_engine_is_killed_and_the_scan_goes_on(drill: Drill) -> None:
    """With the real engine, whose next start takes a while."""
    fakescan(*drill.command("vllm-undisturbed", VLLM), environment=drill.environment)
    expected = read_rows(drill.run("vllm-undisturbed"))
    assert_accounted(expected, drill.images, poison=False)
    name, moment = "vllm-killed", a_moment()
    with running(*drill.command(name, VLLM), environment=drill.environment) as scan:
        scan.wait_for_parts(drill.run(name), moment)
        scan.kill_worker("ray::MapWorker(MapBatches(JudgeAndWrite))")
        assert scan.end() == 0, scan.err
    assert_end(drill, name, expected)
