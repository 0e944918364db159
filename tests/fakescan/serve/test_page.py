"""The page at `/` in a real headless Chromium, against a real server: what a person sees, by mouse and by keyboard."""

import base64
import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, Route, expect, sync_playwright

from tests.serve_process import Served

pytestmark = pytest.mark.cluster

DETECT = re.compile(r"/v1/detect\b")
ABOUT = "**/v1/about"
PATIENCE_MS = 60_000
# A File made in the page from base64, as a drag or the clipboard carries one.
TRANSFER = """
    const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
    const transfer = new DataTransfer();
    transfer.items.add(new File([bytes], name, { type }));
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = shutil.which("chromium")
    if program is None:
        pytest.fail("The tests of the page need Chromium: install the package `chromium`, so that it is on PATH.")
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])


@pytest.fixture
def page(browser: Browser, served: Served) -> Iterator[Page]:
    """The page, loaded. Afterwards: no error in its console, and no request to any other origin."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    errors: list[str] = []
    addresses: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if is_error(message) else None)
    page.on("request", lambda request: addresses.append(request.url))
    # Without a listener from the start, a chooser that the keyboard opens may be missed.
    page.on("filechooser", lambda chooser: None)
    page.goto(served.url)
    page.get_by_text(re.compile("^Model ")).wait_for()
    yield page
    context.close()
    assert errors == []
    home = served.url.rstrip("/") + "/"
    assert [url for url in addresses if not url.removeprefix("blob:").startswith(home)] == []


def is_error(message: ConsoleMessage) -> bool:
    """Whether a message of the console tells of a fault. Chromium reports each refused image too, which is none."""
    return message.type in ("error", "warning") and not DETECT.search(message.location["url"])


def choose(page: Page, *files: Path) -> None:
    """Choose files as a person does, by the button and the file chooser."""
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose images").click()
    chooser.value.set_files(list(files))


def card(page: Page, name: str) -> Locator:
    return page.get_by_role("listitem").filter(has=page.get_by_role("heading", name=name, exact=True))


def expect_verdict(page: Page, path: Path, name: str | None = None) -> None:
    """Wait until the image has its answer, and check that it is the right one: the samples' names tell it."""
    found = card(page, name or path.name)
    expect(found).to_have_attribute("aria-busy", "false")
    expect(found.locator(".verdict strong")).to_have_text("Real" if path.stem.endswith("-real") else "Fake")
    expect(found.locator(".verdict")).to_contain_text(re.compile(r"Score (> |< )?[01]\.\d\d"))


def of_kind(served: Served, kind: str) -> Path:
    """The first sample whose name ends with -real, or the first that does not."""
    return next(path for path in served.pairs if path.stem.endswith("-real") == (kind == "real"))


def problem(route: Route, status: int, code: str, detail: str, **headers: str) -> None:
    body = {"type": f"urn:fakescan:problem:{code}", "title": code, "status": status, "code": code, "detail": detail}
    route.fulfill(status=status, content_type="application/problem+json", headers=headers, body=json.dumps(body))


def about_with(page: Page, **changes: Any) -> None:
    """Load the page anew, with another /v1/about."""
    page.route(ABOUT, lambda route: route.fulfill(json={**route.fetch().json(), **changes}))
    page.reload()
    page.get_by_text(re.compile("^Model ")).wait_for()


def test_the_page_says_what_it_is_and_what_the_model_is_not(page: Page, served: Served) -> None:
    about = page.request.get(f"{served.url}/v1/about").json()
    expect(page.get_by_role("heading", level=1)).to_have_text("Is this image real or fake?")
    expect(page.get_by_role("banner")).to_contain_text(about["model"])
    expect(page.get_by_role("note")).to_have_text(re.compile(rf"^{re.escape(about['notice'])}\.?$", re.IGNORECASE))
    expect(page.get_by_role("main")).to_contain_text("not kept")
    expect(page.get_by_role("main")).to_contain_text("64 MiB")


def test_an_upload_shows_verdict_score_threshold_and_explanation(page: Page, served: Served) -> None:
    path = of_kind(served, "fake")
    page.evaluate("""() => {
        window.texts = [];
        new MutationObserver(() => {
            const text = document.querySelector(".card .explanation")?.textContent;
            if (text && text !== window.texts.at(-1)) window.texts.push(text);
        }).observe(document.getElementById("gallery"), { subtree: true, childList: true, characterData: true });
    }""")
    choose(page, path)
    expect_verdict(page, path)

    meter = page.get_by_role("meter", name="Probability that the image is fake")
    threshold = page.request.get(f"{served.url}/v1/about").json()["threshold"]
    expect(meter).to_have_attribute("aria-valuetext", re.compile(rf"the threshold is {threshold:.2f}"))
    expect(meter).to_contain_text(f"threshold {threshold:.2f}")
    track, tick = meter.locator(".track").bounding_box(), meter.locator(".tick").bounding_box()
    assert track is not None
    assert tick is not None
    assert (tick["x"] + tick["width"] / 2 - track["x"]) / track["width"] == pytest.approx(threshold, abs=0.01)
    assert tick["height"] > track["height"]
    score = float(meter.get_attribute("aria-valuenow") or "nan")
    # The bar glides to its place.
    page.wait_for_function(
        """(score) => {
            const [fill, track] = [".card .fill", ".card .track"].map((name) => document.querySelector(name));
            return Math.abs(fill.offsetWidth / track.offsetWidth - score) < 0.02;
        }""",
        arg=score,
    )

    said = page.locator(".card .explanation")
    expect(said).to_have_text(re.compile(r"^This is a fake image\. .+[.!?]$"))
    texts = page.evaluate("window.texts")
    assert len(texts) > 3, "the explanation came in one piece"
    assert all(after.startswith(before) for before, after in pairwise(texts))
    # A screen reader hears the whole answer once, and not each word.
    status = page.get_by_role("status")
    expect(status).to_have_text(re.compile(rf"^{re.escape(path.name)}: Fake, score .+\. This is a fake image\."))
    assert said.locator("xpath=ancestor::*[@aria-live]").count() == 0

    page.get_by_role("button", name="Remove").wait_for()
    page.locator("summary").click()
    expect(card(page, path.name)).to_contain_text(hashlib.sha256(path.read_bytes()).hexdigest())


def test_several_images_are_a_gallery_to_filter_sort_and_save(page: Page, served: Served) -> None:
    paths = served.pairs[:6]
    real = sum(path.stem.endswith("-real") for path in paths)
    fake = len(paths) - real
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if DETECT.search(request.url) else None)
    choose(page, *paths)
    for path in paths:
        expect_verdict(page, path)
    assert len(sent) == len(paths)
    cards = page.get_by_role("list", name="Images").get_by_role("listitem")
    names = cards.get_by_role("heading", level=3)
    expect(names).to_have_text([path.name for path in paths])
    results = page.get_by_role("region", name="Results")
    expect(results).to_contain_text(f"{len(paths)} images: {fake} fake, {real} real")

    page.get_by_role("radio", name=f"Fake {fake}").check()
    expect(cards).to_have_count(fake)
    page.get_by_role("radio", name="Errors 0").check()
    expect(cards).to_have_count(0)
    expect(page.get_by_text("No image here has this outcome.")).to_be_visible()
    page.get_by_role("radio", name=f"All {len(paths)}").check()
    expect(cards).to_have_count(len(paths))

    page.get_by_role("combobox", name="Sort").select_option(label="highest score first")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download results").click()
    saved = json.loads(download.value.path().read_text())
    assert {(row["name"], row["sha256"]) for row in saved["results"]} == {
        (path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in paths
    }
    assert all(row["error"] is None and row["request_id"] and row["explanation"] for row in saved["results"])
    best_first = sorted(saved["results"], key=lambda row: row["score"], reverse=True)
    expect(names).to_have_text([row["name"] for row in best_first])

    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Clear all").click()
    expect(cards).to_have_count(0)


def test_a_file_that_is_no_image_shows_words_and_no_verdict(page: Page, served: Served, tmp_path: Path) -> None:
    notes = tmp_path / "<b>notes<b>.txt"
    notes.write_text("no image")
    choose(page, notes, of_kind(served, "real"))
    found = card(page, notes.name)
    expect(found.locator(".verdict")).to_have_text("No verdict")
    expect(found.locator(".state")).to_have_text(re.compile(r"^This file is not an image that can be read\. .+\.$"))
    expect(found.get_by_role("meter")).to_have_count(0)
    expect(found).to_contain_text("This browser cannot show a preview")
    expect_verdict(page, of_kind(served, "real"))
    expect(page.get_by_role("radio", name="Errors 1")).to_be_visible()


def test_a_file_that_is_too_large_is_not_sent(page: Page, served: Served) -> None:
    about_with(page, max_body_bytes=2048)
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if DETECT.search(request.url) else None)
    choose(page, of_kind(served, "real"))
    expect(page.get_by_text("this server takes at most 2 KiB")).to_be_visible()
    assert sent == []


def test_images_may_be_dropped_anywhere(page: Page, served: Served) -> None:
    path = of_kind(served, "fake")
    drag = page.evaluate_handle(
        f"([data, name, type]) => {{ {TRANSFER} return transfer; }}",
        [base64.b64encode(path.read_bytes()).decode(), path.name, "image/jpeg"],
    )
    page.dispatch_event("footer", "dragover", {"dataTransfer": drag})
    expect(page.get_by_text("Drop to judge")).to_be_visible()
    page.dispatch_event("footer", "drop", {"dataTransfer": drag})
    expect(page.get_by_text("Drop to judge")).to_be_hidden()
    expect_verdict(page, path)


def test_an_image_may_be_pasted(page: Page, served: Served) -> None:
    path = of_kind(served, "real")
    page.evaluate(
        f"""([data, name, type]) => {{ {TRANSFER}
            document.body.dispatchEvent(new ClipboardEvent("paste", {{ clipboardData: transfer, bubbles: true }}));
        }}""",
        [base64.b64encode(path.read_bytes()).decode(), "image.png", "image/png"],
    )
    expect_verdict(page, path, "pasted-1.png")


def test_a_busy_server_is_tried_again_after_a_countdown(page: Page, served: Served) -> None:
    page.clock.install()  # Else the message would be gone after a second or stay for half a minute.
    page.route(
        DETECT,
        lambda route: problem(route, 503, "overloaded", "all places are taken", **{"Retry-After": "30"}),
        times=1,
    )
    path = of_kind(served, "fake")
    choose(page, path)
    expect(page.get_by_text(re.compile(r"The server is busy; trying again in (30|2\d)\ss"))).to_be_visible()
    page.clock.fast_forward(15_000)
    expect(page.get_by_text(re.compile(r"The server is busy; trying again in (1\d|\d)\ss"))).to_be_visible()
    page.clock.fast_forward(30_000)
    expect_verdict(page, path)
    expect(page.get_by_text("The server is busy")).to_have_count(0)


def test_a_server_that_stays_busy_ends_in_words_and_a_button(page: Page, served: Served) -> None:
    page.clock.install()
    tries: list[str] = []

    def busy(route: Route) -> None:
        tries.append(route.request.url)
        problem(route, 429, "rate_limited", "at most 60 images a minute", **{"Retry-After": f"{len(tries)}500"})

    page.route(DETECT, busy)
    path = of_kind(served, "real")
    choose(page, path)
    for count in range(1, 6):
        words = rf"Too many images in a short time; trying again in {count}\d\d\d\ss"
        expect(page.get_by_text(re.compile(words))).to_be_visible()
        page.clock.fast_forward(10_000_000)
    expect(page.get_by_text("The server is still busy. At most 60 images a minute.")).to_be_visible()
    assert len(tries) == 6
    page.unroute(DETECT)
    page.get_by_role("button", name="Try again").click()
    expect_verdict(page, path)


def test_an_answer_cut_off_keeps_its_verdict_and_says_so(page: Page, served: Served) -> None:
    result = {"index": 0, "name": "a", "verdict": "uncertain", "score": 0.47, "logit": -0.1, "off_script": 0.9}
    events = (
        f"event: verdict\ndata: {json.dumps(result)}\n\n"
        'event: explanation\ndata: {"index": 0, "text": "This is a fake"}\n\n'
        'event: error\ndata: {"status": 503, "code": "timeout", "detail": "It took longer than 60 s."}\n\n'
    )
    page.route(DETECT, lambda route: route.fulfill(content_type="text/event-stream", body=events), times=1)
    path = of_kind(served, "fake")
    choose(page, path)
    found = card(page, path.name)
    expect(found.locator(".state")).to_have_text("The explanation is incomplete. It took longer than 60 s.")
    expect(found.locator(".verdict")).to_have_text(re.compile("Uncertain.*Score 0.47"))
    expect(found).to_contain_text("Distrust this verdict: with 90 % probability")
    found.get_by_role("button", name="Try again").click()
    expect_verdict(page, path)


def test_four_images_are_on_the_way_at_once(page: Page, served: Served) -> None:
    page.route(DETECT, lambda route: None)  # Never answered.
    choose(page, *served.pairs[:6])
    working, waiting = page.get_by_text("Sending and judging"), page.get_by_text("Waiting its turn")
    expect(working).to_have_count(4)
    expect(waiting).to_have_count(2)
    page.get_by_role("button", name=f"Cancel {served.pairs[0].name}").click()
    expect(working).to_have_count(4)
    expect(waiting).to_have_count(1)


def test_an_image_may_be_cancelled_and_tried_again(page: Page, served: Served) -> None:
    page.route(DETECT, lambda route: None)  # Never answered.
    path = of_kind(served, "real")
    choose(page, path)
    expect(page.get_by_text("Sending and judging")).to_be_visible()
    page.get_by_role("button", name=f"Cancel {path.name}").click()
    expect(page.get_by_text("Cancelled")).to_be_visible()
    page.unroute_all(behavior="ignoreErrors")
    page.get_by_role("button", name=f"Try again: {path.name}").click()
    expect_verdict(page, path)
    page.get_by_role("button", name=f"Remove {path.name}").click()
    expect(page.get_by_role("listitem")).to_have_count(0)
    expect(page.get_by_role("button", name="Choose images")).to_be_focused()


def test_a_server_out_of_reach_is_said_in_words(page: Page, served: Served) -> None:
    page.route(DETECT, lambda route: route.abort("connectionrefused"), times=1)
    path = of_kind(served, "real")
    choose(page, path)
    expect(page.get_by_text("The server cannot be reached.")).to_be_visible()
    page.get_by_role("button", name="Try again").click()
    expect_verdict(page, path)


def test_a_server_with_keys_asks_for_one_and_asks_again(page: Page, served: Served) -> None:
    def guarded(route: Route) -> None:
        if route.request.headers.get("authorization") == "Bearer fsk_a_right":
            route.continue_()
        else:
            problem(route, 401, "unauthorized", "no such key")

    page.route(DETECT, guarded)
    about_with(page, auth=True)
    key = page.get_by_label("This server asks for a key")
    path = of_kind(served, "fake")
    choose(page, path)
    expect(page.get_by_text("Waiting for a key")).to_be_visible()
    key.fill("fsk_a_wrong")
    key.press("Enter")
    expect(page.get_by_text("The server did not accept the key. No such key.")).to_be_visible()
    expect(key).to_be_focused()
    expect(key).to_have_attribute("type", "password")
    key.fill("fsk_a_right")
    page.get_by_role("button", name="Use this key").click()
    expect_verdict(page, path)
    expect(key).to_be_hidden()
    assert page.evaluate("[localStorage.length, document.cookie, sessionStorage.length]") == [0, "", 1]
    page.get_by_role("button", name="Forget key").click()
    expect(key).to_be_visible()
    assert page.evaluate("sessionStorage.length") == 0


def test_the_keyboard_reaches_everything_in_order(page: Page, served: Served) -> None:
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Choose images")).to_be_focused()
    path = of_kind(served, "real")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(path)
    expect_verdict(page, path)
    page.get_by_role("button", name="Choose images").focus()
    for target in [
        page.get_by_role("radio", name="All 1"),
        page.get_by_role("combobox", name="Sort"),
        page.get_by_role("button", name="Download results (JSON)"),
        page.get_by_role("button", name="Clear all"),
        page.get_by_role("button", name=f"Remove {path.name}"),
        page.locator(f'summary[aria-label="Details of {path.name}"]'),
        page.get_by_role("link", name="HTTP API"),
    ]:
        page.keyboard.press("Tab")
        expect(target).to_be_focused()
        assert target.evaluate("(e) => (e.closest('label') ?? e).matches(':has(:focus-visible), :focus-visible')")
    page.keyboard.press("Escape")
    expect(page.get_by_role("img", name=f"Preview of {path.name}")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_phone_has_one_column_and_large_targets(
    page: Page, served: Served, tmp_path: Path, scheme: Literal["light", "dark"]
) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    page.emulate_media(color_scheme=scheme)
    expect_no_sideways_scroll(page)
    long_name = tmp_path / f"{'a-name-without-end-' * 8}.txt"
    long_name.write_text("no image")
    path = of_kind(served, "fake")
    choose(page, path, of_kind(served, "real"), long_name)
    expect_verdict(page, path)
    expect(card(page, long_name.name).locator(".verdict")).to_have_text("No verdict")
    expect(page.locator(".card[aria-busy=true]")).to_have_count(0)
    page.locator("summary").first.click()
    expect_no_sideways_scroll(page)
    lefts = page.locator(".card").evaluate_all("(cards) => cards.map((card) => card.getBoundingClientRect().left)")
    assert len(set(lefts)) == 1
    targets = page.locator("button:visible, select:visible, summary:visible, .filter label:visible, footer a")
    heights = targets.evaluate_all("(all) => all.map((one) => [one.textContent, one.getBoundingClientRect().height])")
    assert [target for target in heights if target[1] < 44] == []
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", background)[:3])) < 200) == (scheme == "dark")


def expect_no_sideways_scroll(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
