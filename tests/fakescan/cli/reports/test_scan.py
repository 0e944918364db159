"""The closing summary: everything that came out, nothing cut, nothing twice, and commands that can be pasted."""

import io
import json
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fakescan.cli.main import cli
from fakescan.cli.reports import scan as report
from fakescan.cli.reports import typed_command
from fakescan.cli.reports.scan import print_summary
from fakescan.cli.scan import scan_config
from fakescan.run.counts import Counts
from fakescan.run.folder import RunFolder
from fakescan.run.run_file import RunFile
from fakescan.scan.config import ScanConfig
from fakescan.scan.execution import ScanOutcome
from fakescan.storage.store import Store
from fakevlm.errors import ErrorCode
from fakevlm.reading import NO_FORGERY_FOUND, Meaning
from tests.fakescan.run.conftest import make_run
from tests.screen import Screen

pytestmark = [pytest.mark.unit, pytest.mark.usefixtures("plain_terminal")]

WARNING = "the model builtin-small learnt from forged photographs of 112 pixels and knows no generator"


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The program is found by its name."""
    monkeypatch.setattr(report, "program", lambda: ["fakescan"])
    monkeypatch.setattr(typed_command, "program", lambda: ["fakescan"])
    monkeypatch.delenv("RAY_JOB_CONFIG_JSON_ENV_VAR", raising=False)


@pytest.fixture
def run(tmp_path: Path) -> RunFile:
    folder = RunFolder(str(tmp_path / "run"), Store())
    make_run(folder)
    return folder.open()


def outcome_of(run: RunFile, **changes: Any) -> ScanOutcome:
    counts = Counts(40, 19, 15, 0, {"not_an_image": 3, "truncated": 2, "fetch_failed": 1})
    values: dict[str, Any] = {
        "run": run.model_copy(
            update={"rows": 40, "shard_rows": 8, "warning": None, "meaning": Meaning.FULL, **changes.pop("file", {})}
        ),
        "url": "/data/run",
        "scanned": counts,
        "whole": counts,
        "examples": {code: f"/data/images/{code}.jpg: why it is {code}" for code in counts.errors},
        "seconds": 31.0,
        "startup_s": 22.0,
        "first_rows": 4,
    }
    return ScanOutcome(**{**values, **changes})


def printed(outcome: ScanOutcome, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> list[str]:
    """The summary's lines where there is no terminal."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    print_summary(outcome, config_of(**settings))
    return stream.getvalue().splitlines()


def config_of(**settings: Any) -> ScanConfig:
    return ScanConfig.model_validate({"source": "/data/images", "output": "/data/run", **settings})


def test_a_summary_in_plain_lines(run: RunFile, monkeypatch: pytest.MonkeyPatch) -> None:
    left_out = {"with other extensions": 12, "duplicates": 3}
    lines = printed(outcome_of(run, file={"left_out": left_out, "warning": WARNING}), monkeypatch)
    assert lines == [
        f"results: /data/run/parts/*.parquet   (run {run.run_id}, model {run.model})",
        "rows: 40 of 40   real 19   fake 15   uncertain 0   errors 6",
        "scanned now: 40 in 31 s (22 s to the first part, then 4.0 img/s)",
        "  not_an_image              3   e.g. /data/images/not_an_image.jpg: why it is not_an_image",
        "  truncated                 2   e.g. /data/images/truncated.jpg: why it is truncated",
        "  fetch_failed              1   e.g. /data/images/fetch_failed.jpg: why it is fetch_failed",
        "left out: 12 with other extensions, 3 duplicates (see manifest/manifest.json)",
        f"warning: {WARNING}",
        "to check that every row is there exactly once:",
        "    fakescan verify /data/run",
        "to see the fakes (15), the surest first, in DuckDB:",
        "    SELECT uri, score, explanation FROM '/data/run/parts/*.parquet' WHERE verdict = 'fake' "
        "ORDER BY score DESC;",
        "to scan the rows with errors again (fetch_failed 1 may pass): the same command with --retry-errors",
    ]


def test_all_error_codes_are_there(run: RunFile, monkeypatch: pytest.MonkeyPatch) -> None:
    errors = {str(code): 10 + number for number, code in enumerate(ErrorCode)}
    examples = {code: f"s3://b/{code}: {'a long message, ' * 10}and its end" for code in errors}
    counts = Counts(1000, 0, 0, 0, errors)
    lines = printed(outcome_of(run, scanned=counts, whole=counts, examples=examples), monkeypatch)
    for code, example in examples.items():
        assert any(line.startswith(f"  {code} ") and line.endswith(f"e.g. {example}") for line in lines), code


@pytest.mark.parametrize("columns", [80, 120])
def test_on_a_terminal_prose_is_wrapped_and_what_is_pasted_is_not(
    run: RunFile, make_screen: Callable[[int], Screen], monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    screen = make_screen(columns)
    url = "/data/" + "a-long-name/" * 10 + "run"
    example = "/data/images/x.jpg: " + "words that say why " * 12
    outcome = outcome_of(run, url=url, examples={"truncated": example}, file={"warning": WARNING})
    monkeypatch.setattr(sys, "stdout", screen.stream)
    monkeypatch.setattr(sys, "stderr", screen.stream)
    print_summary(outcome, config_of(output=url))
    shown, lines = screen.read(), screen.lines()
    assert f"    fakescan verify {url}" in lines
    assert f"results: {url}/parts/*.parquet" in lines
    assert not [line for line in lines if len(line) > columns and url not in line]
    assert "\x1b[32mreal 19\x1b[0m" in shown
    assert "\x1b[35mfake 15\x1b[0m" in shown
    assert "\x1b[31merrors 6\x1b[0m" in shown
    assert WARNING not in shown, "it stands above, on the same terminal"
    assert "see the warning at the start" in " ".join(" ".join(lines).split())
    assert " ".join(shown.split()).count("words that say why") == 12


def test_a_model_that_knows_no_generator_calls_nothing_real(
    run: RunFile, screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", screen.stream)
    print_summary(outcome_of(run, file={"meaning": Meaning.FORGERIES}), config_of())
    shown = screen.read()
    words = " ".join(re.sub(r"\x1b\[[\d;]*m", "", shown).split())
    assert "rows: 40 of 40 no forgery found 19 fake 15 uncertain 0 errors 6" in words
    assert f"note: {NO_FORGERY_FOUND}" in words
    assert "\x1b[32m" not in shown, "nothing is green"
    assert "real 19" not in words


def test_no_colours_where_they_are_not_wanted(run: RunFile, screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys, "stdout", screen.stream)
    print_summary(outcome_of(run), config_of())
    assert "\x1b" not in screen.read()


def test_nothing_that_failed_and_no_fakes_leave_one_hint(run: RunFile, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = Counts(5, 5, 0, 0, {})
    lines = printed(outcome_of(run, scanned=counts, whole=counts, examples={}, seconds=22.0), monkeypatch)
    assert lines[2] == "scanned now: 5 in 22 s (22 s to the first part)"
    assert lines[-2:] == ["to check that every row is there exactly once:", "    fakescan verify /data/run"]


def test_errors_that_stay_are_not_offered_again(run: RunFile, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = Counts(5, 3, 0, 0, {"truncated": 1, "empty": 1})
    lines = printed(outcome_of(run, scanned=counts, whole=counts), monkeypatch)
    assert "--retry-errors" not in "\n".join(lines)


def test_names_of_files_cannot_add_lines(run: RunFile, monkeypatch: pytest.MonkeyPatch) -> None:
    examples = {"truncated": "/data/a\nwarning: all is lost\x1b[2J.jpg: cut"}
    lines = printed(outcome_of(run, examples=examples), monkeypatch)
    assert "warning: all is lost" not in lines
    assert any("a\\nwarning: all is lost\\x1b[2J.jpg" in line for line in lines)


@pytest.mark.parametrize("name", ["it's", "two words", "a*b", "a[1]", "what?", "$HOME", "umlaut-ä", "a;b"])
def test_commands_are_quoted_for_their_readers(
    run: RunFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The shell reads the folder's name, and DuckDB its parts."""
    import duckdb
    import pyarrow as pa
    import pyarrow.parquet as pq

    for folder in (tmp_path / name, tmp_path / "a1", tmp_path / "aXb", tmp_path / "whatX"):
        (folder / "parts").mkdir(parents=True)
        rows = [{"uri": folder.name, "score": 0.9, "explanation": "x", "verdict": "fake"}]
        pq.write_table(pa.Table.from_pylist(rows), folder / "parts" / "part-00000000.parquet")
    url = str(tmp_path / name)
    lines = printed(outcome_of(run, url=url), monkeypatch, output=url)
    assert shlex.split(lines[lines.index("to check that every row is there exactly once:") + 1]) == [
        "fakescan",
        "verify",
        url,
    ]
    (query,) = [line for line in lines if "SELECT" in line]
    assert duckdb.sql(query.strip().rstrip(";")).fetchall() == [(name, 0.9, "x")]


def test_the_stores_flags_come_along_and_its_secrets_do_not(run: RunFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OUTPUT_SECRET", raising=False)
    store = {
        "endpoint_url": "http://s3.example:9000",
        "profile": "auditors",
        "region": "eu-west-1",
        "options": {"key": "env:MY_KEY", "secret": "hunter2", "use_ssl": False},
    }
    monkeypatch.setenv("MY_KEY", "x")
    lines = printed(outcome_of(run, url="s3://b/run"), monkeypatch, output="s3://b/run", output_store=store)
    verify = lines[lines.index("to check that every row is there exactly once:") + 1]
    assert verify.strip() == (
        "fakescan verify s3://b/run --output-endpoint http://s3.example:9000 --output-profile auditors "
        "--output-region eu-west-1 --output-option key=env:MY_KEY --output-option secret=env:OUTPUT_SECRET "
        "--output-option use_ssl=false"
    )
    assert lines[-1] == "secrets are not shown: before you paste a command, set OUTPUT_SECRET"
    assert "hunter2" not in "\n".join(lines)
    words = shlex.split(verify)[3:]
    command = cli.commands["verify"]
    with command.make_context("verify", ["s3://b/run", *words]) as context:
        assert context.params["output_endpoint"] == "http://s3.example:9000"


def test_a_store_that_flags_cannot_say_gives_no_command(run: RunFile, monkeypatch: pytest.MonkeyPatch) -> None:
    for store in ({"options": {"client_kwargs": {"verify": False}}}, {"endpoint_url": "http://user:pw@host:1"}):
        lines = printed(outcome_of(run, url="s3://b/run"), monkeypatch, output="s3://b/run", output_store=store)
        assert "fakescan verify" not in "\n".join(lines)
        assert "user:pw" not in "\n".join(lines)


def typed(*words: str) -> str | None:
    """What `--retry-errors` would be added to, for a command that somebody typed."""
    with cli.make_context("fakescan", [*words], resilient_parsing=False) as parent:
        name, command, rest = cli.resolve_command(parent, [*parent._protected_args, *parent.args])
        assert command is not None
        with command.make_context(name, rest, parent=parent) as context:
            return typed_command.typed_again(context, "--retry-errors", without=("--break-lease",))


@pytest.mark.parametrize(
    ("words", "again"),
    [
        ("scan /images -o /out", "fakescan scan /images --output /out --retry-errors"),
        ("-v scan '/my images' -o /out", "fakescan scan '/my images' --output /out --retry-errors"),
        (
            "scan /images -o /out --glob '*.jpg' --glob 'a b/*' --limit 5 --threshold 0.25",
            "fakescan scan /images --output /out --glob '*.jpg' --glob 'a b/*' --limit 5 --threshold 0.25 "
            "--retry-errors",
        ),
        ("scan /images -o /out --retry-errors --break-lease", "fakescan scan /images --output /out --retry-errors"),
        ("scan --config scan.yaml", "fakescan scan --config scan.yaml --retry-errors"),
        (
            "scan s3://b/x -o s3://b/y --input-anon --output-option secret=hunter2 --output-option key=env:K",
            "fakescan scan s3://b/x --output s3://b/y --input-anon --output-option secret=env:OUTPUT_SECRET "
            "--output-option key=env:K --retry-errors",
        ),
        ("scan 'https://host/list.csv?X-Amz-Signature=hunter2' -o /out", None),
        ("scan /images -o /out --input-endpoint http://user:hunter2@host:9000", None),
        ("scan --config /dev/stdin", None),
        ("scan $'/im\\nages' -o /out", None),
    ],
)
def test_the_command_that_was_typed(words: str, again: str | None) -> None:
    assert typed(*(word.replace("$/im\\nages", "/im\nages") for word in shlex.split(words))) == again


def test_what_is_pasted_means_what_was_typed(tmp_path: Path) -> None:
    words = ["scan", "/my images", "-o", str(tmp_path), "--extensions", "jpg,png", "--replicas", "1-4", "--sample", "9"]
    again = typed(*words)
    assert again is not None
    with cli.commands["scan"].make_context("scan", shlex.split(again)[2:]) as context:
        flags = {name: value for name, value in context.params.items() if name not in ("config", "ray_address")}
        config = scan_config(None, flags)
    assert config == ScanConfig.model_validate(
        {
            "source": "/my images",
            "output": str(tmp_path),
            "extensions": ("jpg", "png"),
            "replicas": "1-4",
            "sample": 9,
            "retry_errors": True,
        }
    )


def test_a_ray_job_is_submitted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", json.dumps({}))
    assert typed("scan", "/images", "-o", "/out") is None


def test_the_program_is_called_as_the_shell_finds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "fakescan"
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    assert typed_command.program() == [str(tmp_path / "bin" / "python"), "-m", "fakescan.cli"]
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", "/nowhere")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert typed_command.program() == [str(script)]
    monkeypatch.chdir(tmp_path)
    assert typed_command.program() == ["bin/fakescan"]
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert typed_command.program() == ["fakescan"]
