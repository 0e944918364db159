"""The page of a report of a million images: what a first view costs, how long filters take, and how much memory.

Prints a table; the floors are those of docs/report.md. Over a server with range requests, and from a bucket.
"""

import json
import mimetypes
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from playwright.sync_api import Browser, Page

from tests.conftest import Bucket
from tests.page_browser import chromium
from tests.report_folder import ReportFolder
from tests.report_server import ReportServer

pytestmark = pytest.mark.unit
MAX_BYTES, MAX_REQUESTS, MAX_FILTER_MS, MAX_MEMORY = 3 * 2**20, 40, 500, 500 * 10**6
ROWS = int(os.environ.get("REPORT_ROWS", "1000000"))

FILTERS = [
    "verdict=fake",
    "verdict=real,uncertain",
    "score=0.9-1",
    "words=hands",
    "folder=2016",
    "folder=2016&verdict=fake&words=eyes",
    "error=not_found",
    "flags=explained",
    "one=yes",
    "verdict=fake&one=yes&sort=copies",
    "sort=low",
    "origin=captured",
    "sort=spread",
    "sort=size",
    "sort=run",
    "folder=2019&origin=ai_generated,ai_edited&sort=run",
    "verdict=real&one=yes&score=0-0.3&sort=size",
    "picture=0.120",
]
# The time until the page says how many images there are and the first card is drawn.
FILTER = """
async (hash) => {
    const start = performance.now();
    const begun = new Promise((resolve) => addEventListener("popstate", () => setTimeout(resolve), { once: true }));
    location.hash = hash;
    await begun;
    const after = (found) => new Promise((resolve) => {
        const look = () => (found() ? resolve(performance.now() - start) : requestAnimationFrame(look));
        requestAnimationFrame(look);
    });
    const counted = await after(() => !document.querySelector("#scroller").hasAttribute("aria-busy"));
    const drawn = await after(() => document.querySelector(".card[data-done], #none:not([hidden])"));
    return [counted, drawn];
}
"""


@dataclass
class Traffic:
    """What the network carries."""

    requests: int = 0
    bytes: int = 0
    failed: list[str] = field(default_factory=list)

    def listen(self, page: Page) -> None:
        network = page.context.new_cdp_session(page)
        network.send("Network.enable")
        network.on("Network.requestWillBeSent", self._sent)
        network.on("Network.loadingFinished", self._finished)

    def _sent(self, event: dict[str, Any]) -> None:
        self.requests += not event["request"]["url"].startswith(("blob:", "data:"))

    def _finished(self, event: dict[str, Any]) -> None:
        self.bytes += int(event["encodedDataLength"])


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium."""
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report."""
    folder = tmp_path_factory.mktemp("million")
    ReportFolder(rows=ROWS, folders=2000, thumbs=20_000, looked=True).write(folder)
    return folder


def test_over_a_server_with_ranges(browser: Browser, folder: Path) -> None:
    with ReportServer(folder) as server:
        measure(browser, server.url, "range server")


def test_from_a_bucket(browser: Browser, folder: Path, s3_bucket: Bucket) -> None:
    allowed = {"Effect": "Allow", "Principal": "*", "Action": ["s3:GetObject"]}
    resource = {"Resource": [f"arn:aws:s3:::{s3_bucket.name}/*"]}
    policy = {"Version": "2012-10-17", "Statement": [{**allowed, **resource}]}
    s3_bucket.call("put_bucket_policy", Policy=json.dumps(policy))
    for path in folder.rglob("*"):
        if path.is_file():
            kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
            s3_bucket.put(f"report/{path.relative_to(folder)}", path.read_bytes(), ContentType=kind)
    endpoint = s3_bucket.store.endpoint_url
    measure(browser, f"{endpoint}/{s3_bucket.name}/report/index.html", "bucket")


def measure(browser: Browser, url: str, name: str) -> None:
    """First views, filters, and memory after all of them and a ride through the wall."""
    print(f"\n{name}, {ROWS:,} images")
    for view, ready in [("", ".tiles"), ("#images", ".card img")]:
        with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
            page, traffic = context.new_page(), Traffic()
            traffic.listen(page)
            page.goto(url + view)
            page.locator(ready).first.wait_for()
            page.wait_for_load_state("networkidle")
            paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
            seen = page.evaluate("performance.now()")
            print(
                f"first view {view or '#overview':10} {traffic.requests} requests, {traffic.bytes / 1e6:.2f} MB, "
                f"first paint {paint:.0f} ms, all there {seen:.0f} ms"
            )
            assert traffic.requests <= MAX_REQUESTS
            assert traffic.bytes <= MAX_BYTES
    with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        page = context.new_page()
        page.goto(f"{url}#images")
        page.locator(".card img").first.wait_for()
        slow = []
        for query in FILTERS:
            for turn in ("first", "again"):
                page.evaluate("location.hash = '#images'")
                page.wait_for_load_state("networkidle")
                counted, drawn = page.evaluate(FILTER, f"#images?{query}")
                found = page.locator("#found").text_content()
                print(f"filter {query:40} {turn}: counted {counted:.0f} ms, drawn {drawn:.0f} ms, {found}")
                slow += [query] * (counted > MAX_FILTER_MS)
        page.evaluate("location.hash = '#images'")
        for share in (0.2, 0.5, 0.8, 1.0):
            page.locator("#scroller").evaluate("(bar, share) => (bar.scrollTop = share * bar.scrollHeight)", share)
            page.locator(".card[data-done] img, .card[data-done] .no-picture").first.wait_for()
            page.wait_for_load_state("networkidle")
        memory = max(process.memory_full_info().uss for process in renderers())
        heap = page.evaluate("performance.memory.usedJSHeapSize")
        print(f"memory: {memory / 1e6:.0f} MB of the page's process, {heap / 1e6:.0f} MB of them JavaScript's heap")
        assert memory < MAX_MEMORY
        assert slow == []


def renderers() -> Iterator[psutil.Process]:
    """The processes of this test's browser that show pages."""
    for process in psutil.Process().children(recursive=True):
        if "--type=renderer" in process.cmdline() and "--top-chrome-webui" not in process.cmdline():
            yield process
