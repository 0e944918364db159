"""The page in a browser, in front of a server whose answers a test scripts."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.page_browser import opened_page
from tests.page_server import PageServer


@pytest.fixture
def server() -> Iterator[PageServer]:
    """The scripted server."""
    with PageServer() as started:
        yield started


@pytest.fixture
def page(browser: Browser, server: PageServer) -> Iterator[Page]:
    """The page, loaded from it."""
    with opened_page(browser, server.url, patience_ms=20_000) as page:
        yield page
