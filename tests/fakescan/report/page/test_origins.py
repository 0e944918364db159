"""What files say of their own origin, on the page of a report: counted, filtered, in words, and as text."""

import re

import duckdb
import pytest
from playwright.sync_api import Page, expect

from tests.fakescan.report.page.test_gallery import count, expect_found, rows, shown_ids
from tests.report_folder import HOSTILE

__all__ = ["rows"]
pytestmark = pytest.mark.unit

TRUSTED = "provenance_basis = 'c2pa_trusted'"


def test_the_overview_leads_to_the_images_behind_each_number(page: Page, rows: duckdb.DuckDBPyConnection) -> None:
    block = page.locator("#overview section", has_text="What files say of their origin")
    missed = f"provenance = 'ai_generated' AND {TRUSTED} AND verdict = 'real'"
    wrong = count(rows, missed)
    judged = count(rows, f"provenance = 'ai_generated' AND {TRUSTED} AND verdict IS NOT NULL")
    expect(block).to_contain_text(
        f"Missed: of {judged} images that a trusted signer calls AI-generated, {wrong} were called real"
    )
    expect(block).to_contain_text("Who signs is no random sample.")
    both = block.get_by_role("region")
    row = both.first.get_by_role("row", name=re.compile("^captured"))
    expect(row.get_by_role("cell")).to_have_text(
        [
            f"{count(rows, where):,}"
            for where in (
                "provenance = 'captured'",
                f"provenance = 'captured' AND {TRUSTED}",
                *(f"provenance = 'captured' AND verdict = '{verdict}'" for verdict in ("fake", "uncertain", "real")),
                "provenance = 'captured' AND verdict IS NULL",
            )
        ]
    )
    block.get_by_role("link", name=f"{wrong} were called real").click()
    expect_found(page, wrong)
    expect(page.locator("#chips")).to_contain_text("Says: AI-generated")
    assert set(shown_ids(page)) <= {
        row for (row,) in rows.execute(f"SELECT row_id FROM rows WHERE {missed}").fetchall()
    }


def test_one_image_says_what_its_file_says_as_text(page: Page, rows: duckdb.DuckDBPyConnection) -> None:
    page.evaluate("() => (location.hash = '#images?origin=captured&flags=trusted')")
    expect_found(page, count(rows, f"provenance = 'captured' AND {TRUSTED}"))
    page.locator(".card a[href]").first.click()
    said = page.locator("#image .origin")
    shown = HOSTILE.replace("\u202e", "\\u202e")
    expect(said.locator("p")).to_have_text(f"captured (signed by {shown})")
    expect(said.locator("dd")).to_have_text([shown])
    said.locator("summary").click()
    expect(said.locator("pre")).to_contain_text("onerror")
    expect(said.locator("img")).to_have_count(0)
    assert page.title() != "1"
    page.keyboard.press("Escape")
    page.evaluate("() => (location.hash = '#images?origin=none')")
    page.locator(".card a[href]").first.click()
    expect(page.locator("#image .origin")).to_have_count(0)
    expect(page.locator("#image-facts dl").last).to_contain_text("says nothing")


def test_filters_and_the_command_of_a_list(page: Page, rows: duckdb.DuckDBPyConnection) -> None:
    page.get_by_role("link", name="Images", exact=True).click()
    page.get_by_role("checkbox", name=re.compile("^AI-edited")).check()
    expect_found(page, count(rows, "provenance = 'ai_edited'"))
    page.get_by_role("button", name="Export…").click()
    command = page.locator("#keep pre").first
    expect(command).to_contain_text("--drop real,fake,uncertain --provenance ai_edited -o keep.parquet")
    query = page.locator("#keep pre").last
    expect(query).to_contain_text("coalesce(provenance, 'unread') IN ('ai_edited')")
