"""How images come to the page: dropped, pasted, twice; what is no image is refused in words; and the key."""

import base64
import re
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from tests.page_browser import (
    DETECT,
    TRANSFER,
    about_with,
    card,
    choose,
    expect_verdict,
    of_kind,
    paste_file,
    paste_text,
    problem,
)
from tests.page_server import PageServer
from tests.serve_process import PAIRS

pytestmark = pytest.mark.unit

FAKE, REAL = of_kind(PAIRS, "fake"), of_kind(PAIRS, "real")


def test_images_may_be_dropped_anywhere(page: Page) -> None:
    drag = page.evaluate_handle(
        f"([data, name, type]) => {{ {TRANSFER} return transfer; }}",
        [base64.b64encode(FAKE.read_bytes()).decode(), FAKE.name, "image/jpeg"],
    )
    page.dispatch_event("footer", "dragover", {"dataTransfer": drag})
    expect(page.get_by_text("Drop to judge")).to_be_visible()
    page.dispatch_event("footer", "drop", {"dataTransfer": drag})
    expect(page.get_by_text("Drop to judge")).to_be_hidden()
    expect_verdict(page, FAKE)


def test_an_image_may_be_pasted(page: Page) -> None:
    paste_file(page, REAL.read_bytes(), "image.png", "image/png")
    expect(card(page, "pasted-1.png")).to_have_attribute("aria-busy", "false")
    paste_text(page, "data:image/jpeg;base64," + base64.b64encode(FAKE.read_bytes()).decode())
    expect(card(page, "pasted-2.jpg").locator(".verdict")).to_contain_text("Fake")


@pytest.mark.parametrize(
    "address",
    [
        "https://example.org/cat.jpg",
        " http://10.0.0.1/x?y=1\n",
        "file:///etc/passwd",
        "www.example.com/a.jpg",
        "example.com/a.jpg",
    ],
)
def test_an_address_that_is_pasted_is_answered_in_words(page: Page, server: PageServer, address: str) -> None:
    paste_text(page, address)
    expect(page.get_by_role("alert").filter(visible=True)).to_contain_text("fetches nothing from the web")
    assert server.detections == 0
    choose(page, REAL)
    expect_verdict(page, REAL)
    expect(page.get_by_text("fetches nothing from the web")).to_be_hidden()


def test_an_address_that_is_dropped_and_text_are_answered_in_words(page: Page) -> None:
    page.evaluate("""() => {
        const dataTransfer = new DataTransfer();
        dataTransfer.setData("text/uri-list", "https://example.org/cat.jpg");
        document.body.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
    }""")
    expect(page.get_by_text("fetches nothing from the web")).to_be_visible()
    paste_text(page, "a cat on a mat")
    expect(page.get_by_text("What was pasted is text.")).to_be_visible()
    choose(page, FAKE)
    expect_verdict(page, FAKE)
    paste_text(page, "a cat on a mat")
    page.get_by_role("button", name="Clear all").click()
    expect(page.get_by_text("What was pasted is text.")).to_be_hidden()


def test_a_dropped_folder_comes_in_the_order_of_its_paths_and_says_what_was_left_out(page: Page) -> None:
    page.evaluate(
        """([data, names]) => {
            const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
            const file = (path) => {
                const type = path.endsWith(".txt") ? "text/plain" : path.endsWith(".heic") ? "" : "image/jpeg";
                const made = new File([bytes, path], path.split("/").at(-1), { type });
                return { isFile: true, fullPath: path, file: (done) => done(made) };
            };
            const batches = [names.map(file), []];
            const reader = { readEntries: (done) => done(batches.shift()) };
            const folder = { isDirectory: true, createReader: () => reader };
            const dataTransfer = { types: ["Files"], files: [], items: [{ webkitGetAsEntry: () => folder }] };
            const event = new DragEvent("drop", { bubbles: true, cancelable: true });
            Object.defineProperty(event, "dataTransfer", { value: dataTransfer });
            document.body.dispatchEvent(event);
        }""",
        [
            base64.b64encode(FAKE.read_bytes()).decode(),
            ["/d/10.jpg", "/d/notes.txt", "/d/2.jpg", "/d/b/1.jpg", "/d/a/3.heic", "/d/a/list.txt"],
        ],
    )
    expect(page.get_by_role("heading", level=3)).to_have_text(["2.jpg", "10.jpg", "3.heic", "1.jpg"])
    expect(page.get_by_text("2 files in the folder are no images and were left out.")).to_be_visible()
    expect(page.locator(".card[aria-busy=true]")).to_have_count(0)


def test_a_name_cannot_disguise_its_file(page: Page, tmp_path: Path) -> None:
    name = "cat_\u202egpj.exe.png"
    path = Path(shutil.copy(FAKE, tmp_path / name))
    choose(page, path)
    shown = "cat_⟨U+202E⟩gpj.exe.png"
    expect_verdict(page, FAKE, shown)
    page.get_by_role("button", name=f"Full view of {shown}").click()
    expect(page.get_by_role("dialog").get_by_role("heading", name=shown)).to_be_visible()
    expect(page.locator("body")).not_to_contain_text("\u202e")


def test_the_same_file_is_judged_once(page: Page, server: PageServer, tmp_path: Path) -> None:
    copy = Path(shutil.copy(FAKE, tmp_path / f"copy{FAKE.suffix}"))
    choose(page, FAKE, REAL)
    expect_verdict(page, FAKE)
    expect_verdict(page, REAL)
    choose(page, FAKE)
    expect(page.get_by_text(f"{FAKE.name} is here already; each is judged once.")).to_be_visible()
    choose(page, copy)
    expect(page.get_by_text(f"{copy.name} is here already, as {FAKE.name}")).to_be_visible()
    expect(page.get_by_role("listitem")).to_have_count(2)
    assert server.detections == 2


def test_the_same_file_is_found_where_the_browser_cannot_hash(page: Page, server: PageServer, tmp_path: Path) -> None:
    """A page that came over plain HTTP from another machine has no crypto.subtle; the answer brings the hash."""
    page.add_init_script("Object.defineProperty(crypto, 'subtle', { value: undefined });")
    page.reload()
    copy = Path(shutil.copy(FAKE, tmp_path / f"copy{FAKE.suffix}"))
    choose(page, FAKE)
    expect_verdict(page, FAKE)
    choose(page, copy)
    expect(page.get_by_text(f"{copy.name} is here already, as {FAKE.name}")).to_be_visible()
    expect(page.get_by_role("listitem")).to_have_count(1)


def test_a_wrong_key_is_said_at_once(page: Page, server: PageServer) -> None:
    server.key = "fsk_a_right"
    page.reload()
    key = page.get_by_label("This server asks for a key")
    key.fill("fsk_a_wrong")
    key.press("Enter")
    expect(page.get_by_text("The server did not accept the key. The API key is unknown")).to_be_visible()
    expect(key).to_be_focused()
    expect(key).to_have_attribute("type", "password")
    choose(page, FAKE)
    expect(page.get_by_text("Waiting for a key")).to_be_visible()
    assert server.detections == 0
    key.fill("fsk_a_right")
    page.get_by_role("button", name="Use this key").click()
    expect_verdict(page, FAKE)
    expect(key).to_be_hidden()
    kept = page.evaluate("[JSON.stringify({ ...localStorage }), document.cookie, sessionStorage.length]")
    assert "fsk_" not in kept[0]
    assert kept[1:] == ["", 1]
    page.get_by_role("button", name="Forget key").click()
    expect(key).to_be_visible()
    assert page.evaluate("sessionStorage.length") == 0


def test_a_key_that_is_disabled_later_is_asked_for_again(page: Page) -> None:
    def guarded(route: Route) -> None:
        if route.request.headers.get("authorization") == "Bearer fsk_b":
            route.continue_()
        else:
            problem(route, 401, "unauthorized", "no such key")

    page.route(DETECT, guarded)
    about_with(page, auth=True)
    key = page.get_by_label("This server asks for a key")
    key.fill("fsk_a")
    key.press("Enter")
    choose(page, FAKE)
    expect(page.get_by_text("The server did not accept the key. No such key.")).to_be_visible()
    key.fill("fsk_b")
    key.press("Enter")
    expect_verdict(page, FAKE)


def test_an_old_message_goes_with_the_next_images(page: Page) -> None:
    page.evaluate("""() => {
        const dataTransfer = new DataTransfer();
        dataTransfer.items.add(new File([], "x"));
        dataTransfer.items.clear();
        document.body.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
    }""")
    choose(page, REAL)
    expect_verdict(page, REAL)
    expect(page.get_by_text(re.compile("There is no image in"))).to_be_hidden()
