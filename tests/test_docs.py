"""The docs are those of this version: tables of settings, links between pages, and the names of files."""

import re
from importlib import import_module
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
    assert tables == {"ScanConfig", "CheckConfig", "EvaluateConfig", "TrainConfig", "ForgeConfig", "ServeConfig"} | {
        "CalibrateConfig", "VllmConfig", "SimulatedConfig", "Store", "Limits", "AccessLog", "Scans", "ModuleConfig",
        "LoraSettings", "ProvenanceConfig", "AugmentSettings", "ClassWeights",
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


def test_walks_through_the_code_name_functions_that_are_there() -> None:
    """Each dotted name in the two walks of docs/architecture.md; a name after its class or module may be short."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    walks = text[text.index("## An image's address") : text.index("## Scan: why it is so")]
    names = re.findall(r"`((?:fakevlm\.)?[a-z_]+(?:\.\w+)+)`", walks)
    assert len(names) > 20
    for name in names:
        whole = name if name.startswith("fakevlm.") else f"fakescan.{name}"
        assert _found(whole), name


def _found(name: str) -> bool:
    """Whether a module has such a member, looking for the module from the left."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found: object = import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        for part in parts[count:]:
            found = getattr(found, part, None) or getattr(found, "__annotations__", {}).get(part)
        return found is not None
    return False
