"""Which images a filter chooses, and in which order: any combination of filters and orders, held to numpy's answer."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Browser, Page

from fakescan.report.rows.schema import facets_schema as schema_of
from tests.fakescan.report.page.conftest import PATIENCE_MS
from tests.page_browser import opened_page
from tests.report_folder import CODES, DATA, ORIGINS, WORDS, ReportFolder
from tests.report_server import READY, ReportServer

pytestmark = pytest.mark.unit
ROWS = 20_000
SORTS = ("high", "low", "copies", "spread", "size", "run")
VERDICTS = ("real", "fake", "uncertain", "error")
SELECT = """
async (states) => {
    const at = (name) => new URL(name, document.baseURI).href;
    const { select } = await import(at("model/selection.js"));
    const { noFilter } = await import(at("address.js"));
    const found = [];
    for (const state of states) {
        const selection = await select({ ...noFilter(), ...state });
        const positions = Array.from({ length: selection.length }, (_, index) => selection.at(index));
        const some = [0, selection.length >> 1, selection.length - 1];
        const places = some.map((index) => selection.indexOf(positions[index]));
        found.push([positions, places]);
    }
    return found;
}
"""
State = dict[str, Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with a stability strip."""
    folder = tmp_path_factory.mktemp("selections")
    ReportFolder(rows=ROWS, folders=70, thumbs=10, looked=True).write(folder)
    return folder


@pytest.fixture
def page(browser: Browser, folder: Path) -> Iterator[Page]:
    """Its page, loaded."""
    with (
        ReportServer(folder) as server,
        opened_page(browser, server.url, ready=READY, patience_ms=PATIENCE_MS) as page,
    ):
        yield page


class Facets:
    """The facets, read by another reader than the page's."""

    def __init__(self, folder: Path) -> None:
        table = pq.read_table(sorted((folder / DATA).glob("facets-*.parquet")))
        self.of = {name: table[name].to_numpy().astype(np.int64) for name in table.column_names}
        rows = pq.read_table(sorted((folder / DATA).glob("rows-*.parquet")), columns=["score"])
        self.score = rows["score"].to_numpy()
        tree = pq.read_table(folder / DATA / "folders.parquet", columns=["id", "last", "path"]).to_pylist()
        self.branches = {one["path"]: (one["id"], one["last"]) for one in tree}
        self.lead = np.arange(len(self.score)) - self.of["back"]

    def select(self, state: State) -> list[int]:
        """The positions that a state chooses, in its order."""
        of, keep = self.of, np.ones(len(self.score), bool)
        if state.get("verdict"):
            keep &= np.isin(of["verdict"], [VERDICTS.index(name) for name in state["verdict"]])
        low, high = state.get("score", (0, 100))
        if low > 0:
            keep &= self.score >= np.float32(low / 100)
        if high < 100:
            keep &= self.score < np.float32(high / 100)
        if "folder" in state:
            first, last = self.branches[state["folder"]]
            keep &= (of["folder"] >= first) & (of["folder"] <= last)
        if "error" in state:
            keep &= of["error"] == 1 + CODES.index(state["error"])
        for name in state.get("words", ()):
            keep &= (of["words"] >> WORDS.index(name)) & 1 == 1
        if state.get("flags"):
            keep &= of["flags"] & 1 == 1
        if state.get("origin"):
            keep &= np.isin(of["origin"], [1 + ORIGINS.index(name) for name in state["origin"]])
        positions = np.flatnonzero(keep)
        if state.get("one"):
            positions = positions[np.sort(np.unique(self.lead[positions], return_index=True)[1])]
        return [int(position) for position in self._in_order(positions, state["sort"])]

    def _in_order(self, positions: NDArray[np.int64], sort: str) -> NDArray[np.int64]:
        if sort == "high":
            return positions
        if sort == "low":
            judged = positions[~np.isnan(self.score[positions])]
            return np.concatenate([judged[::-1], positions[len(judged) :]])
        copies = np.bincount(self.lead, minlength=len(self.lead))[self.lead]
        keys: Sequence[NDArray[np.int64]] = {
            "copies": (self.lead, -copies),
            "spread": (-self.of["spread"],),
            "size": (-self.of["kilobytes"],),
            "run": (self.of["row_id"],),
        }[sort]
        return positions[np.lexsort([positions, *(key[positions] for key in keys)])]


def some_states(count: int) -> Iterator[State]:
    random = np.random.default_rng(7)

    def few(names: Sequence[str]) -> list[str]:
        return [str(name) for name in random.permutation(names)[: random.integers(1, 3)]]

    for number in range(count):
        choices: State = {
            "verdict": few(VERDICTS),
            "score": sorted(random.permutation(101)[:2].tolist()),
            "folder": str(random.choice(["2016", "2019", "2015/a00000", ""])),
            "words": few(WORDS),
            "flags": ["explained"],
            "origin": few(ORIGINS),
            "one": True,
        }
        used = few(list(choices)) + few(list(choices))[: random.integers(0, 2)]
        yield {**{name: choices[name] for name in used}, "sort": SORTS[number % len(SORTS)]}
    for sort in SORTS:
        yield {"error": "not_found", "sort": sort}


def test_any_filters_in_any_order(page: Page, folder: Path) -> None:
    facets, states = Facets(folder), list(some_states(60))
    found = page.evaluate(SELECT, states)
    for state, (positions, places) in zip(states, found, strict=True):
        assert positions == facets.select(state), state
        if positions:
            assert places == [0, len(positions) // 2, len(positions) - 1], state


def test_row_ids_of_a_run_too_large_for_32_bits(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.report_folder.facets_schema", lambda rows: schema_of(2**40))
    ReportFolder(rows=2000, thumbs=10).write(tmp_path)
    assert pq.read_schema(next((tmp_path / DATA).glob("facets-*.parquet"))).field("row_id").type == "int64"
    states: list[State] = [{"sort": "run"}, {"sort": "run", "verdict": ["fake"]}]
    with (
        ReportServer(tmp_path) as server,
        opened_page(browser, server.url, ready=READY, patience_ms=PATIENCE_MS) as page,
    ):
        for state, (positions, _) in zip(states, page.evaluate(SELECT, states), strict=True):
            assert positions == Facets(tmp_path).select(state)
