"""What a reviewer does: full view and zoom, decisions and notes, single keys, results kept over a reload, exports."""

import csv
import io
import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Download, Page, expect

from tests.page_browser import ABOUT, DETECT, card, choose, expect_verdict, opened_page
from tests.page_server import PageServer, Scripted
from tests.serve_process import PAIRS

pytestmark = pytest.mark.unit

FIRST, SECOND, THIRD = PAIRS[:3]
KEPT = "Object.keys(localStorage).filter((key) => key.startsWith('fakescan-item:')).length"


@pytest.fixture
def judged(page: Page) -> None:
    """Three images with their answers."""
    choose(page, FIRST, SECOND, THIRD)
    for path in (FIRST, SECOND, THIRD):
        expect_verdict(page, path)


def focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.closest('.card')?.querySelector('h3').textContent ?? ''"))


@pytest.mark.usefixtures("judged")
def test_single_keys_go_through_the_images_and_decide(page: Page) -> None:
    viewer = page.get_by_role("dialog")
    page.keyboard.press("j")
    assert focused(page) == FIRST.name
    page.keyboard.press("j")
    page.keyboard.press("k")
    page.keyboard.press("f")
    expect(card(page, FIRST.name)).to_contain_text("You: Fake")
    page.keyboard.press(" ")
    expect(viewer.get_by_role("heading", name=FIRST.name)).to_be_visible()
    expect(viewer.get_by_role("radio", name="Fake")).to_be_checked()
    page.keyboard.press("j")
    expect(viewer.get_by_role("heading", name=SECOND.name)).to_be_visible()
    expect(viewer.get_by_text("2 of 3")).to_be_visible()
    page.keyboard.press("u")
    expect(viewer.get_by_role("radio", name="Unsure")).to_be_checked()
    page.keyboard.press("n")
    page.keyboard.type("fur and jk")  # Letters in the note are letters.
    expect(viewer.get_by_label("Note")).to_have_value("fur and jk")
    expect(viewer.get_by_role("heading", name=SECOND.name)).to_be_visible()
    page.keyboard.press("Escape")
    expect(viewer).to_be_hidden()
    expect(card(page, SECOND.name)).to_be_focused()
    expect(card(page, SECOND.name)).to_contain_text("You: Unsure fur and jk")
    expect(page.get_by_role("radio", name="To review 1")).to_be_visible()
    page.keyboard.press("u")
    expect(card(page, SECOND.name)).not_to_contain_text("You: Unsure")
    page.get_by_role("radio", name="To review 2").check()
    expect(page.get_by_role("listitem")).to_have_count(2)


@pytest.mark.usefixtures("judged")
def test_an_image_just_decided_stays_in_to_review_until_the_view_changes(page: Page) -> None:
    card(page, FIRST.name).focus()
    page.keyboard.press("f")
    page.get_by_role("radio", name="To review 2").check()
    expect(page.get_by_role("listitem")).to_have_count(2)
    card(page, SECOND.name).focus()
    page.keyboard.press("r")
    expect(page.get_by_role("radio", name="To review 1")).to_be_visible()
    expect(page.get_by_role("listitem")).to_have_count(2)
    page.keyboard.press("j")
    expect(card(page, THIRD.name)).to_be_focused()
    page.keyboard.press("k")
    expect(card(page, SECOND.name)).to_be_focused()
    page.get_by_role("radio", name="All 3").check()
    page.get_by_role("radio", name="To review 1").check()
    expect(page.get_by_role("listitem")).to_have_count(1)


def test_images_keep_their_order_over_a_reload(page: Page) -> None:
    page.evaluate("Date.now = () => 1_800_000_000_000")
    choose(page, *PAIRS[:5])
    for path in PAIRS[:5]:
        expect_verdict(page, path)
    page.wait_for_function(f"() => {KEPT} === 5")
    # The browser lists the entries of its storage in no order: here in one that is not that of their coming.
    page.add_init_script(
        "const keys = Object.keys; Object.keys = (of) => (of === localStorage ? keys(of).sort().reverse() : keys(of));"
    )
    page.reload()
    expect(page.get_by_role("heading", level=3)).to_have_text([path.name for path in PAIRS[:5]])


@pytest.mark.usefixtures("judged")
def test_single_keys_can_be_turned_off_and_leave_controls_alone(page: Page) -> None:
    page.get_by_role("button", name="List").focus()
    page.keyboard.press(" ")  # A button's own key.
    expect(page.get_by_role("list", name="Images")).to_have_attribute("data-view", "list")
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.keyboard.press("?")
    keys = page.get_by_role("dialog", name="Keyboard shortcuts")
    keys.get_by_label("Single keys work on this page").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    assert focused(page) == ""
    page.reload()
    page.keyboard.press("j")
    assert focused(page) == ""


@pytest.mark.usefixtures("judged")
def test_the_full_view_zooms_to_the_pointer_and_moves(page: Page) -> None:
    card(page, FIRST.name).get_by_role("button", name="Full view").click()
    sheet, words = page.locator("#sheet"), page.locator("#zoom-words")
    fitted = words.inner_text()
    page.get_by_role("button", name="Zoom in").click()
    expect(words).not_to_have_text(fitted)
    page.keyboard.press("0")
    expect(words).to_have_text(fitted)
    stage = page.locator("#stage").bounding_box()
    before = sheet.bounding_box()
    assert stage is not None
    assert before is not None
    x, y = before["x"] + before["width"] * 0.25, before["y"] + before["height"] * 0.25
    page.mouse.move(x, y)
    page.mouse.wheel(0, -1500)
    expect(words).not_to_have_text(fitted)
    after = sheet.bounding_box()
    assert after is not None
    assert (x - after["x"]) / after["width"] == pytest.approx(0.25, abs=0.01)
    page.mouse.down()
    page.mouse.move(x + 40, y + 30)
    page.mouse.up()
    moved = sheet.bounding_box()
    assert moved is not None
    assert moved["x"] - after["x"] == pytest.approx(40, abs=1)
    page.locator("#stage").focus()
    page.keyboard.press("ArrowRight")
    expect.soft(sheet).to_be_visible()
    panned = sheet.bounding_box()
    assert panned is not None
    assert panned["x"] < moved["x"]
    page.get_by_role("button", name="Model’s pixels").click()
    expect(page.get_by_text("The square in 336 × 336 pixels")).to_be_visible()
    assert page.evaluate("[document.getElementById('eye').width, document.getElementById('eye').height]") == [336, 336]
    page.get_by_role("button", name="Next image").click()
    expect(page.locator("#eye")).to_be_hidden()


def test_the_square_lies_over_the_large_picture(page: Page, tmp_path: Path) -> None:
    from PIL import Image

    wide = tmp_path / "wide.jpg"
    Image.new("RGB", (900, 300), "teal").save(wide)
    choose(page, wide)
    expect(card(page, wide.name)).to_have_attribute("aria-busy", "false")
    card(page, wide.name).get_by_role("button", name="Full view").click()
    page.get_by_role("button", name="Zoom in").click()
    outer, inner = page.locator("#sheet").bounding_box(), page.locator("#sheet .seen").bounding_box()
    assert outer is not None
    assert inner is not None
    assert inner["width"] == pytest.approx(outer["width"] / 3, rel=0.01)
    page.keyboard.press("m")
    expect(page.locator("#sheet .seen")).to_be_hidden()


@pytest.mark.usefixtures("judged")
def test_results_decisions_and_notes_survive_a_reload_and_the_page_says_so(page: Page, server: PageServer) -> None:
    expect(page.get_by_text("are kept in this browser until you clear them")).to_be_visible()
    page.keyboard.press("j")
    page.keyboard.press("r")
    page.keyboard.press("n")
    page.keyboard.type("seen before")
    page.keyboard.press("Escape")
    sha = card(page, FIRST.name).locator("dd", has_text=re.compile("^[0-9a-f]{64}$"))
    digest = sha.text_content()
    page.wait_for_function(f"() => {KEPT} === 3")
    page.reload()
    for path in (FIRST, SECOND, THIRD):
        expect_verdict(page, path)
    expect(card(page, FIRST.name)).to_contain_text("You: Real seen before")
    expect(sha).to_have_text(digest or "-")
    expect(card(page, FIRST.name).get_by_role("img")).to_have_attribute("src", re.compile("^data:image/jpeg"))
    card(page, FIRST.name).get_by_role("button", name="Full view").click()
    expect(page.get_by_text("Only this small preview was kept.")).to_be_visible()
    page.keyboard.press("Escape")
    choose(page, FIRST)  # The same file gives its picture back, and is not judged again.
    expect(page.get_by_role("listitem")).to_have_count(3)  # For a moment there are four, until its hash is known.
    expect(card(page, FIRST.name).get_by_role("img")).to_have_attribute("src", re.compile("^blob:"))
    assert server.detections == 3
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Clear all").click()
    assert page.evaluate(KEPT) == 0
    page.reload()
    expect(page.get_by_role("listitem")).to_have_count(0)


@pytest.mark.usefixtures("judged")
def test_nothing_is_kept_where_the_user_says_so(page: Page) -> None:
    page.get_by_role("button", name="Keep nothing here").click()
    expect(page.get_by_text("Nothing is kept in this browser")).to_be_visible()
    page.evaluate("new Promise((done) => setTimeout(done, 500))")  # What was to be saved before would be by now.
    assert page.evaluate(KEPT) == 0
    page.keyboard.press("j")
    page.keyboard.press("f")
    page.reload()
    expect(page.get_by_role("listitem")).to_have_count(0)


def test_an_image_that_a_reload_interrupted_says_so_and_is_judged_when_chosen_again(
    page: Page, server: PageServer
) -> None:
    page.route(DETECT, lambda route: None)
    choose(page, FIRST)
    expect(page.get_by_text("Sending and judging")).to_be_visible()
    page.wait_for_function(f"() => {KEPT} === 1")
    page.reload()
    page.unroute_all(behavior="ignoreErrors")  # Only now: the request that waits would go on.
    expect(card(page, FIRST.name)).to_contain_text("loaded again before this image was judged. Choose the file again.")
    choose(page, FIRST)
    expect(page.get_by_role("listitem")).to_have_count(1)
    expect_verdict(page, FIRST)


@pytest.mark.usefixtures("judged")
def test_a_full_storage_is_said_and_takes_no_result(page: Page) -> None:
    page.evaluate("""() => {
        const put = Storage.prototype.setItem;
        Storage.prototype.setItem = function (key, value) {
            if (key.startsWith("fakescan-item:")) throw new DOMException("full", "QuotaExceededError");
            put.call(this, key, value);
        };
    }""")
    page.keyboard.press("j")
    page.keyboard.press("f")
    expect(page.get_by_text("This browser’s storage is full")).to_be_visible()
    expect(card(page, FIRST.name)).to_contain_text("You: Fake")


def test_two_tabs_keep_each_others_results(page: Page, browser: Browser, server: PageServer) -> None:
    other = page.context.new_page()
    other.goto(server.url)
    choose(page, FIRST)
    choose(other, SECOND)
    expect_verdict(page, FIRST)
    expect_verdict(other, SECOND)
    page.wait_for_function(f"() => {KEPT} === 2")
    page.reload()
    expect_verdict(page, FIRST)
    expect_verdict(page, SECOND)


def test_what_is_kept_and_broken_does_no_harm(page: Page) -> None:
    page.evaluate("""() => {
        localStorage.setItem("fakescan-item:a", "no JSON");
        localStorage.setItem("fakescan-item:b", "{}");
        localStorage.setItem("fakescan-settings", "[1");
    }""")
    page.reload()
    choose(page, FIRST)
    expect(page.get_by_role("listitem")).to_have_count(1)
    expect_verdict(page, FIRST)


def exported(page: Page, button: str) -> Download:
    with page.expect_download() as download:
        page.get_by_role("dialog", name="Export").get_by_role("button", name=button).click()
    return download.value


def test_exports_hold_verdicts_decisions_and_notes_and_no_markup_or_formula(
    page: Page, browser: Browser, server: PageServer, tmp_path: Path
) -> None:
    server.meaning = "forgeries"
    page.reload()
    named = tmp_path / '=HYPERLINK("<script>alert(1)<script>").jpg'
    named.write_bytes(PAIRS[0].read_bytes())
    choose(page, named, SECOND)
    expect(page.locator(".card[aria-busy=true]")).to_have_count(0)
    page.keyboard.press("j")
    page.keyboard.press("f")
    page.keyboard.press("n")
    note = '<img src=x onerror=alert(1)>, "quoted"'
    page.keyboard.type(note)
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Export…").click()
    page.get_by_role("textbox", name="Case").fill("Case 7/2026")
    page.get_by_role("textbox", name="Reviewer").fill("M. Okafor")
    expect(page.get_by_text("2 images will be in the file.")).to_be_visible()

    saved = exported(page, "Data (JSON)")
    assert saved.suggested_filename == "fakescan-Case-7-2026.json"
    data = json.loads(saved.path().read_text())
    assert (data["case"], data["reviewer"], data["models"]) == ("Case 7/2026", "M. Okafor", ["lingcco/fakeVLM"])
    first, second = data["results"]
    assert (first["name"], first["decision"], first["note"]) == (named.name, "fake", note)
    assert re.fullmatch("[0-9a-f]{64}", first["sha256"])
    assert second["decision"] is None
    assert {row["finding"] for row in data["results"]} <= {"fake", "no forgery found"}
    assert all("knows no generator" in row["notice"] and row["how_sure"] for row in data["results"])
    assert all(row["result"]["score"] == row["score"] and row["threshold_of"] == "server" for row in data["results"])

    rows = list(csv.DictReader(io.StringIO(exported(page, "Table (CSV)").path().read_text("utf-8-sig"))))
    assert rows[0]["name"] == "'" + named.name
    assert (rows[0]["note"], rows[0]["decision"]) == (note, "fake")
    assert rows[1]["sha256"] == second["sha256"]
    assert float(rows[1]["score"]) == second["score"]

    page.get_by_role("radio", name="Only those that you decided").check()
    expect(page.get_by_text("1 image will be in the file.")).to_be_visible()
    file = Path(exported(page, "Case file (HTML)").path())
    shown = browser.new_page()
    problems: list[str] = []
    shown.on("dialog", lambda dialog: problems.append(f"a script ran: {dialog.message}"))
    shown.on("console", lambda message: problems.append(message.text))
    shown.set_content(file.read_text())
    expect(shown.get_by_role("heading", level=1)).to_have_text("Case 7/2026")
    expect(shown.get_by_role("heading", level=2)).to_have_text([named.name])
    expect(shown.get_by_text(note)).to_be_visible()
    expect(shown.get_by_text("Reviewer: Fake")).to_be_visible()
    expect(shown.get_by_text("knows no generator").first).to_be_visible()
    assert shown.get_by_role("img").evaluate_all("(all) => all.map((one) => one.naturalWidth > 50)") == [True]
    assert problems == []
    shown.close()


def test_the_case_file_states_both_limits_one_clock_and_what_is_odd_of_the_file(
    page: Page, browser: Browser, server: PageServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = "the end marker is missing; all pixels are there"
    result = server.result
    monkeypatch.setattr(server, "result", lambda name, data: {**result(name, data), "note": note})
    server.band = (0.45, 0.55)
    page.reload()
    named = tmp_path / "cat_\u202egpj.exe.png"
    named.write_bytes(FIRST.read_bytes())
    server.script = {named.name: Scripted(0.62)}
    choose(page, named)
    expect(page.locator(".card[aria-busy=true]")).to_have_count(0)
    for dial, value in (("threshold", 0.7), ("band", 0.1)):
        page.locator(f"#{dial}").evaluate(
            "(e, value) => { e.value = value; e.dispatchEvent(new Event('input', { bubbles: true })); }", value
        )
    card(page, "cat_⟨U+202E⟩gpj.exe.png").focus()
    page.keyboard.press("f")
    page.get_by_role("button", name="Export…").click()

    text = exported(page, "Data (JSON)").path().read_text()
    assert "cat_\\u202egpj" in text
    assert json.loads(text)["results"][0]["name"] == named.name
    row = next(csv.DictReader(io.StringIO(exported(page, "Table (CSV)").path().read_text("utf-8-sig"))))
    assert row["name"] == "cat_⟨U+202E⟩gpj.exe.png"
    assert row["file_note"] == note

    shown = browser.new_page()
    shown.set_content(exported(page, "Case file (HTML)").path().read_text())
    expect(shown.get_by_role("heading", level=2)).to_have_text(row["name"])
    time = r"\d{4}-\d\d-\d\d \d\d:\d\d UTC"
    expect(shown.get_by_text(re.compile(f"Saved {time}"))).to_be_visible()
    expect(shown.get_by_text(re.compile(rf"Reviewer: Fake \({time}\)"))).to_be_visible()
    facts = shown.locator("dl")
    expect(facts).to_contain_text(f"The file{note}")
    expect(facts).to_contain_text("Threshold0.7 (the reviewer’s)")
    expect(facts).to_contain_text("Uncertain scoresfrom 0.6 to under 0.8 (the reviewer’s)")
    expect(facts).to_contain_text("The server’s verdictfake (threshold 0.5; uncertain scores from 0.45 to under 0.55)")
    shown.close()


def test_a_server_that_starts_is_waited_for(browser: Browser, server: PageServer) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.route(ABOUT, lambda route: route.abort("connectionrefused"), times=1)
    page.goto(server.url)
    expect(page.get_by_text("The server cannot be reached. Trying again every few seconds.")).to_be_visible()
    expect(page.get_by_text("Model lingcco/fakeVLM")).to_be_visible()
    context.close()


@pytest.mark.parametrize("options", [{}, {"java_script_enabled": True, "color_scheme": "dark"}])
def test_the_page_loads_without_a_fault(browser: Browser, server: PageServer, options: dict[str, object]) -> None:
    with opened_page(browser, server.url, **options) as page:
        expect(page.get_by_role("heading", level=1)).to_be_visible()
