"""The page is open to all: axe-core finds nothing in any state, and the keyboard reaches everything in order."""

from typing import Literal

import pytest
from playwright.sync_api import Page, ViewportSize, expect

from tests.page_browser import about_with, axe_faults, card, choose, expect_word
from tests.page_server import PageServer, Scripted
from tests.serve_process import PAIRS

pytestmark = pytest.mark.unit

SIZES: dict[str, ViewportSize] = {
    "desktop": {"width": 1280, "height": 900},
    "phone": {"width": 390, "height": 844},
}


# Contrast depends on the scheme, and what is shown on the size: two of the four pairs have both of each.
@pytest.mark.parametrize(("size", "scheme"), [("desktop", "light"), ("phone", "dark")])
def test_axe_finds_nothing(page: Page, server: PageServer, size: str, scheme: Literal["light", "dark"]) -> None:
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.set_viewport_size(SIZES[size])
    assert axe_faults(page) == [], "first sight"
    scores = (0.97, 0.55, 0.45, 0.03, 0.2)
    server.script = {
        path.name: Scripted(score, "This is an image.") for path, score in zip(PAIRS, scores, strict=False)
    }
    choose(page, *PAIRS[:5])
    expect_word(page, PAIRS[4].name, "Real")
    page.locator("#band").evaluate("(e) => { e.value = 0.1; e.dispatchEvent(new Event('input', { bubbles: true })); }")
    expect_word(page, PAIRS[1].name, "Uncertain")
    page.locator(".card summary").first.click()
    assert axe_faults(page) == [], "cards"
    page.get_by_role("button", name="Full view").first.click()
    page.locator("#decision label").first.click()
    page.get_by_label("Note").fill("a note")
    assert axe_faults(page) == [], "full view"
    page.keyboard.press("Escape")
    page.get_by_role("button", name="List").click()
    assert axe_faults(page) == [], "list"
    page.get_by_role("button", name=f"Remove {PAIRS[0].name}").click()
    assert axe_faults(page) == [], "an image was removed"
    page.get_by_role("button", name="Undo").click()
    page.get_by_role("button", name="Export…").click()
    assert axe_faults(page) == [], "export"
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    assert axe_faults(page) == [], "shortcuts"
    page.keyboard.press("Escape")
    server.meaning = "forgeries"
    about_with(page, auth=True)
    assert axe_faults(page) == [], "the built-in model, and a key that is missing"


def test_the_keyboard_reaches_everything_in_order(page: Page, server: PageServer) -> None:
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Choose images")).to_be_focused()
    first, second = PAIRS[:2]
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files([first, second])
    expect(page.locator(".card[aria-busy=true]")).to_have_count(0)
    expect(page.locator(".card")).to_have_count(2)
    page.get_by_role("button", name="Choose images").focus()
    for target in [
        page.get_by_role("slider", name="Threshold"),
        page.locator("#exact"),
        page.get_by_role("slider", name="Uncertain band"),
        page.locator("#rate"),
        page.get_by_role("radio", name="All 2"),
        page.get_by_role("combobox", name="Sort"),
        page.get_by_role("button", name="List"),
        page.get_by_role("button", name="Export…"),
        page.get_by_role("button", name="Clear all"),
        page.get_by_role("button", name=f"Full view of {first.name}"),
        page.get_by_role("button", name=f"Remove {first.name}"),
        page.locator(f'summary[aria-label="Details of {first.name}"]'),
        page.get_by_role("button", name=f"Full view of {second.name}"),
        page.get_by_role("button", name=f"Remove {second.name}"),
        page.locator(f'summary[aria-label="Details of {second.name}"]'),
        page.get_by_role("button", name="Keep nothing here"),
        page.get_by_role("link", name="HTTP API"),
    ]:
        page.keyboard.press("Tab")
        expect(target).to_be_focused()
        assert target.evaluate("(e) => (e.closest('label') ?? e).matches(':has(:focus-visible), :focus-visible')")
    page.get_by_role("button", name=f"Remove {first.name}").press("Enter")
    expect(card(page, second.name)).to_be_focused()
    page.keyboard.press("Enter")  # A second press removes nothing.
    expect(page.locator(".card")).to_have_count(1)
    page.keyboard.press("Control+z")
    expect(card(page, first.name)).to_be_focused()
