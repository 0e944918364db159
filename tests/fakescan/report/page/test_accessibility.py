"""The page of a report is open to all: axe-core finds nothing in any view, and nothing is wider than the screen."""

from typing import Literal

import pytest
from playwright.sync_api import Page, ViewportSize, expect

from tests.page_browser import axe_faults, no_sideways_scroll

pytestmark = pytest.mark.unit

SIZES: dict[str, ViewportSize] = {
    "desktop": {"width": 1280, "height": 900},
    "phone": {"width": 390, "height": 844},
}


# Contrast depends on the scheme, and what is shown on the size: two of the four pairs have both of each.
@pytest.mark.parametrize(("size", "scheme"), [("desktop", "light"), ("phone", "dark")])
def test_axe_finds_nothing(page: Page, size: str, scheme: Literal["light", "dark"]) -> None:
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.set_viewport_size(SIZES[size])
    for view, ready in [
        ("overview", ".tiles"),
        ("images?verdict=fake,error", ".card[data-done]"),
        ("folders", "table.folders"),
        ("errors", ".messages"),
        ("review", ".samples"),
        ("review?design=estimate", ".choices"),
    ]:
        page.evaluate("(hash) => (location.hash = hash)", f"#{view}")
        page.locator(f"main > section:not([hidden]) {ready}").first.wait_for()
        assert axe_faults(page) == [], view
        assert no_sideways_scroll(page), view
    page.evaluate("location.hash = '#folders'")
    page.get_by_role("button", name="As a tree").click()
    assert axe_faults(page) == [], "tree"
    page.evaluate("location.hash = '#images?verdict=fake'")
    page.locator(".card a[href]").first.click()
    page.locator("#image-facts dl").wait_for()
    assert axe_faults(page) == [], "one image"
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Export…").click()
    page.locator("#keep pre").first.wait_for()
    assert axe_faults(page) == [], "export"
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    assert axe_faults(page) == [], "shortcuts"


def test_ten_worst_folders_and_a_keep_list_by_the_keyboard_alone(page: Page) -> None:
    page.keyboard.press("3")
    expect(page.locator("#folder-rows tbody tr").nth(9)).to_be_visible()
    page.locator("#folder-rows tbody th a").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#found")).to_contain_text(" of ")
    page.keyboard.press("1")
    page.get_by_role("button", name="Export a keep-list…").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#keep pre").first).to_have_text(
        "fakescan filter 's3://results/library audit' --drop fake -o keep.parquet"
    )
