"""The requests that a scan sends to its stores are those that docs/cluster.md counts."""

import math
from collections import Counter
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.conftest import Bucket
from tests.fakescan.scan.test_faults import command, upload
from tests.faulty_s3 import FaultyS3
from tests.scan_process import fakescan
from tests.storage_server import SeaweedServer

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

COPIES = 20
"""Of 30 pictures."""
SHARD_ROWS = 16
AROUND = 150
"""Requests of any scan, whatever its size: the manifest, run.json, looks at what is there."""


def kind(method: str, path: str) -> str:
    query = parse_qs(urlsplit(path).query)
    if method == "GET" and ("list-type" in query or "prefix" in query):
        return "LIST"
    return f"{method} {'image' if '/images/' in path else 'part' if '/parts/' in path else 'other'}"


def test_one_get_for_an_image_and_one_put_for_a_part(
    ray_cluster: str, s3: SeaweedServer, s3_bucket: Bucket, pictures: Path, tiny_model: Path, tmp_path: Path
) -> None:
    upload(s3_bucket, pictures, COPIES)
    images = COPIES * len(list(pictures.iterdir()))
    sent: Counter[str] = Counter()
    with FaultyS3(s3.endpoint_url) as proxy:

        def note(method: str, path: str) -> None:
            sent[kind(method, path)] += 1

        proxy.fault = note
        store = {**s3_bucket.settings(), "endpoint_url": proxy.endpoint_url}
        places = {"source": f"{s3_bucket.url}/images", "output": f"{s3_bucket.url}/run"}
        stores = {"input_store": store, "output_store": store}
        words = command(tmp_path, tiny_model, **places, **stores, shard_rows=SHARD_ROWS, engine="fake")
        fakescan(*words, "--ray-address", ray_cluster)
    print(sorted(sent.items()))
    assert sent["GET image"] == images
    assert sent["PUT part"] == math.ceil(images / SHARD_ROWS)
    assert sent["HEAD image"] <= 1, "whether the prefix is an object"
    rest = sum(sent.values()) - sent["GET image"] - sent["PUT part"]
    assert rest <= AROUND, sent
