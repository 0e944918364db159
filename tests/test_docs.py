"""The docs are those of this version: tables of settings, links between pages, and the names of files."""

import re
from pathlib import Path

import pytest

from tools.settings_tables import with_tables

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tables_of_settings_are_those_of_the_fields(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert with_tables(text) == text, "run `make docs`"


def test_every_setting_of_a_job_is_in_the_docs() -> None:
    """No class of settings is without its table."""
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    tables = set(re.findall(r"<!-- settings: [\w.]+:(\w+)(?: own)? -->", text))
    assert tables == {"ScanConfig", "EvaluateConfig", "TrainConfig", "ForgeConfig", "ServeConfig"} | {
        "CalibrateConfig", "VllmConfig", "SimulatedConfig", "Store", "Limits", "Scans", "ModuleConfig", "LoraSettings"
    }  # fmt: skip


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if not link.startswith(("http", "mailto"))]
    for target in targets:
        file, _, anchor = target.partition("#")
        path = (page.parent / file) if file else page
        assert path.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in anchors, target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_pages_name_exist(page: Path) -> None:
    """Names of sources in backticks, such as `platform/fakescan/scan/stages.py`."""
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"`((?:platform|fakevlm|jobs|cluster|tests|tools|benchmarks|docs)/[\w./-]+\.\w+)`", text):
        assert (ROOT / name).exists(), name
