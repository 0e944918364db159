"""The browser of the tests of the page: one for a module, since other tests cannot run loops of their own beside it."""

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.page_browser import PATIENCE_MS


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium."""
    program = shutil.which("chromium")
    if program is None:
        pytest.fail("The tests of the page need Chromium: install the package `chromium`, so that it is on PATH.")
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
