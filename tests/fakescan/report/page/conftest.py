"""The page of a report in a browser, over reports with invented rows."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.page_browser import chromium, opened_page
from tests.report_folder import HOSTILE, ReportFolder
from tests.report_server import READY, ReportServer

ROWS = 3000
PATIENCE_MS = 15_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium, for a module."""
    with chromium() as browser:
        expect.set_options(timeout=PATIENCE_MS)
        yield browser


@pytest.fixture(scope="session")
def report_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report as `fakescan view` shows it, with a sample for review, and with names and explanations that attack."""
    folder = tmp_path_factory.mktemp("report")
    ReportFolder(
        rows=ROWS,
        folders=40,
        thumbs=600,
        samples=4,
        designs=("estimate", "qa"),
        view={"api": "api/", "reviewer": "ann", "can_label": True},
        names={row: f"<script>document.title=1</script>{HOSTILE} {row}" for row in range(ROWS)},
        explanations={row: f"<b>bold</b> {HOSTILE} javascript:alert(1)" for row in range(ROWS)},
        signer=HOSTILE,
        folder_names={3: "=cmd()/<i>slanted</i>"},
    ).write(folder)
    return folder


@pytest.fixture
def server(report_folder: Path) -> Iterator[ReportServer]:
    """A server of it, with the interface of `fakescan view`."""
    with ReportServer(report_folder) as server:
        yield server


@pytest.fixture
def page(browser: Browser, server: ReportServer) -> Iterator[Page]:
    """The page, loaded."""
    with opened_page(browser, server.url, ready=READY, patience_ms=PATIENCE_MS, reduced_motion="reduce") as page:
        yield page
