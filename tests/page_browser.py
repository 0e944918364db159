"""What tests of the page do in a browser, by mouse and by keyboard, and what they look for."""

import base64
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, Route, expect, sync_playwright

DETECT = re.compile(r"/v1/detect\b")
ABOUT = "**/v1/about"
PATIENCE_MS = 60_000
# A File made in the page from base64, as a drag or the clipboard carries one.
TRANSFER = """
    const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
    const transfer = new DataTransfer();
    transfer.items.add(new File([bytes], name, { type }));
"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless Chromium."""
    program = shutil.which("chromium")
    if program is None:
        pytest.fail("The tests of the page need Chromium: install the package `chromium`, so that it is on PATH.")
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])


@contextmanager
def opened_page(
    browser: Browser, url: str, *, ready: str = "text=/^Model /", patience_ms: float = PATIENCE_MS, **context: Any
) -> Iterator[Page]:
    """The page, once `ready` is seen. Afterwards: no error in its console, and no request to any other origin."""
    shown = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **context})
    shown.set_default_timeout(patience_ms)
    page = shown.new_page()
    errors: list[str] = []
    addresses: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if is_error(message) else None)
    page.on("request", lambda request: addresses.append(request.url))
    # Without a listener from the start, a chooser that the keyboard opens may be missed.
    page.on("filechooser", lambda chooser: None)
    page.goto(url)
    page.locator(ready).first.wait_for()
    yield page
    shown.close()
    assert errors == [], errors
    home = url.partition("#")[0].rstrip("/") + "/"
    local = ("data:", home)
    assert [address for address in addresses if not address.removeprefix("blob:").startswith(local)] == []


def is_error(message: ConsoleMessage) -> bool:
    """Whether a message of the console tells of a fault. Chromium reports each refused request too, which is none."""
    return message.type in ("error", "warning") and not re.search(
        r"/(v1/(detect|models)|api)\b", message.location["url"]
    )


def choose(page: Page, *files: Path) -> None:
    """Choose files as a person does, by the button and the file chooser."""
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose images").click()
    chooser.value.set_files(list(files))


def card(page: Page, name: str) -> Locator:
    """The card of an image, or its row."""
    return page.get_by_role("listitem").filter(has=page.get_by_role("heading", name=name, exact=True))


def expect_word(page: Page, name: str, word: str) -> None:
    """Wait until an image has its whole answer, and check its word."""
    found = card(page, name)
    expect(found).to_have_attribute("aria-busy", "false")
    expect(found.locator(".verdict strong")).to_have_text(word)


def expect_verdict(page: Page, path: Path, name: str | None = None, real: str = "Real") -> None:
    """Wait for the answer, and check that it is the right one: the samples' names tell it."""
    expect_word(page, name or path.name, real if path.stem.endswith("-real") else "Fake")
    expect(card(page, name or path.name).locator(".verdict")).to_contain_text(re.compile(r"Score (> |< )?[01]\.\d\d"))


def of_kind(pairs: list[Path], kind: str) -> Path:
    """The first sample whose name ends with -real, or the first that does not."""
    return next(path for path in pairs if path.stem.endswith("-real") == (kind == "real"))


def problem(route: Route, status: int, code: str, detail: str, **headers: str) -> None:
    """Answer a request with a problem."""
    body = {"type": f"urn:fakescan:problem:{code}", "title": code, "status": status, "code": code, "detail": detail}
    route.fulfill(status=status, content_type="application/problem+json", headers=headers, body=json.dumps(body))


def about_with(page: Page, **changes: Any) -> None:
    """Load the page anew, with another /v1/about."""
    page.route(ABOUT, lambda route: route.fulfill(json={**route.fetch().json(), **changes}))
    page.reload()
    page.get_by_text(re.compile("^Model ")).wait_for()


def paste_file(page: Page, data: bytes, name: str, kind: str) -> None:
    """Paste an image from the clipboard."""
    page.evaluate(
        f"""([data, name, type]) => {{ {TRANSFER}
            document.body.dispatchEvent(new ClipboardEvent("paste", {{ clipboardData: transfer, bubbles: true }}));
        }}""",
        [base64.b64encode(data).decode(), name, kind],
    )


def paste_text(page: Page, text: str) -> None:
    """Paste text from the clipboard, with nothing focused."""
    page.evaluate(
        """(text) => {
            const transfer = new DataTransfer();
            transfer.setData("text/plain", text);
            document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true }));
        }""",
        text,
    )


def no_sideways_scroll(page: Page) -> bool:
    """Whether the page is no wider than the screen."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))


def axe_faults(page: Page) -> list[str]:
    """What axe-core finds now, each with the element."""
    page.evaluate("Promise.allSettled(document.getAnimations().map((animation) => animation.finished))")
    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    return [
        f"{fault['id']}: {node['html'][:150]} {node['failureSummary']}" for fault in found for node in fault["nodes"]
    ]
