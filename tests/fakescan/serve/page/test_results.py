"""Images and their answers on the page: requests, retries, failures in words, the gallery and the list."""

import json
import re
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Page, Route, expect

from tests.gated import until
from tests.page_browser import (
    DETECT,
    about_with,
    card,
    choose,
    expect_verdict,
    expect_word,
    no_sideways_scroll,
    of_kind,
    problem,
)
from tests.page_server import PageServer, Scripted
from tests.serve_process import PAIRS

pytestmark = pytest.mark.unit

FAKE, REAL = of_kind(PAIRS, "fake"), of_kind(PAIRS, "real")


def test_a_file_that_is_no_image_shows_words_and_no_verdict(page: Page, tmp_path: Path) -> None:
    notes = tmp_path / "<b>notes<b>.txt"
    notes.write_text("no image")
    choose(page, notes, REAL)
    found = card(page, notes.name)
    expect(found.locator(".verdict")).to_have_text("No verdict")
    expect(found.locator(".state")).to_have_text(re.compile(r"^This file is not an image that can be read\. .+\.$"))
    expect(found.get_by_role("meter")).to_have_count(0)
    expect(found.locator(".no-preview")).to_have_text("Not an image")
    expect_verdict(page, REAL)
    expect(page.get_by_role("radio", name="Errors 1")).to_be_visible()


@pytest.mark.parametrize(
    ("code", "status", "words"), [("empty", 422, "The file is empty"), ("truncated", 422, "Too damaged to show")]
)
def test_a_browser_is_not_blamed_for_what_is_no_image(
    page: Page, tmp_path: Path, code: str, status: int, words: str
) -> None:
    page.route(DETECT, lambda route: problem(route, status, code, "the file has no bytes"))
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"")
    choose(page, bad)
    expect(card(page, bad.name).locator(".no-preview")).to_have_text(words)


def test_a_picture_with_too_many_pixels_is_refused_in_the_words_of_the_limit(page: Page) -> None:
    words = "9000 x 9000 pixels are more than 50000000"
    page.route(DETECT, lambda route: problem(route, 413, "too_many_pixels", words))
    choose(page, REAL)
    expect(card(page, REAL.name).locator(".state")).to_have_text(
        "The image is too large. It has 9000 × 9000 pixels, which are 81 megapixels; "
        "this server takes at most 50 megapixels."
    )


def test_a_file_that_is_too_large_is_not_sent(page: Page, server: PageServer) -> None:
    about_with(page, max_body_bytes=2048)
    choose(page, REAL)
    expect(page.get_by_text("this server takes at most 2 KiB")).to_be_visible()
    assert server.detections == 0


def test_a_busy_server_is_tried_again_after_a_countdown(page: Page) -> None:
    page.clock.install()  # Else the message would be gone after a second or stay for half a minute.
    page.route(
        DETECT,
        lambda route: problem(route, 503, "overloaded", "all places are taken", **{"Retry-After": "30"}),
        times=1,
    )
    choose(page, FAKE)
    expect(page.get_by_text(re.compile(r"The server is busy; trying again in (30|2\d)\ss"))).to_be_visible()
    page.clock.fast_forward(15_000)
    expect(page.get_by_text(re.compile(r"The server is busy; trying again in (1\d|\d)\ss"))).to_be_visible()
    page.clock.fast_forward(30_000)
    expect_verdict(page, FAKE)
    expect(page.get_by_text("The server is busy")).to_have_count(0)


def test_a_server_that_stays_busy_ends_in_words_and_a_button(page: Page) -> None:
    page.clock.install()
    tries: list[str] = []

    def busy(route: Route) -> None:
        tries.append("")
        problem(route, 429, "rate_limited", "at most 60 images a minute", **{"Retry-After": f"{len(tries)}500"})

    page.route(DETECT, busy)
    choose(page, REAL)
    for count in range(1, 6):
        words = rf"Too many images in a short time; trying again in {count}\d\d\d\ss"
        expect(page.get_by_text(re.compile(words))).to_be_visible()
        page.clock.fast_forward(10_000_000)
    expect(page.get_by_text("The server is still busy. At most 60 images a minute.")).to_be_visible()
    assert len(tries) == 6
    page.unroute(DETECT)
    page.get_by_role("button", name="Try again").click()
    expect_verdict(page, REAL)


def test_an_answer_cut_off_keeps_its_verdict_and_says_so(page: Page) -> None:
    result = {"index": 0, "name": "a", "verdict": "uncertain", "score": 0.47, "logit": -0.1, "off_script": 0.9}
    events = (
        f"event: verdict\ndata: {json.dumps(result)}\n\n"
        'event: explanation\ndata: {"index": 0, "text": "This is a fake"}\n\n'
        'event: error\ndata: {"status": 503, "code": "timeout", "detail": "It took longer than 60 s."}\n\n'
    )
    page.route(DETECT, lambda route: route.fulfill(content_type="text/event-stream", body=events), times=1)
    choose(page, FAKE)
    found = card(page, FAKE.name)
    expect(found.locator(".state")).to_have_text("The explanation is incomplete. It took longer than 60 s.")
    expect(found.locator(".verdict")).to_have_text(re.compile("Uncertain.*Score 0.47"))
    found.get_by_role("button", name="Try again").click()
    expect_verdict(page, FAKE)


def test_four_images_are_on_the_way_at_once_and_may_be_cancelled(page: Page) -> None:
    page.route(DETECT, lambda route: None)  # Never answered.
    choose(page, *PAIRS[:6])
    working, waiting = page.get_by_text("Sending and judging"), page.get_by_text("Waiting its turn")
    expect(working).to_have_count(4)
    expect(waiting).to_have_count(2)
    page.get_by_role("button", name=f"Cancel {PAIRS[0].name}").click()
    expect(working).to_have_count(4)
    expect(waiting).to_have_count(1)
    expect(page.get_by_text("Cancelled")).to_be_visible()
    page.unroute_all(behavior="ignoreErrors")
    page.get_by_role("button", name=f"Try again: {PAIRS[0].name}").click()
    expect_verdict(page, PAIRS[0])
    page.get_by_role("button", name=f"Remove {PAIRS[0].name}").click()
    expect(card(page, PAIRS[0].name)).to_have_count(0)


def test_a_server_out_of_reach_is_tried_again_after_a_countdown(page: Page) -> None:
    page.clock.install()
    page.route(DETECT, lambda route: route.abort("connectionrefused"), times=3)
    choose(page, REAL)
    expect(page.get_by_text(re.compile(r"The server cannot be reached; trying again in [124]\ss"))).to_be_visible()
    page.clock.fast_forward(4_000)
    expect_verdict(page, REAL)


def test_images_that_failed_in_an_outage_are_tried_again_by_one_button(page: Page) -> None:
    page.clock.install()
    tries: list[str] = []

    def refuse(route: Route) -> None:
        tries.append("")
        route.abort("connectionrefused")

    page.route(DETECT, refuse)
    choose(page, *PAIRS[:2])
    given_up = page.locator(".state").get_by_text("The server cannot be reached. Check the connection")
    waiting = page.locator(".state").get_by_text("The server cannot be reached; trying again in")
    while given_up.count() < 2:
        expect(waiting.or_(given_up)).to_have_count(2)
        page.clock.fast_forward(64_000)
    assert len(tries) == 2 * 8
    expect(page.get_by_text("2 images got no complete answer.")).to_be_visible()
    page.unroute(DETECT)
    page.get_by_role("button", name="Try all again").click()
    for path in PAIRS[:2]:
        expect_verdict(page, path)
    expect(page.get_by_role("button", name="Try all again")).to_be_hidden()
    expect(card(page, PAIRS[0].name)).to_be_focused()


def test_a_removed_image_can_be_brought_back(page: Page) -> None:
    page.clock.install()
    choose(page, *PAIRS[:3])
    for path in PAIRS[:3]:
        expect_verdict(page, path)
    undo = page.get_by_role("button", name="Undo")
    card(page, PAIRS[1].name).focus()
    page.keyboard.press("f")
    page.get_by_role("button", name=f"Remove {PAIRS[1].name}").dblclick()
    expect(page.get_by_text(f"{PAIRS[1].name} was removed, and your decision.", exact=True)).to_be_visible()
    expect(page.get_by_role("listitem")).to_have_count(2)  # A double click removes one.
    expect(page.get_by_role("status").filter(has_text="Undo is offered")).to_have_count(1)
    undo.click()
    expect(undo).to_be_hidden()
    expect(page.get_by_role("heading", level=3)).to_have_text([path.name for path in PAIRS[:3]])
    expect(card(page, PAIRS[1].name)).to_contain_text("You: Fake")
    expect(card(page, PAIRS[1].name)).to_be_focused()
    kept = "Object.keys(localStorage).filter((key) => key.startsWith('fakescan-item:')).length === 3"
    page.clock.run_for(1_000)
    page.wait_for_function(f"() => {kept}")

    page.get_by_role("button", name=f"Remove {PAIRS[0].name}").click()
    choose(page, PAIRS[0])  # The same file again, and then Undo: it is there once.
    expect_verdict(page, PAIRS[0])
    undo.click()
    expect(page.get_by_role("listitem")).to_have_count(3)

    page.get_by_role("button", name=f"Remove {PAIRS[0].name}").click()
    page.mouse.move(0, 0)
    page.clock.fast_forward(61_000)
    expect(undo).to_be_hidden()
    page.keyboard.press("Control+z")
    expect(page.get_by_role("listitem")).to_have_count(2)


def test_the_last_image_that_is_removed_can_be_brought_back_but_not_after_clear_all(page: Page) -> None:
    choose(page, FAKE)
    expect_verdict(page, FAKE)
    page.get_by_role("button", name="Clear all").click()
    expect(page.get_by_role("listitem")).to_have_count(0)
    expect(page.get_by_role("button", name="Undo")).to_be_focused()
    page.keyboard.press("Enter")
    expect_verdict(page, FAKE)
    choose(page, *PAIRS[:3])
    expect(page.get_by_role("listitem")).to_have_count(3)
    page.get_by_role("button", name=f"Remove {FAKE.name}").click()
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Clear all").click()
    expect(page.get_by_role("listitem")).to_have_count(0)
    expect(page.get_by_role("button", name="Undo")).to_be_hidden()


def test_a_low_score_of_a_model_that_knows_no_generator_is_grey_and_never_real(page: Page, server: PageServer) -> None:
    server.meaning, server.model = "forgeries", "builtin-small"
    page.reload()
    expect(page.get_by_role("note")).to_contain_text("knows no generator")
    choose(page, REAL, FAKE)
    expect_word(page, REAL.name, "No forgery found")
    expect_word(page, FAKE.name, "Fake")
    found = card(page, REAL.name)
    expect(found.locator(".caution")).to_contain_text("does not make the image real")
    grey, red = (
        card(page, path.name)
        .locator(".verdict")
        .evaluate("(e) => getComputedStyle(e).color.match(/\\d+/g).map(Number)")
        for path in (REAL, FAKE)
    )
    assert max(grey) - min(grey) < 40
    assert max(red) - min(red) > 100
    expect(page.get_by_role("radio", name="No forgery found 1")).to_be_visible()
    expect(page.get_by_role("radio", name=re.compile("^Real"))).to_have_count(0)
    expect(page.locator("#summary")).to_have_text("2 images: 1 fake, 1 no forgery found")


def test_the_square_that_was_seen_lies_over_a_wide_picture(page: Page, server: PageServer, tmp_path: Path) -> None:
    from PIL import Image

    wide = tmp_path / "wide.png"
    Image.new("RGB", (900, 300), "teal").save(wide)
    choose(page, wide)
    expect_word(page, wide.name, "Fake")
    frame, square = card(page, wide.name).locator(".frame"), card(page, wide.name).locator(".frame .seen")
    outer, inner = frame.bounding_box(), square.bounding_box()
    assert outer is not None
    assert inner is not None
    assert outer["width"] / outer["height"] == pytest.approx(3, rel=0.02)
    assert inner["width"] == pytest.approx(outer["width"] / 3, rel=0.02)
    assert inner["x"] - outer["x"] == pytest.approx(outer["width"] / 3, rel=0.03)
    expect(card(page, wide.name)).to_contain_text("The model saw only the middle 33 % of the picture.")


def test_the_model_named_is_the_one_that_answered(page: Page, server: PageServer) -> None:
    choose(page, REAL)
    expect_verdict(page, REAL)
    server.model = "lingcco/fakeVLM-2"
    choose(page, FAKE)
    expect_verdict(page, FAKE)
    expect(page.get_by_role("banner")).to_contain_text("Model lingcco/fakeVLM-2")
    expect(page.locator("#summary")).to_contain_text("judged by 2 models: lingcco/fakeVLM, lingcco/fakeVLM-2")
    for path, model in ((REAL, "lingcco/fakeVLM"), (FAKE, "lingcco/fakeVLM-2")):
        card(page, path.name).locator("summary").click()
        expect(card(page, path.name).locator("dd", has_text=re.compile(f"^{re.escape(model)}$"))).to_be_visible()


def test_thirty_images_are_a_compact_list(page: Page, server: PageServer, tmp_path: Path) -> None:
    paths = many(tmp_path, 30)
    choose(page, *paths)
    expect(page.locator("#summary")).to_have_text("30 images: 30 fake")
    gallery = page.get_by_role("list", name="Images")
    expect(gallery).to_have_attribute("data-view", "list")
    heights = page.locator(".card").evaluate_all("(rows) => rows.map((row) => row.getBoundingClientRect().height)")
    assert max(heights) <= 72
    page.get_by_role("button", name="List").click()
    expect(gallery).to_have_attribute("data-view", "cards")
    page.get_by_role("combobox", name="Sort").select_option(label="nearest to the threshold")

    def scores() -> list[float]:
        return [float(text.split()[-1]) for text in page.locator(".card .score").all_inner_texts()]

    until("they are in order", lambda: scores() == sorted(scores()))


def many(folder: Path, count: int) -> list[Path]:
    """Images that all differ."""
    from PIL import Image

    paths = []
    for number in range(count):
        path = folder / f"image-{number:03}.png"
        Image.new("RGB", (80 + number, 60), (number * 5 % 256, 90, 120)).save(path)
        paths.append(path)
    return paths


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_phone_has_one_column_and_large_targets(
    page: Page, server: PageServer, tmp_path: Path, scheme: Literal["light", "dark"]
) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    page.emulate_media(color_scheme=scheme)
    assert no_sideways_scroll(page)
    long_name = tmp_path / f"{'a-name-without-end-' * 8}.txt"
    long_name.write_text("no image")
    choose(page, FAKE, REAL, long_name)
    expect_verdict(page, FAKE)
    expect(card(page, long_name.name).locator(".verdict")).to_have_text("No verdict")
    expect(page.locator(".card[aria-busy=true]")).to_have_count(0)
    page.locator(".card summary").first.click()
    assert no_sideways_scroll(page)
    lefts = page.locator(".card").evaluate_all("(cards) => cards.map((card) => card.getBoundingClientRect().left)")
    assert len(set(lefts)) == 1
    targets = page.locator("button:visible, select:visible, summary:visible, .filter label:visible, footer a")
    heights = targets.evaluate_all("(all) => all.map((one) => [one.textContent, one.getBoundingClientRect().height])")
    assert [target for target in heights if target[1] < 44] == []
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", background)[:3])) < 200) == (scheme == "dark")
    card(page, FAKE.name).get_by_role("button", name="Full view").click()
    assert no_sideways_scroll(page)
    heights = page.locator("#viewer button:visible, #viewer .decision label").evaluate_all(
        "(all) => all.map((one) => [one.textContent, one.getBoundingClientRect().height])"
    )
    assert [target for target in heights if target[1] < 44] == []


def test_a_score_near_the_threshold_has_the_digits_that_tell_them_apart(page: Page, server: PageServer) -> None:
    server.script = {FAKE.name: Scripted(0.4999), REAL.name: Scripted(0.99999)}
    choose(page, FAKE, REAL)
    expect(card(page, FAKE.name).locator(".score")).to_have_text("Score 0.4999")
    expect(card(page, REAL.name).locator(".score")).to_have_text("Score > 0.99")
