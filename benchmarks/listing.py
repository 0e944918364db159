"""What listing a big bucket costs, with floors; exits non-zero beyond one.

    make bench-listing                                  # about 3 minutes on 2 cores
    python benchmarks/listing.py --pages 50 --keys 50000

The server is a process of its own that makes keys up, all in one folder, in Amazon's form; only this side's CPU time
counts. Compared, in turns:

- botocore: pages as botocore parses them, with its parser of dates already replaced by a fast one, made into a table
- columns: the same pages as this project parses them

and then a whole bucket from the first request to the manifest, which is cut into ranges of keys.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.report import ROOT, Report, median, ratios
from fakescan.sources.index import build_index
from fakescan.sources.listers.object_entries import entries
from fakescan.sources.listers.stretch import page_table
from fakescan.storage.s3.listing import list_page, object_page
from fakescan.storage.store import Store
from fakescan.storage.transport.base import normal_etag

CPU_MS, RATIO = 8.0, 0.3


def main() -> None:
    """Parse, measure, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=300, help="pages in each turn")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--keys", type=int, default=2_000_000, help="keys of the whole bucket")
    settings = parser.parse_args()
    report = Report("listing", vars(settings))
    print(f"a server that makes keys up\nmachine: {report.machine}\n", flush=True)
    with serving(max(settings.keys, 1_000 * settings.pages + 1)) as store:
        filesystem, _ = store.filesystem("s3://b/photos")
        turn(filesystem, "columns", 20)
        turn(filesystem, "botocore", 20)
        for number in range(settings.turns):
            for arm in ("botocore", "columns") if number % 2 else ("columns", "botocore"):
                report.add(arm, cpu_ms_per_1000=turn(filesystem, arm, settings.pages))
    with serving(settings.keys) as store:
        report.add("whole bucket", **whole(store))
    shares = ratios(report.values("columns", "cpu_ms_per_1000"), report.values("botocore", "cpu_ms_per_1000"))
    report.require("CPU-ms per 1,000 keys", report.median("columns", "cpu_ms_per_1000"), CPU_MS, at_least=False)
    report.require("the same as a share of botocore's", median(shares), RATIO, at_least=False)
    report.require("keys in the manifest", report.median("whole bucket", "rows"), settings.keys)
    sys.exit(report.finish())


def turn(filesystem: Any, arm: str, pages: int) -> float:
    """CPU-ms of this process for 1,000 keys."""
    base, started = "s3://b/", time.process_time()
    following: dict[str, str] | None = {}
    for _ in range(pages):
        assert following is not None
        if arm == "columns":
            page = object_page(filesystem, Bucket="b", Prefix="photos/", **following)
            rows, following = page_table(base, page).num_rows, page.following
        else:
            answer = list_page(filesystem, Bucket="b", Prefix="photos/", **following)
            objects = answer["Contents"]
            keys, sizes = [base + item["Key"] for item in objects], [item["Size"] for item in objects]
            rows = entries(keys, sizes, [normal_etag(item["ETag"]) for item in objects]).num_rows
            following = {"ContinuationToken": answer["NextContinuationToken"]}
        assert rows == 1_000
    return 1_000 * (time.process_time() - started) / pages


def whole(store: Store) -> dict[str, Any]:
    """A bucket from the first request to its manifest."""
    started, cpu = time.monotonic(), time.process_time()
    with tempfile.TemporaryDirectory(prefix="fakescan-listing-") as folder:
        info = build_index("s3://b/photos", f"{folder}/manifest", store=store, manifest_store=Store())
    seconds = time.monotonic() - started
    thousands = info.rows / 1_000
    return {
        "rows": info.rows,
        "seconds": seconds,
        "keys_per_s": info.rows / seconds,
        "cpu_ms_per_1000": 1_000 * (time.process_time() - cpu) / thousands,
    }


@contextmanager
def serving(keys: int) -> Iterator[Store]:
    """The server in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.listing_server", str(keys)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        port = int(process.stdout.readline())
        try:
            options = {"key": "any", "secret": "any"}
            endpoint = f"http://127.0.0.1:{port}"
            yield Store.model_validate({"endpoint_url": endpoint, "region": "us-east-1", "options": options})
        finally:
            process.stdin.close()
            process.wait()


if __name__ == "__main__":
    main()
