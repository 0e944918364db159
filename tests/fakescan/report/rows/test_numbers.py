"""Every number of a report is what DuckDB counts in the parts of the run."""

import json
import re
from html.parser import HTMLParser
from typing import Any

import duckdb
import pytest

from fakescan.report.rows.words import WORDS
from fakescan.run.summary.origins import LABELS
from fakevlm.provenance import Origin
from tests.fakescan.report.conftest import MadeReport

pytestmark = pytest.mark.unit


class Query:
    """DuckDB over the parts of a run."""

    def __init__(self, report: MadeReport) -> None:
        self._connection = duckdb.connect()
        self._connection.execute(
            f"CREATE VIEW parts AS SELECT * FROM read_parquet('{report.run.folder.path}/parts/*.parquet')"
        )

    def all(self, sql: str) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql).fetchall()

    def one(self, sql: str) -> Any:
        return self.all(sql)[0][0]


@pytest.fixture(scope="module")
def query(made_report: MadeReport) -> Query:
    return Query(made_report)


def test_totals(made_report: MadeReport, query: Query) -> None:
    totals = made_report.file.totals
    found = query.all(
        "SELECT count(*), count(*) FILTER (verdict = 'real'), count(*) FILTER (verdict = 'fake'), "
        "count(*) FILTER (verdict = 'uncertain'), count(*) FILTER (verdict IS NULL), count(verdict), "
        "count(*) FILTER (verdict = 'fake' AND logit < 0 OR verdict = 'real' AND logit > 0), "
        "count(*) FILTER (verdict IS NOT NULL AND error_message IS NOT NULL) FROM parts"
    )[0]
    assert found == (
        totals.rows, totals.real, totals.fake, totals.uncertain, totals.errors, totals.judged, totals.overruled,
        totals.noted,
    )  # fmt: skip
    assert min(totals.real, totals.fake, totals.uncertain, totals.errors, totals.noted) > 0
    assert query.one("SELECT count(*) FROM parts WHERE error_code IS NOT NULL") == totals.errors


def test_scores(made_report: MadeReport, query: Query) -> None:
    scores = made_report.file.scores
    for band in scores.bands:
        last = " OR score >= 1" if band.high == 1 else ""
        where = f"(score >= {band.low}::FLOAT AND score < {band.high}::FLOAT{last})"
        found = query.all(
            "SELECT count(*), count(*) FILTER (verdict = 'real'), count(*) FILTER (verdict = 'fake'), "
            f"count(*) FILTER (verdict = 'uncertain') FROM parts WHERE {where}"
        )[0]
        assert found == (band.rows, band.real, band.fake, band.uncertain), band
    assert scores.scored == query.one("SELECT count(score) FROM parts")
    steps = ", ".join(f"count(*) FILTER (score >= {step / 100}::FLOAT)" for step in range(101))
    assert list(query.all(f"SELECT {steps} FROM parts")[0]) == scores.at_least
    assert scores.at_least[0] == sum(band.rows for band in scores.bands)


def test_errors(made_report: MadeReport, query: Query) -> None:
    errors = made_report.file.errors
    counted = dict(query.all("SELECT error_code, count(*) FROM parts WHERE error_code IS NOT NULL GROUP BY 1"))
    assert {error.code: error.rows for error in errors} == counted
    assert [error.rows for error in errors] == sorted(counted.values(), reverse=True)
    for error in errors:
        messages = query.all(
            "SELECT error_message, count(*), min(row_id) FROM parts "
            f"WHERE error_code = '{error.code}' GROUP BY 1 ORDER BY 2 DESC, 3"
        )
        assert [(one.message, one.rows, one.row_id) for one in error.messages] == messages[:20]
        assert error.other_messages == sum(count for _, count, _ in messages[20:])
        uris = [query.one(f"SELECT uri FROM parts WHERE row_id = {one.row_id}") for one in error.messages]
        assert uris == [one.uri for one in error.messages]


def test_words_flags_formats_and_copies(made_report: MadeReport, query: Query) -> None:
    report = made_report.file
    for word, found in zip(WORDS, report.words, strict=True):
        counted = query.all(
            "SELECT count(*) FILTER (verdict = 'real'), count(*) FILTER (verdict = 'fake'), "
            "count(*) FILTER (verdict = 'uncertain') FROM parts "
            f"WHERE regexp_matches(explanation, '{word.pattern}', 'i')"
        )[0]
        assert counted == (found.real, found.fake, found.uncertain), word.name
    assert sum(word.rows for word in report.words) > 0
    conditions = {
        "explained": "explanation IS NOT NULL",
        "remarked": "remark IS NOT NULL",
        "overruled": "verdict = 'fake' AND logit < 0 OR verdict = 'real' AND logit > 0",
        "noted": "verdict IS NOT NULL AND error_message IS NOT NULL",
        "distrusted": "off_script >= 0.5",
        "trusted": "provenance_basis = 'c2pa_trusted'",
        "unstable": "false",  # the run has no stability strip
    }
    for flag in report.flags:
        assert flag.rows == query.one(f"SELECT count(*) FROM parts WHERE {conditions[flag.name]}"), flag.name
    assert report.formats == dict(query.all("SELECT format, count(*) FROM parts WHERE format IS NOT NULL GROUP BY 1"))
    assert report.num_bytes == query.one("SELECT sum(num_bytes) FROM parts WHERE sha256 IS NOT NULL")
    copies = query.all(
        "SELECT count(*), sum(n), count(*) FILTER (v > 1) FROM (SELECT count(*) n, count(DISTINCT verdict) v "
        "FROM parts WHERE sha256 IS NOT NULL GROUP BY sha256 HAVING count(*) > 1)"
    )[0]
    assert copies == (report.copies.contents, report.copies.rows, report.copies.differing)
    times = query.all("SELECT min(epoch(scanned_at)), max(epoch(scanned_at)) FROM parts")[0]
    run = report.run
    assert run.scanned_from is not None
    assert run.scanned_to is not None
    assert times == (run.scanned_from.timestamp(), run.scanned_to.timestamp())


def by_verdict(where: str) -> str:
    return (
        "SELECT count(*), count(*) FILTER (verdict = 'real'), count(*) FILTER (verdict = 'fake'), "
        f"count(*) FILTER (verdict = 'uncertain'), count(*) FILTER (verdict IS NULL) FROM parts WHERE {where}"
    )


def test_origins_and_what_they_say_of_the_verdicts(made_report: MadeReport, query: Query) -> None:
    found = made_report.file.provenance
    assert found is not None
    assert found.read == query.one("SELECT count(provenance) FROM parts")
    assert [origin.name for origin in found.origins] == [*Origin, "unread"]
    for origin in found.origins:
        counted = query.all(by_verdict(f"coalesce(provenance, 'unread') = '{origin.name}'"))[0]
        assert counted == (origin.rows, origin.real, origin.fake, origin.uncertain, origin.errors), origin.name
        trusted = f"provenance = '{origin.name}' AND provenance_basis = 'c2pa_trusted'"
        assert origin.trusted == query.one(f"SELECT count(*) FROM parts WHERE {trusted}")
    assert found.bases == dict(
        query.all("SELECT provenance_basis, count(*) FROM parts WHERE provenance_basis IS NOT NULL GROUP BY 1")
    )
    assert [row.name for row in found.cross] == ["ai_generated", "captured", "composite"]
    for row in found.cross:
        counted = query.all(by_verdict(f"provenance = '{row.name}' AND provenance_basis = 'c2pa_trusted'"))[0]
        assert counted == (row.rows, row.real, row.fake, row.uncertain, row.errors), row.name
    for rate, origin_name, wrong in (
        (found.misses, "ai_generated", "real"), (found.false_alarms, "captured", "fake"),
    ):  # fmt: skip
        assert rate is not None
        trusted = f"provenance = '{origin_name}' AND provenance_basis = 'c2pa_trusted'"
        counted = query.all(f"SELECT count(*) FILTER (verdict = '{wrong}'), count(verdict) FROM parts WHERE {trusted}")
        assert counted[0] == (rate.wrong, rate.judged)
        assert rate.share.value == rate.wrong / rate.judged
        assert 0 < rate.share.low < rate.share.value < rate.share.high < 1
    assert "Who signs is no random sample" in found.notes[0]
    assert any("2026-08-05 from lists/trust.pem" in note for note in found.notes)


def test_folders(made_report: MadeReport, query: Query) -> None:
    tree = duckdb.sql(f"SELECT * FROM '{made_report.path}/{made_report.file.data}folders.parquet'").fetchall()
    names = duckdb.sql(f"SELECT * FROM '{made_report.path}/{made_report.file.data}folders.parquet'").columns
    folders = [dict(zip(names, row, strict=True)) for row in tree]
    assert len(folders) == made_report.file.folders.count == 1 + 3 + 33 + 2
    assert [folder["id"] for folder in folders] == list(range(len(folders)))
    for folder in folders:
        path = folder["path"].replace("'", "''")
        within = f"starts_with(uri, '{path}/')"
        found = query.all(
            "SELECT count(*), count(*) FILTER (verdict = 'real'), count(*) FILTER (verdict = 'fake'), "
            "count(*) FILTER (verdict = 'uncertain'), count(*) FILTER (verdict IS NULL), "
            f"count(*) FILTER (verdict = 'fake') / count(verdict) FROM parts WHERE {within}"
        )[0]
        assert found[:5] == tuple(folder[name] for name in ("rows", "real", "fake", "uncertain", "errors")), folder
        assert folder["share"] == pytest.approx(found[5])
        own = query.one(
            f"SELECT count(*) FROM parts WHERE {within} AND NOT contains(substr(uri, {len(folder['path']) + 2}), '/')"
        )
        assert folder["own_rows"] == own
        assert 0 <= folder["low"] <= folder["shrunk"] <= folder["high"] <= 1
        below = [one["id"] for one in folders if one["path"].startswith(f"{folder['path']}/") or one is folder]
        assert below == list(range(folder["id"], folder["last"] + 1))
    lows = [folder["low"] for folder in made_report.file.folders.worst]
    assert lows == sorted(lows, reverse=True)


def test_rows_and_facets_are_the_parts_in_the_order_of_the_score(made_report: MadeReport, query: Query) -> None:
    report = made_report.file
    assert len(report.rows.files) == 3
    assert len(report.facets.files) == 2
    places = {kind: [f"{made_report.path}/{report.data}{file.name}" for file in files.files] for kind, files in
              (("rows", report.rows), ("facets", report.facets))}  # fmt: skip
    rows = duckdb.sql(
        f"SELECT * REPLACE (lower(hex(sha256)) AS sha256) FROM read_parquet({places['rows']})"
    ).to_arrow_table()
    facets = duckdb.sql(f"SELECT * FROM read_parquet({places['facets']})").to_arrow_table()
    scored = query.all("SELECT row_id FROM parts WHERE score IS NOT NULL ORDER BY score DESC, row_id")
    row_ids = rows["row_id"].to_pylist()
    assert row_ids[: len(scored)] == [row for (row,) in scored]
    for error in report.errors:
        piece = rows.slice(error.position, error.rows)
        assert set(piece["error_code"].to_pylist()) == {error.code}
        assert set(facets["error"].slice(error.position, error.rows).to_pylist()) == {error.number}
        assert piece["row_id"].to_pylist() == sorted(piece["row_id"].to_pylist())
    for name in ("row_id", "folder", "words", "flags", "origin"):
        assert facets[name].to_pylist() == rows[name].to_pylist()
    numbers = {"real": 0, "fake": 1, "uncertain": 2}
    assert facets["verdict"].to_pylist() == [numbers.get(verdict, 3) for verdict in rows["verdict"].to_pylist()]
    known = {origin: number for number, origin in enumerate(Origin, start=1)}
    assert facets["origin"].to_pylist() == [known.get(origin, 0) for origin in rows["provenance"].to_pylist()]
    names = "row_id, uri, sha256, width, height, format, num_bytes, verdict, score, logit, off_script, explanation, " \
            "remark, error_code, error_message, etag, version, last_modified, provenance, provenance_basis, " \
            "provenance_generator, provenance_signer, provenance_detail"  # fmt: skip
    theirs = query.all(f"SELECT {names}, generator FROM parts ORDER BY row_id")
    ours = duckdb.sql(
        f'SELECT {names.replace("sha256", "lower(hex(sha256))")}, "kept:generator" FROM '
        f"read_parquet({places['rows']}) ORDER BY row_id"
    ).fetchall()
    assert ours == theirs
    tree = duckdb.sql(f"SELECT id, path FROM '{made_report.path}/{report.data}folders.parquet'").fetchall()
    paths = dict(tree)
    places_of = zip(rows["uri"].to_pylist(), rows["folder"].to_pylist(), strict=True)
    assert all(uri.rpartition("/")[0] == paths[folder] for uri, folder in places_of)


class _Text(HTMLParser):
    """The cells of the tables, and what is in <b>."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.bold: list[str] = []
        self._in: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        if tag in ("b", "td", "th"):
            self._in.append(tag)
            if tag == "b":
                self.bold.append("")

    def handle_endtag(self, tag: str) -> None:
        if self._in and self._in[-1] == tag:
            self._in.pop()

    def handle_data(self, data: str) -> None:
        if self._in and self._in[-1] == "b":
            self.bold[-1] += data
        elif self._in:
            self.tables[-1][-1][-1] += data


def test_the_overview_says_the_same(made_report: MadeReport, query: Query) -> None:
    page = (made_report.path / "report.html").read_text()
    text = _Text()
    text.feed(page)
    counts = query.all(
        "SELECT count(verdict), count(*) FILTER (verdict = 'fake'), count(*) FILTER (verdict = 'real'), "
        "count(*) FILTER (verdict = 'uncertain'), count(*) FILTER (verdict IS NULL) FROM parts"
    )[0]
    assert text.bold[:5] == [f"{count:,}" for count in counts]
    pictures, bands, folders, origins, cross, errors = text.tables
    for table, trusted in ((origins, ""), (cross, "AND provenance_basis = 'c2pa_trusted'")):
        names = {LABELS[origin]: origin for origin in Origin} | {"not read": "unread"}
        for cells in table[1:]:
            where = f"coalesce(provenance, 'unread') = '{names[cells[0]]}' {trusted}"
            rows, real, fake, uncertain, failed = (f"{count:,}" for count in query.all(by_verdict(where))[0])
            assert [cells[1], *cells[-4:]] == [rows, fake, uncertain, real, failed]
    assert made_report.file.pictures is not None
    assert [cells[1:] for cells in pictures[1:]] == [
        [f"{count:,}" for count in (one.rows, one.fake, one.uncertain, one.real)]
        for one in made_report.file.pictures.largest
    ]
    for cells, low in zip(bands[1:], range(9, -1, -1), strict=True):
        last = " OR score >= 1" if low == 9 else ""
        where = f"score >= {low / 10}::FLOAT AND score < {(low + 1) / 10}::FLOAT{last}"
        found = query.all(
            "SELECT count(*), count(*) FILTER (verdict = 'fake'), count(*) FILTER (verdict = 'uncertain'), "
            f"count(*) FILTER (verdict = 'real') FROM parts WHERE {where}"
        )[0]
        assert cells[1:] == [f"{count:,}" for count in found]
    base = made_report.file.folders.base
    for cells in folders[1:]:
        path = (base if cells[0] == "." else f"{base}/{cells[0]}").replace("'", "''")
        found = query.all(
            "SELECT count(*), count(*) FILTER (verdict = 'fake'), count(*) FILTER (verdict = 'uncertain'), "
            f"count(*) FILTER (verdict IS NULL) FROM parts WHERE starts_with(uri, '{path}/')"
        )[0]
        assert [cells[1], cells[2], cells[5], cells[6]] == [f"{count:,}" for count in found]
    by_code: dict[str, int] = {}
    for cells in errors[1:]:
        if cells[0]:
            by_code[cells[0]] = int(re.findall(r"[\d,]+$", cells[1])[0].replace(",", ""))
    assert by_code == dict(query.all("SELECT error_code, count(*) FROM parts WHERE error_code IS NOT NULL GROUP BY 1"))
    for count in re.findall(r"<title>[\d.]+ to [\d.]+: ([\d,]+) images</title>", page):
        assert int(count.replace(",", "")) > 0
    drawn = sum(int(count.replace(",", "")) for count in re.findall(r": ([\d,]+) images</title>", page))
    assert drawn == counts[0]


def test_report_json_is_what_was_returned(made_report: MadeReport) -> None:
    assert json.loads((made_report.path / "report.json").read_text()) == made_report.file.model_dump(mode="json")
