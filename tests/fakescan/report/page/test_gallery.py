"""The wall of images: filters, order, one image, addresses, keys, and what leaves the page."""

import csv
import json
import re
from pathlib import Path

import duckdb
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.page_browser import opened_page
from tests.report_folder import DATA, HOSTILE, ReportFolder
from tests.report_server import ReportServer

pytestmark = pytest.mark.unit
ROWS = 3000


@pytest.fixture
def rows(report_folder: Path) -> duckdb.DuckDBPyConnection:
    """The report's rows, asked by another reader than the page's."""
    connection = duckdb.connect()
    connection.execute(f"CREATE VIEW rows AS SELECT * FROM read_parquet('{report_folder / DATA}/rows-*.parquet')")
    return connection


def count(rows: duckdb.DuckDBPyConnection, where: str) -> int:
    return int(rows.execute(f"SELECT count(*) FROM rows WHERE {where}").fetchall()[0][0])


def expect_found(page: Page, found: int) -> None:
    words = f"{found:,} of {ROWS:,} images" if found != ROWS else f"{ROWS:,} images"
    expect(page.locator("#found")).to_have_text(words)


FILTERS = [
    ("", "true"),
    ("verdict=fake", "verdict = 'fake'"),
    ("verdict=fake,uncertain", "verdict IN ('fake', 'uncertain')"),
    ("verdict=error", "error_code IS NOT NULL"),
    ("verdict=real,error", "verdict = 'real' OR verdict IS NULL"),
    ("score=0.9-1", "score >= 0.9::FLOAT"),
    ("score=0-0.03", "score < 0.03::FLOAT"),
    ("score=0.47-0.53", "score >= 0.47::FLOAT AND score < 0.53::FLOAT"),
    ("error=not_an_image", "error_code = 'not_an_image'"),
    ("words=hands", "words & 1 = 1"),
    ("words=hands,text", "words & 5 = 5"),
    ("flags=explained", "flags & 1 = 1"),
    ("folder=2016", "uri LIKE '%/library/2016/%'"),
    ("folder=2016&verdict=fake&score=0.6-1", "uri LIKE '%/2016/%' AND verdict = 'fake' AND score >= 0.6::FLOAT"),
    ("folder=gone", "false"),
    ("origin=captured", "provenance = 'captured'"),
    ("origin=ai_generated,ai_edited&verdict=real", "provenance LIKE 'ai%' AND verdict = 'real'"),
    ("origin=none,unread", "coalesce(provenance, 'none') = 'none'"),
    ("origin=ai_generated&flags=trusted", "provenance = 'ai_generated' AND provenance_basis = 'c2pa_trusted'"),
    ("origin=made_up", "false"),
    ("picture=0.7", "picture = (SELECT picture FROM rows WHERE row_id = 7)"),
    ("picture=0.120", "picture = (SELECT picture FROM rows WHERE row_id = 120)"),
    ("picture=0.120&verdict=fake", "picture = (SELECT picture FROM rows WHERE row_id = 120) AND verdict = 'fake'"),
    ("picture=0.99999999", "false"),
]


def test_each_filter_shows_what_a_query_finds(page: Page, rows: duckdb.DuckDBPyConnection) -> None:
    for query, where in FILTERS:
        page.evaluate("(hash) => (location.hash = hash)", f"#images?{query}")
        expect_found(page, count(rows, where))


def pictures(rows: duckdb.DuckDBPyConnection, where: str) -> list[int]:
    """The image with the highest score of each picture that has an image there, in that order."""
    found = rows.execute(
        f"SELECT row_id FROM rows WHERE {where} QUALIFY row_number() OVER (PARTITION BY coalesce(picture, -1 - row_id) "
        "ORDER BY score DESC NULLS LAST, row_id) = 1 ORDER BY score DESC NULLS LAST, row_id"
    ).fetchall()
    return [row for (row,) in found]


def test_one_image_of_each_picture(page: Page, rows: duckdb.DuckDBPyConnection) -> None:
    for query, where in (("", "true"), ("&verdict=fake", "verdict = 'fake'"), ("&folder=2016", "uri LIKE '%/2016/%'")):
        page.evaluate("(hash) => (location.hash = hash)", f"#images?one=yes{query}")
        wanted = pictures(rows, where)
        assert len(wanted) < count(rows, where)
        expect_found(page, len(wanted))
        expect(page.locator(f'.card[aria-posinset="1"] a[href*=".{wanted[0]}"]')).to_be_visible()
        assert shown_ids(page) == wanted[:8]
    page.get_by_role("button", name="Without the filter one image of each picture").click()
    expect_found(page, count(rows, "uri LIKE '%/2016/%'"))
    page.get_by_role("checkbox", name=re.compile("one image of each picture")).check()
    expect_found(page, len(wanted))


def test_the_other_images_of_a_picture(page: Page, rows: duckdb.DuckDBPyConnection) -> None:
    page.evaluate("location.hash = '#images?sort=copies&one=yes&verdict=fake'")
    page.locator(".card a[href]").first.click()
    images = rows.execute("SELECT max(images) FROM rows WHERE verdict = 'fake'").fetchall()[0][0]
    assert images > 1
    facts = page.locator("#image-facts")
    expect(facts).to_contain_text(f"One of {images} images of this picture")
    expect(facts.locator(".same li")).to_have_count(images - 1)
    mine = page.locator("#image-name").text_content()
    facts.locator(".same a").first.click()
    expect(page.locator("#image-name")).not_to_have_text(mine or "")
    facts.get_by_role("link", name=f"All {images} images of this picture").click()
    expect(page.locator("#image")).to_be_hidden()
    expect_found(page, images)


def shown_ids(page: Page) -> list[int]:
    """Row ids of the first images."""
    page.locator(".card[data-done]").first.wait_for()
    links = page.locator(".card a").evaluate_all("(all) => all.slice(0, 8).map((link) => link.href)")
    return [int(re.search(r"image=\d+\.(\d+)", link)[1]) for link in links]  # type: ignore[index]


ORDERS = {
    "high": "score DESC NULLS LAST, row_id",
    "low": "score NULLS LAST, row_id DESC",
    "run": "row_id",
    "copies": "coalesce(images, 1) DESC, max(score) OVER (PARTITION BY picture) DESC NULLS LAST, score DESC NULLS LAST",
    "size": "num_bytes DESC, score DESC NULLS LAST",
}


def test_images_come_in_the_chosen_order(page: Page, rows: duckdb.DuckDBPyConnection) -> None:
    page.get_by_role("link", name="Images", exact=True).click()
    expect_found(page, ROWS)
    for sort, order in ORDERS.items():
        page.get_by_role("combobox", name="Sort").select_option(sort)
        wanted = [row for (row,) in rows.execute(f"SELECT row_id FROM rows ORDER BY {order} LIMIT 8").fetchall()]
        expect(page.locator(f'.card[aria-posinset="1"] a[href*=".{wanted[0]}"]')).to_be_visible()
        expect(page.locator(f'.card[aria-posinset="8"] a[href*=".{wanted[7]}"]')).to_be_visible()
        assert shown_ids(page) == wanted, sort


def test_the_last_image_is_reached_by_the_bar_and_by_the_keyboard(page: Page) -> None:
    page.get_by_role("link", name="Images", exact=True).click()
    page.locator(".card a[href]").first.focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".card[aria-posinset='2'] a")).to_be_focused()
    page.keyboard.press("End")
    expect(page.locator(f".card[aria-posinset='{ROWS}'] a")).to_be_focused()
    expect(page.locator(f".card[aria-posinset='{ROWS}']")).to_be_in_viewport()
    page.keyboard.press("Home")
    expect(page.locator(".card[aria-posinset='1'] a")).to_be_focused()
    page.locator("#scroller").evaluate("(bar) => (bar.scrollTop = bar.scrollHeight)")
    expect(page.locator(f".card[aria-posinset='{ROWS}']")).to_be_in_viewport()
    assert page.locator(".card").count() < 120


def test_images_are_blurred_until_asked(page: Page) -> None:
    page.get_by_role("link", name="Images", exact=True).click()
    image = page.locator(".card img").first
    expect(image).to_have_css("filter", re.compile("blur"))
    page.get_by_role("button", name="Blur images").click()
    expect(image).to_have_css("filter", "none")
    page.keyboard.press("b")
    image.click()
    large = page.locator("#stage-picture img")
    expect(large).to_have_css("filter", re.compile("blur"))
    page.get_by_role("button", name="Show this image").click()
    expect(large).to_have_css("filter", "none")
    page.keyboard.press("j")
    expect(page.locator("#image-place")).to_contain_text("2 of")
    expect(large).to_have_css("filter", re.compile("blur"))


def test_every_state_has_an_address_and_back_goes_through_them(page: Page, server: ReportServer) -> None:
    page.get_by_role("link", name="Images", exact=True).click()
    page.get_by_role("checkbox", name=re.compile("^Fake")).check()
    page.locator(".chip").filter(has_text="Fake").wait_for()
    page.get_by_role("checkbox", name=re.compile("hands")).check()
    page.locator(".card a[href]").first.click()
    page.locator("#image-name:not(:empty)").wait_for()
    address = page.url
    assert re.search(r"#images\?verdict=fake&words=hands&image=\d+\.\d+$", address)
    name = page.locator("#image-name").text_content()
    page.go_back()
    expect(page.locator("#image")).to_be_hidden()
    page.go_back()
    expect(page.locator(".chip")).to_have_count(1)
    page.go_back()
    expect(page.locator(".chip")).to_have_count(0)
    page.go_forward()
    expect(page.locator(".chip")).to_have_count(1)
    page.goto("about:blank")
    page.goto(address)
    expect(page.locator("#image-name")).to_have_text(name or "")
    # A link of a report that was made anew holds another position.
    moved = re.sub(r"image=\d+\.", "image=1234.", address)
    page.goto("about:blank")
    page.goto(moved)
    expect(page.locator("#image-name")).to_have_text(name or "")
    page.keyboard.press("Escape")
    expect(page.locator("#image")).to_be_hidden()


def test_the_tree_of_folders_has_an_address(page: Page) -> None:
    page.get_by_role("link", name="Folders", exact=True).click()
    page.get_by_role("button", name="As a tree").click()
    before = page.locator("#folder-rows tbody tr").count()
    page.get_by_role("button", name="Folders in 2016").click()
    expect(page.locator("#folder-rows tbody tr")).not_to_have_count(before)
    expect(page.get_by_role("button", name="Folders in 2016")).to_be_focused()
    rows = page.locator("#folder-rows tbody tr").count()
    address = page.url
    assert re.search(r"#folders\?as=tree&open=2016$", address)
    page.goto("about:blank")
    page.goto(address)
    expect(page.locator("#folder-rows tbody tr")).to_have_count(rows)
    page.get_by_role("button", name="Worst first").click()
    page.go_back()
    expect(page.locator("#folder-rows tbody tr")).to_have_count(rows)


def test_a_folder_with_nothing_but_another_one_is_not_listed_twice(browser: Browser, tmp_path: Path) -> None:
    """But it is in the tree, which leads to the other."""
    ReportFolder(rows=400, folders=12, thumbs=10, folder_names={3: "alone/inside"}).write(tmp_path)
    with (
        ReportServer(tmp_path) as server,
        opened_page(browser, f"{server.url}#folders", ready="#folder-rows tbody tr") as page,
    ):
        links = page.locator("#folder-rows tbody th a")
        paths = links.all_text_contents()
        assert "alone/inside" in paths
        assert "alone" not in paths
        expect(page.locator("#folder-words")).to_have_text(f"{len(paths)} folders")
        with page.expect_download() as saving:
            page.get_by_role("button", name="Save as CSV").click()
        saved = [line.split(",")[0] for line in saving.value.path().read_text().splitlines()[1:]]
        assert saved == paths
        page.get_by_role("button", name="As a tree").click()
        expect(page.get_by_role("button", name="Folders in alone")).to_be_visible()


def test_one_image_with_everything_known_about_it(
    page: Page, server: ReportServer, rows: duckdb.DuckDBPyConnection
) -> None:
    page.evaluate("location.hash = '#images?verdict=fake'")
    page.locator(".card a[href]").first.click()
    facts = page.locator("#image-facts")
    expect(facts).to_contain_text("Fake")
    row_id, sha256, album = rows.execute(
        """SELECT row_id, lower(hex(sha256)), "kept:album" FROM rows WHERE verdict = 'fake' ORDER BY score DESC"""
    ).fetchall()[0]
    for words in (sha256, "1024 × 768 pixels", "JPEG", album, "2026-09-21"):
        expect(facts).to_contain_text(words)
    page.get_by_role("button", name="Full image").click()
    expect(page.locator("#stage-picture img.whole")).to_be_visible()
    expect(page.locator("#stage-words")).to_have_text("960 × 720 pixels")
    server.changed.add(row_id)
    page.reload()
    page.get_by_role("button", name="Full image").click()
    expect(page.locator("#stage-words")).to_have_text("the object has changed since the scan")


def test_hostile_names_and_explanations_stay_text(page: Page) -> None:
    title = page.title()
    for view in ("images?verdict=fake", "folders", "errors", "images"):
        page.evaluate("(hash) => (location.hash = hash)", f"#{view}")
        page.wait_for_load_state("networkidle")
    page.evaluate("location.hash = '#images?verdict=fake'")
    page.locator(".card a[href]").first.click()
    name = page.locator("#image-name")
    expect(page.locator("#image-facts")).to_contain_text("<b>bold</b>")
    expect(name).to_contain_text("<img src=x onerror=document.title=1>")
    expect(page.locator("#image-facts")).to_contain_text("<script>document.title=1</script>")
    # What would turn the name around is shown by its number.
    expect(name).to_contain_text("\\u202egpj.exe")
    assert "\u202e" not in (page.locator("body").text_content() or "")
    assert page.locator("main script, main b, main i, dialog script, dialog b, [onerror]").count() == 0
    assert page.title() != "1"
    assert title.endswith("fakescan")
    assert page.locator("a[href^='javascript:']").count() == 0


def export(page: Page, query: str) -> Locator:
    page.evaluate("(hash) => (location.hash = hash)", f"#images?{query}")
    page.locator(".card[data-done]").first.wait_for()
    page.get_by_role("button", name="Export…").click()
    return page.locator("#keep")


def test_the_command_for_the_current_filter(page: Page) -> None:
    dialog = export(page, "verdict=fake&score=0.6-0.9")
    drop = "--drop fake --min-score 0.6 --max-score 0.8999999"
    expect(dialog.locator("pre").first).to_have_text(
        f"fakescan filter 's3://results/library audit' {drop} -o keep.parquet"
    )
    dialog.get_by_role("checkbox", name="images without a verdict").check()
    expect(dialog.locator("pre").first).to_contain_text("--errors keep")
    dialog.get_by_role("radio", name="These images only").check()
    expect(dialog.locator("pre").first).to_contain_text("--keep fake --min-score 0.6")


@pytest.mark.parametrize("which", ["shown", "rest"])
def test_the_query_for_one_image_of_each_picture(
    page: Page, rows: duckdb.DuckDBPyConnection, report_folder: Path, tmp_path: Path, which: str
) -> None:
    dialog = export(page, "verdict=fake&one=yes")
    if which == "shown":
        dialog.get_by_role("radio", name="These images only").check()
    query = dialog.locator("pre").first.text_content() or ""
    query = query.replace(DATA, f"{report_folder / DATA}/").replace("TO 'shown.csv'", f"TO '{tmp_path}/out.csv'")
    duckdb.execute(query.replace("TO 'keep.csv'", f"TO '{tmp_path}/out.csv'"))
    listed = {int(one["row_id"]) for one in csv.DictReader((tmp_path / "out.csv").open())}
    chosen = set(pictures(rows, "verdict = 'fake'"))
    others = {row for (row,) in rows.execute("SELECT row_id FROM rows WHERE verdict IN ('real', 'fake')").fetchall()}
    assert listed == (chosen if which == "shown" else others - chosen)


@pytest.mark.parametrize("which", ["shown", "rest"])
def test_the_query_chooses_the_same_images(
    page: Page, rows: duckdb.DuckDBPyConnection, report_folder: Path, tmp_path: Path, which: str
) -> None:
    dialog = export(page, "verdict=fake&folder=2016&words=hands")
    if which == "shown":
        dialog.get_by_role("radio", name="These images only").check()
    query = dialog.locator("pre").first.text_content() or ""
    query = query.replace(DATA, f"{report_folder / DATA}/").replace(
        f"TO '{'shown' if which == 'shown' else 'keep'}.csv'", f"TO '{tmp_path}/out.csv'"
    )
    duckdb.execute(query)
    listed = len(list(csv.DictReader((tmp_path / "out.csv").open())))
    shown = "verdict = 'fake' AND uri LIKE '%/2016/%' AND words & 1 = 1"
    wanted = shown if which == "shown" else f"verdict IN ('real', 'fake') AND NOT ({shown})"
    assert listed == count(rows, wanted)


def test_a_csv_of_what_is_shown(page: Page, rows: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    dialog = export(page, "verdict=fake,error")
    with page.expect_download() as download:
        dialog.get_by_role("button", name=re.compile("^CSV of these")).click()
    download.value.save_as(tmp_path / "images.csv")
    with (tmp_path / "images.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    wanted = rows.execute(
        "SELECT row_id, uri, lower(hex(sha256)), verdict FROM rows WHERE verdict = 'fake' OR verdict IS NULL"
    ).fetchall()
    assert {(int(one["row_id"]), one["uri"], one["sha256"], one["verdict"] or None) for one in found} == set(wanted)
    assert HOSTILE in found[0]["uri"]


def test_a_server_without_ranges_is_read_whole(browser: Browser, report_folder: Path) -> None:
    with (
        ReportServer(report_folder, ranges=False) as server,
        opened_page(browser, f"{server.url}#images?words=hands", ready=".card[data-done]") as page,
    ):
        expect(page.locator(".card img").first).to_be_visible()
        expect(page.locator("#wall-notice")).to_contain_text("no range requests")


def test_a_report_that_was_made_anew_says_so(browser: Browser, server: ReportServer) -> None:
    page = browser.new_page()
    page.route(f"**/{DATA}rows-*", lambda route: route.fulfill(status=404))
    page.goto(f"{server.url}#images?image=5.5")
    expect(page.get_by_role("alert")).to_contain_text("made anew")
    page.close()


def test_from_a_file_it_names_the_command(browser: Browser, report_folder: Path) -> None:
    page = browser.new_page()
    page.goto((report_folder / "index.html").as_uri())
    expect(page.get_by_text("This page needs a server")).to_be_visible()
    expect(page.get_by_text("fakescan view RUN")).to_be_visible()
    expect(page.get_by_role("link", name="report.html")).to_be_visible()
    page.close()


def test_the_numbers_of_the_report_are_where_they_belong(page: Page, report_folder: Path) -> None:
    report = json.loads((report_folder / "report.json").read_text())
    page.evaluate("location.hash = '#overview'")
    overview = page.locator("#view-overview")
    for words in (report["prevalence"]["statement"], f"{report['totals']['fake']:,}", report["run"]["limits"][0]):
        expect(overview).to_contain_text(words)
    expect(overview.locator("table.folders tbody tr")).to_have_count(10)
    first = report["folders"]["worst"][0]
    overview.locator("table.folders tbody th a").first.click()
    expect_found(page, first["fake"])
