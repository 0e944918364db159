"""What the pages have in common is in both, in the place where it is named."""

from importlib import resources

import pytest

from fakescan import look
from fakescan.report.overview.page_files import drill_down
from fakescan.serve.gate.own.answers import page_files

pytestmark = pytest.mark.unit


def test_both_pages_are_whole() -> None:
    served = {path: answer.body for path, answer in page_files().items()}
    report = dict(drill_down())
    folder = resources.files("fakescan.look")
    symbols, colours = (folder.joinpath(name).read_bytes() for name in ("symbols.svg", "colours.css"))
    for page, styles in ((served["/"], served["/page/page.css"]), (report["index.html"], report["look/page.css"])):
        assert page.count(symbols) == 1
        assert styles.count(colours) == 1
    assert served[f"/page/{look.ICON}"] == report[f"look/{look.ICON}"]
    bodies = {**served, **report}.items()
    assert not [path for path, body in bodies if b"<!-- look: " in body or b"/* look: " in body]
