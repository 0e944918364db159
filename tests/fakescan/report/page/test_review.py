"""The review: one image at a time, keys, undo, a second reviewer, and labels in the form that everything else reads."""

import json

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.page_browser import opened_page
from tests.report_server import READY, ReportServer

pytestmark = pytest.mark.unit


def begin(page: Page, reviewer: str, design: str = "estimate") -> None:
    page.get_by_role("link", name="Review", exact=True).click()
    page.get_by_label("Who are you?").fill(reviewer)
    page.get_by_role("button", name=f"Review the sample {design}").click()
    page.locator(".choices").wait_for()


def test_review_by_keys_with_undo_and_a_second_reviewer(browser: Browser, server: ReportServer, page: Page) -> None:
    begin(page, "ann")
    # The verdict is hidden until it is asked for, or the image is decided.
    expect(page.locator("#review .verdict")).to_have_count(0)
    expect(page.locator("#review-picture img")).to_have_css("filter", "none")
    page.keyboard.press("f")
    expect(page.locator("#last-answer .verdict")).to_be_visible()
    expect(page.locator(".progress")).to_contain_text("1 of 4 by ann")
    page.keyboard.press("z")
    expect(page.locator(".progress")).to_contain_text("0 of 4 by ann")
    assert server.labels == []
    for key, given in (("r", 1), ("v", 1), ("u", 2), ("r", 3)):
        page.keyboard.press(key)
        expect(page.locator(".progress")).to_contain_text(f"{given} of 4")
    page.get_by_role("button", name="Fake", exact=False).click()
    expect(page.locator("#review")).to_contain_text("All 4 images of this sample are reviewed.")
    assert [label["label"] for label in server.labels] == ["real", "unsure", "real", "fake"]
    assert [label["seen_score"] for label in server.labels] == [False, True, False, False]
    assert {label["reviewer"] for label in server.labels} == {"ann"}
    with opened_page(browser, server.url, ready=READY) as other:
        begin(other, "bob")
        for key, given in (("r", 1), ("u", 2), ("r", 3)):
            other.keyboard.press(key)
            expect(other.locator(".progress")).to_contain_text(f"{given} of 4")
        other.keyboard.press("r")
        # 3 of 4 agree; by chance 7/16 would: kappa is 5/9.
        expect(other.locator("#review")).to_contain_text(
            "ann and bob: the same on 3 of 4 images (75\u00a0%); kappa 0.56, moderate"
        )


def test_a_second_look_by_the_same_reviewer_and_by_another(page: Page, server: ReportServer) -> None:
    begin(page, "ann")
    for key, given in (("f", 1), ("r", 2)):
        page.keyboard.press(key)
        expect(page.locator(".progress")).to_contain_text(f"{given} of 4")
    page.get_by_role("button", name="End").click()
    begin(page, "ann", "qa")
    # What she has said before is not shown, and counts as not seen yet.
    expect(page.locator(".progress")).to_contain_text("0 of 4 by ann")
    expect(page.locator("#review .verdict")).to_have_count(0)
    for key, given in (("f", 1), ("f", 2), ("z", 1), ("f", 2), ("r", 3)):
        page.keyboard.press(key)
        expect(page.locator(".progress")).to_contain_text(f"{given} of 4")
    page.keyboard.press("r")
    expect(page.locator("#review")).to_contain_text("All 4 images of this sample are reviewed.")
    expect(page.locator("#review")).to_contain_text("ann, at a second look: the same on 1 of 2 images (50\u00a0%)")
    looks = [(label["label"], label["second_look"]) for label in server.labels]
    assert looks == [("fake", None), ("real", None), ("fake", True), ("fake", True), ("real", False), ("real", False)]
    page.get_by_role("button", name="Other samples").click()
    begin(page, "bob", "qa")
    for key, given in (("f", 1), ("f", 2), ("r", 3)):
        page.keyboard.press(key)
        expect(page.locator(".progress")).to_contain_text(f"{given} of 4 by bob")
    page.keyboard.press("r")
    # Her first look counts, not the second one.
    expect(page.locator("#review")).to_contain_text("ann and bob: the same on 3 of 4 images")
    expect(page.locator("#review")).not_to_contain_text("bob, at a second look")


def test_labels_have_the_form_that_everything_else_reads(page: Page, server: ReportServer) -> None:
    labels = pytest.importorskip("fakescan.review.labels", reason="comes with `fakescan review`")
    begin(page, "ann")
    page.keyboard.press("f")
    expect(page.locator(".progress")).to_contain_text("1 of 4")
    (label,) = labels.parse_labels(json.dumps(server.labels[0]).encode(), "label")
    assert label.label == "fake"
    assert label.seen_score is False


def test_a_label_that_is_not_written_is_said(page: Page, server: ReportServer) -> None:
    begin(page, "ann")
    page.route("**/api/labels", lambda route: route.fulfill(status=400, json={"error": {"message": "no room on disk"}}))
    page.keyboard.press("f")
    expect(page.get_by_role("alert")).to_contain_text("not written: no room on disk")
    expect(page.locator(".progress")).to_contain_text("0 of 4")


def test_without_view_the_page_names_the_command(page: Page) -> None:
    def static(route: object) -> None:
        report = {**route.fetch().json(), "view": None}  # type: ignore[attr-defined]
        route.fulfill(json=report)  # type: ignore[attr-defined]

    page.route("**/report.json", static)
    page.goto("about:blank")
    page.go_back()
    page.reload()
    page.get_by_role("link", name="Review", exact=True).click()
    expect(page.locator("#review pre")).to_have_text("fakescan view 's3://results/library audit'")
