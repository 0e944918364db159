"""The overview in Chromium, opened as a file: inert, without a request, and without a fault that axe-core finds."""

import shutil
from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from tests.fakescan.report.conftest import MadeReport

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium."""
    program = shutil.which("chromium")
    if program is None:
        pytest.fail("The tests of the page need Chromium: install the package `chromium`, so that it is on PATH.")
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])


@pytest.fixture
def page(browser: Browser, made_report: MadeReport) -> Iterator[Page]:
    """The overview; it has asked for nothing but itself, and printed nothing."""
    page = browser.new_page(viewport={"width": 390, "height": 800})
    requests: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.goto((made_report.path / "report.html").as_uri())
    yield page
    assert [url for url in requests if not url.startswith("data:")] == [(made_report.path / "report.html").as_uri()]
    assert said == []
    page.close()


def test_names_of_files_and_words_of_the_model_do_nothing(page: Page, made_report: MadeReport) -> None:
    assert page.title() == f"Report: {made_report.file.run.source}"
    assert page.locator("script").count() == 0
    assert page.get_by_text("<script>document.title='owned'</script>").count() > 0
    policy = page.locator("meta[http-equiv]").get_attribute("content")
    assert policy is not None
    assert "default-src 'none'" in policy
    assert (
        page.evaluate("getComputedStyle(document.querySelector('.big li')).borderRadius") != "0px"
    )  # the style counts


def test_images_are_blurred_until_asked(page: Page) -> None:
    image = page.locator(".frame img").first
    assert "blur" in image.evaluate("node => getComputedStyle(node).filter")
    page.get_by_label("Show the images clearly").check()
    assert image.evaluate("node => getComputedStyle(node).filter") == "none"
    image.scroll_into_view_if_needed()
    assert image.evaluate("node => node.decode().then(() => node.naturalWidth)") > 0


def test_on_a_phone_nothing_is_cut_off(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") == 390


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_core_finds_nothing(page: Page, scheme: str) -> None:
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
