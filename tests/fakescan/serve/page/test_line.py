"""The line: every image at its score, and a threshold and a band that the reviewer moves."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.page_browser import card, choose, expect_word
from tests.page_server import PageServer, Scripted
from tests.serve_process import PAIRS

pytestmark = pytest.mark.unit

LOW, MIDDLE, HIGH = PAIRS[:3]
SCORES = {LOW.name: 0.12, MIDDLE.name: 0.62, HIGH.name: 0.97}


@pytest.fixture(autouse=True)
def judged(server: PageServer, page: Page) -> None:
    """Three images whose scores are known."""
    server.script = {name: Scripted(score, f"This is a {word(score)} image.") for name, score in SCORES.items()}
    choose(page, LOW, MIDDLE, HIGH)
    for name, score in SCORES.items():
        expect_word(page, name, word(score).capitalize())


def word(score: float) -> str:
    return "fake" if score >= 0.5 else "real"


def slide(page: Page, name: str, value: float) -> None:
    """Move a slider, as a hand does."""
    page.locator(name).evaluate(
        "(slider, value) => { slider.value = value; slider.dispatchEvent(new Event('input', { bubbles: true })); }",
        value,
    )


def test_every_image_stands_at_its_score(page: Page) -> None:
    axis = page.locator(".axis").bounding_box()
    assert axis is not None
    for name, score in SCORES.items():
        page.wait_for_function(
            """([name, x]) => {
                const { left, width } = [...document.querySelectorAll(".tile")].find((tile) => tile.title === name)
                    .getBoundingClientRect();
                return Math.abs(left + width / 2 - x) < 2;
            }""",
            arg=[name, axis["x"] + score * axis["width"]],
        )
    handle = page.locator(".rule").bounding_box()
    assert handle is not None
    assert handle["x"] + handle["width"] / 2 == pytest.approx(axis["x"] + axis["width"] / 2, abs=2)


def test_moving_the_threshold_changes_sides_and_says_whose_it_is(page: Page) -> None:
    slide(page, "#threshold", 0.7)
    expect_word(page, MIDDLE.name, "Real")
    found = card(page, MIDDLE.name)
    # The explanation stays the model's own; what does not fit is said beside it.
    expect(found.locator(".explanation")).to_have_text("This is a fake image.")
    expect(found.locator(".caution")).to_have_text("The model leans to fake (0.62), below your threshold of 0.70.")
    expect(page.locator("#summary")).to_have_text("3 images: 1 fake, 2 real")
    expect(found.get_by_role("meter")).to_have_attribute("aria-valuetext", "0.62; the threshold is 0.70")
    slide(page, "#threshold", 0.1)
    expect_word(page, LOW.name, "Fake")
    expect(card(page, LOW.name).locator(".caution")).to_have_text(
        "The model leans to real (score 0.12), and from your threshold of 0.10 on an image counts as fake."
    )
    page.get_by_role("button", name="Back to the server’s settings").click()
    expect_word(page, LOW.name, "Real")
    expect(card(page, MIDDLE.name).locator(".caution")).to_be_hidden()


def test_the_exact_threshold_and_the_keyboard(page: Page) -> None:
    exact = page.get_by_label("Threshold", exact=True).and_(page.locator("#exact"))
    exact.fill("0.6195")
    exact.press("Enter")
    expect_word(page, MIDDLE.name, "Fake")
    expect(page.locator("#flag")).to_have_text("your threshold 0.6195")
    exact.fill("7")
    exact.press("Enter")
    expect(page.locator("#flag")).to_have_text("your threshold 0.99")
    exact.fill("")
    exact.press("Enter")
    expect(exact).to_have_value("0.99")
    page.locator("#threshold").focus()
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#flag")).to_have_text(re.compile(r"threshold 0\.98"))


def test_a_band_makes_scores_uncertain(page: Page) -> None:
    slide(page, "#band", 0.15)
    expect_word(page, MIDDLE.name, "Uncertain")
    expect(card(page, MIDDLE.name).locator(".caution")).to_have_text(
        "The model leans to fake (0.62), within the uncertain scores from 0.35 to 0.65."
    )
    expect(page.locator("#band-words")).to_have_text("0.35 to 0.65")
    slide(page, "#threshold", 0.8)
    expect_word(page, MIDDLE.name, "Real")
    expect_word(page, HIGH.name, "Fake")


def test_the_servers_own_band_is_shown_and_goes_with_the_line(page: Page, server: PageServer) -> None:
    server.band = (0.4, 0.65)
    page.reload()
    expect(page.locator("#band-words")).to_have_text("0.40 to 0.65")
    slide(page, "#threshold", 0.6)
    expect(page.locator("#band-words")).to_have_text("0.50 to 0.75")
    expect_word(page, MIDDLE.name, "Uncertain")


def test_how_sure_is_said_for_the_share_of_fakes_that_is_chosen(page: Page) -> None:
    found = card(page, HIGH.name).locator(".sure")
    expect(found).to_have_text(re.compile("about 97 % are fake where 50 % of all are, and about 25 % where 1 % are"))
    page.locator("#rate").select_option(label="10\u00a0%")
    expect(found).to_have_text(
        "The calibration says: of images like its own with this score, about 78\u00a0% are fake "
        "where 10\u00a0% of all are."
    )
    page.locator(f".card:has(h3:text-is('{HIGH.name}'))").get_by_role("button", name="Full view").click()
    expect(page.locator("#odds-words")).to_have_text(
        "Of 100 images like the calibration’s with this score, about 78 are fake where 10\u00a0% of all are."
    )
    assert page.locator("#odds .on").count() == 78


def test_hundreds_of_images_have_room(page: Page) -> None:
    """However many there are, no tile leaves the bench, and each stands at its score."""
    page.evaluate("""async () => {
        const { items, newItem, pageChanged } = await import("/page/items.js");
        const { newCard } = await import("/page/gallery.js");
        for (let number = 0; number < 600; number++) {
            const result = { verdict: "real", score: ((number * 7919) % 600) / 600, remarks: [] };
            const item = newItem({ name: `n${number}`, state: "done", result });
            newCard(item);
            items.push(item);
        }
        pageChanged();
    }""")
    expect(page.locator(".tile")).to_have_count(603)
    expect(page.get_by_role("list", name="Images")).to_have_attribute("data-view", "list")
    outside = page.evaluate("""() => {
        const bench = document.querySelector(".bench").getBoundingClientRect();
        const panel = document.querySelector(".table").getBoundingClientRect();
        return [...document.querySelectorAll(".tile")].filter((tile) => {
            const top = bench.bottom - parseFloat(tile.style.bottom) - parseFloat(tile.style.height);
            const left = parseFloat(tile.style.left) + document.getElementById("pile").getBoundingClientRect().left;
            return top < bench.top - 10 || left < panel.left || left + parseFloat(tile.style.width) > panel.right;
        }).length;
    }""")
    assert outside == 0
