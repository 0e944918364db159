"""The stability strip on the page of a report, and in its overview, in a browser."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from fakescan.report.build import ReportSettings, build_report
from fakescan.report.report_file import ReportFile
from fakescan.run.folder import RunFolder
from fakescan.storage.store import Store
from tests.fakescan.report.page.conftest import PATIENCE_MS
from tests.fakescan.run.stability.conftest import make_strip_run
from tests.page_browser import axe_faults, no_sideways_scroll, opened_page
from tests.report_server import READY, ReportServer

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def strip_report(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ReportFile]:
    """A report of a run that was looked at again, whose images are gone."""
    root = tmp_path_factory.mktemp("strip")
    folder, target = RunFolder(str(root / "run"), Store()), RunFolder(str(root / "report"), Store())
    make_strip_run(folder, stability="flagged", prefix=f"{root}/images/")
    return Path(target.path), build_report(folder, target, ReportSettings(thumbs=40))


@pytest.fixture
def strip_page(browser: Browser, strip_report: tuple[Path, ReportFile]) -> Iterator[Page]:
    """Its page, loaded."""
    with (
        ReportServer(strip_report[0]) as server,
        opened_page(browser, server.url, ready=READY, patience_ms=PATIENCE_MS, reduced_motion="reduce") as page,
    ):
        yield page


def test_what_does_not_hold_is_found_and_shown(strip_page: Page, strip_report: tuple[Path, ReportFile]) -> None:
    page, strip = strip_page, strip_report[1].strip
    assert strip is not None
    page.evaluate("location.hash = '#images?verdict=fake'")
    page.locator(".card[data-done]").first.wait_for()
    page.get_by_role("checkbox", name="verdict does not hold").check()
    expect(page.locator("#found")).to_contain_text(f"{strip.changes} ")
    page.locator(".card a[href]").last.click()
    facts = page.locator("#image-facts")
    expect(facts.get_by_role("heading", name="The verdict does not hold when the image is changed")).to_be_visible()
    expect(facts.locator(".strip li")).to_have_count(5)
    assert facts.locator('.strip [data-turned="true"]').count() > 0
    expect(facts.locator(".strip li").first).to_contain_text("as a JPEG of quality 70")
    expect(facts.locator("dt", has_text="score_half")).to_have_count(0)  # it is in the strip already
    assert axe_faults(page) == []
    page.set_viewport_size({"width": 390, "height": 844})
    assert no_sideways_scroll(page)


def test_the_overview_opens_as_a_file(browser: Browser, strip_report: tuple[Path, ReportFile]) -> None:
    page = browser.new_page()
    page.goto((strip_report[0] / "report.html").as_uri())
    expect(page.get_by_role("heading", name="Do the verdicts hold?")).to_be_visible()
    assert page.locator(".images .strip .turned").count() > 0
    assert axe_faults(page) == []
    page.set_viewport_size({"width": 390, "height": 844})
    assert no_sideways_scroll(page)
    page.close()
