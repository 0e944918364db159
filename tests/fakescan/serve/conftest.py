"""The browser of the tests of the page: one for a module, since other tests cannot run loops of their own beside it."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.page_browser import chromium


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium."""
    with chromium() as browser:
        yield browser
