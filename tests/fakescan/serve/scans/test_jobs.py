"""Scans that clients start: what they may scan, the job that runs it, and a real one on a real cluster."""

import itertools
import json
import os
import posixpath
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st
from pydantic import ValidationError
from ray._private.authentication.authentication_token_setup import ensure_token_if_auth_enabled
from ray._raylet import Config
from ray.job_submission import JobDetails

from fakescan.cli.scan import scan_config
from fakescan.engine.config import SimulatedConfig, VllmConfig
from fakescan.engine.judging_settings import JudgingSettings
from fakescan.run.counts import COUNTS_KEY, Counts
from fakescan.run.folder import RunFolder
from fakescan.run.parts import part_name
from fakescan.run.run_file import new_run
from fakescan.run.verify import verify
from fakescan.serve.config import Scans
from fakescan.serve.scans.allowed_prefixes import allowed_source
from fakescan.serve.scans.command import command, environment, store_settings
from fakescan.serve.scans.job_server import JobServer
from fakescan.serve.scans.jobs import ScanJobs, ScanRefusedError, ScanRequest, ScanState, failure
from fakescan.serve.scans.progress import Budget, Progress, ProgressReader
from fakescan.serve.scans.state import Client, ScanCounts
from fakescan.sources.filters.name_filter import expand_braces, has_pattern
from fakescan.storage.store import Store
from fakescan.storage.url import file_path
from fakevlm.errors import UserError
from fakevlm.reading import Meaning
from fakevlm.verdict import Calibration
from tests.conftest import STORE_SECRETS, Bucket
from tests.drill_images import drill_images
from tests.fakescan.run.conftest import identity
from tests.jobs import conftest as head
from tests.serve_process import free_port
from tests.web_server import Answer, WebServer

jobs = head.jobs
ANNA = Client("anna", "0a1b2c3d", "192.0.2.1", "request-1")
ROOT = Path(__file__).parents[4]
REFERENCES = {"key": "env:SCANS_TEST_KEY", "secret": "env:SCANS_TEST_SECRET"}


@pytest.fixture(scope="module", autouse=True)
def _environment() -> Iterator[None]:
    """The store's secrets, and Ray's authentication: Ray reads its mode when it is imported, and a token once."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**STORE_SECRETS, "RAY_AUTH_MODE": "token"}.items():
            patch.setenv(name, value)
        Config.initialize("")
        ensure_token_if_auth_enabled()
        yield


def scan_jobs(settings: Scans, calibration: Calibration | None = None, **server: Any) -> ScanJobs:
    return ScanJobs(settings, JudgingSettings(**{"engine": SimulatedConfig(), **server}), calibration or Calibration())


def refusal(action: Callable[[], object]) -> ScanRefusedError:
    with pytest.raises(ScanRefusedError) as caught:
        action()
    assert "\n" not in str(caught.value)
    return caught.value


# What may be scanned


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`open` may be scanned, `open-private` not; links in `open` lead to both."""
    root = Path(os.path.realpath(tmp_path_factory.mktemp("folders")))
    for name in ("open/deep", "open/50% off", "open-private", "secret/{a,b}"):
        (root / name).mkdir(parents=True)
    (root / "open/out").symlink_to(root / "secret")
    (root / "open/in").symlink_to(root / "open/deep")
    (root / "open/loop").symlink_to(root / "open/loop")
    (root / "door").symlink_to(root / "open")
    return root


ALLOW = ("s3://bucket/data", "s3://whole", "https://example.org/sets/", "abfs://box@account.dfs.core.windows.net/in")


@pytest.mark.unit
@pytest.mark.parametrize(
    ("source", "normal"),
    [
        ("s3://bucket/data", "s3://bucket/data"),
        ("s3://bucket/data/", "s3://bucket/data"),
        ("S3://bucket/data/a b/ü", "s3://bucket/data/a b/ü"),
        ("s3://bucket/data/100% real", "s3://bucket/data/100% real"),
        ("s3://bucket/data/a%20b", "s3://bucket/data/a%20b"),
        ("s3://bucket/data/...", "s3://bucket/data/..."),
        ("s3://bucket/data/x#1", "s3://bucket/data/x#1"),
        ("s3://whole", "s3://whole"),
        ("s3://whole/", "s3://whole"),
        ("s3://whole/shard.tar", "s3://whole/shard.tar"),
        ("https://example.org/sets/a.jpg", "https://example.org/sets/a.jpg"),
        ("abfs://box@account.dfs.core.windows.net/in/x", "abfs://box@account.dfs.core.windows.net/in/x"),
    ],
)
def test_what_lies_below_a_prefix_is_allowed(source: str, normal: str) -> None:
    assert allowed_source(source, ALLOW) == normal


@pytest.mark.unit
@pytest.mark.parametrize(
    "source",
    [
        "s3://bucket/data-private",
        "s3://bucket/data-private/x",
        "s3://bucket/dat",
        "s3://bucket/Data",
        "s3://bucket",
        "s3://bucket/",
        "s3://Bucket/data",
        "s3://bucket:80/data",
        "s3://bucket.evil/data",
        "s3://evil/bucket/data",
        "s3://evil/s3:/bucket/data",
        "s3a://bucket/data",
        "gs://bucket/data",
        "file:///bucket/data",
        "/bucket/data",
        "/etc",
        "http://example.org/sets/a.jpg",
        "https://example.org.evil/sets/a.jpg",
        "https://example.org:8443/sets/a.jpg",
        "http://169.254.169.254/latest/meta-data",
        "abfs://box@evil.dfs.core.windows.net/in",
        "memory://bucket/data",
    ],
)
def test_any_other_place_is_forbidden_without_saying_which_are_not(source: str) -> None:
    refused = refusal(lambda: allowed_source(source, ALLOW))
    assert refused.code == "forbidden"
    assert not any(prefix in str(refused) for prefix in ALLOW)


@pytest.mark.unit
@pytest.mark.parametrize(
    "source",
    [
        "",
        " ",
        " s3://bucket/data",
        "s3://bucket/data\n",
        "s3://bucket/data/\x00",
        "s3://bucket/data/\ud800",
        "s3://bucket/data\u202e",
        "s3:///data",
        "s3://",
        "s3:/bucket/data",
        "s3:bucket/data",
        "bucket/data",
        "./data",
        "~/data",
        "~root",
        "file:/etc",
        "file:etc",
        "file://etc/passwd",
        "file://localhost/etc",
        "local:///etc",
        "s3://bucket/data/../x",
        "s3://bucket/data/..",
        "s3://bucket/data/./x",
        "s3://bucket/data//x",
        "s3://bucket//data",
        "s3://bucket/data//",
        "s3://bucket/data/%2e%2e/x",
        "s3://bucket/data/%252E./x",
        "s3://bucket/data/a%2fb",
        "s3://bucket/data/a%5cb",
        "s3://bucket/data/..\\x",
        "s3://bucket/data/%c0%ae%c0%ae/x",
        "s3://bucket/data/%00",
        "s3://buck%65t/data",
        "s3://bucket/data/*.jpg",
        "s3://bucket/data/[ab]",
        "s3://bucket/data/{a,../../b}",
        "s3://bucket/data/x?versionId=1",
        "s3://key:secret@bucket/data",
        "s3://bucket@evil/data",
        "https://user:password@example.org/sets/a.jpg",
        "https://example.org/sets/a.jpg?token=1",
        "https://example.org/sets/a.jpg#x",
        "https://example.org/sets/",
        "https://example.org/sets/list",
        "simplecache::s3://bucket/data",
        "s3://bucket/data/x::file:///etc",
        "tar://etc/passwd::s3://bucket/data/x.tar",
        "s3://bucket/data/list.csv",
        "s3://bucket/data/LIST.TXT",
        "s3://bucket/data/list.jsonl",
    ],
)
def test_an_address_that_could_mean_another_place_is_invalid(source: str) -> None:
    assert refusal(lambda: allowed_source(source, ALLOW)).code == "invalid"


@pytest.mark.unit
@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("/open", "/open"),
        ("/open/", "/open"),
        ("/open/in", "/open/deep"),
        ("/door/deep", "/open/deep"),
        ("/open/50% off", "/open/50% off"),
        ("/open/not there yet", "/open/not there yet"),
        ("/open/out", "forbidden"),
        ("/open/out/x", "forbidden"),
        ("/open-private", "forbidden"),
        ("/secret", "forbidden"),
        ("", "forbidden"),
        ("/open/../secret", "invalid"),
        ("/open//deep", "invalid"),
        ("/open/out/{a,b}", "invalid"),
    ],
)
def test_a_local_path_is_where_its_links_lead(folders: Path, source: str, expected: str) -> None:
    allow = [str(folders / "door")]
    for written in (f"{folders}{source}", f"file://{folders}{source}".replace("%", "%25")):
        if expected.startswith("/"):
            assert allowed_source(written, allow) == f"{folders}{expected}"
        else:
            assert refusal(lambda written=written: allowed_source(written, allow)).code == expected


PIECES = [
    *("s3://", "s3:", "file://", "file:", "https://", "bucket", "data", "data-private", "open", "out", "in", "deep"),
    *("/", "//", ".", "..", "%2e", "%2E", "%252e", "%2f", "%5c", "%", "%41", "~", "*", "?", "#", "{a,../b}", "\\", "@"),
    *(":", "::", " ", "\n", "\x00", "é", "\u2215", "\uff0e", "ROOT", "open-private", "secret", "loop", "door"),
]


@pytest.mark.unit
@effort(max_examples=500)
@given(st.sampled_from(["", "s3://bucket/data", "s3://bucket", "ROOT/open", "file://ROOT/open"]), st.data())
def test_whatever_is_allowed_lies_below_the_prefix(folders: Path, start: str, data: st.DataObject) -> None:
    tail = data.draw(st.one_of(st.lists(st.sampled_from(PIECES), max_size=8).map("".join), st.text(max_size=12)))
    source = (start + tail).replace("ROOT", str(folders))
    allow = ["s3://bucket/data", str(folders / "open")]
    try:
        found = allowed_source(source, allow)
    except ScanRefusedError:
        return
    assert allowed_source(found, allow) == found
    assert expand_braces(found) == [found]
    assert not has_pattern(found)
    if found.startswith("s3://"):
        for key in (found, unquote(found), unquote(unquote(found))):
            path = key.removeprefix("s3://")
            assert posixpath.normpath(path) == path
            assert path == "bucket/data" or path.startswith("bucket/data/")
    else:
        assert os.path.realpath(file_path(found)) == found
        assert found == f"{folders}/open" or found.startswith(f"{folders}/open/")


# Requests and settings


@pytest.mark.unit
@pytest.mark.parametrize(
    "change",
    [
        {"source": ""},
        {"source": "s3://b/" + "x" * 2048},
        {"explain": "some"},
        {"threshold": 0},
        {"threshold": 1.0},
        {"limit": 0},
        {"sample": -1},
        {"limit": 1, "sample": 1},
        {"globs": [""]},
        {"globs": ["a\nb"]},
        {"globs": ["x"] * 33},
        {"output": "s3://elsewhere"},
        {"engine": "fake"},
    ],
)
def test_a_request_with_a_wrong_setting_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ScanRequest.model_validate({"source": "s3://b/data", **change})


@pytest.mark.unit
@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"allow": ["s3://bucket/*"]}, "scans.allow: 's3://bucket/\\*'"),
        ({"allow": ["data"]}, "scans.allow: 'data'"),
        ({"output": "scans"}, "scans.output: scans"),
        ({"job_address": "127.0.0.1:8265"}, "scans.job_address"),
        ({"input_store": {"options": {"secret": "hunter2"}}}, "scans.input_store.options.secret"),
        ({"output_store": {"options": {"client_kwargs": {"x": ["y"]}}}}, "scans.output_store.options.client_kwargs"),
        ({"output_store": {"options": {"secret": "env:SCANS_TEST_NOT_SET"}}}, "SCANS_TEST_NOT_SET is not set"),
    ],
)
def test_a_setting_that_no_scan_could_run_with_is_named_at_the_start(change: dict[str, Any], named: str) -> None:
    settings = Scans.model_validate({"allow": ["s3://bucket/data"], "output": "s3://bucket/scans", **change})
    with pytest.raises(UserError, match=named) as caught:
        scan_jobs(settings)
    assert "hunter2" not in str(caught.value)


@pytest.mark.unit
def test_options_that_are_no_secrets_are_passed_on() -> None:
    store = Store.model_validate({"region": "eu-1", "options": {**REFERENCES, "use_ssl": False, "retries": 3}})
    assert store_settings("scans.input_store", store) == {
        "region": "eu-1",
        "options": {**REFERENCES, "use_ssl": False, "retries": 3},
    }


# The job's command


def stub(path: Path) -> Path:
    """A `python` that keeps its arguments and what it reads beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('#!/bin/sh\necho "$@" > "$0.args"\ncat "$5" > "$0.yaml"\n')
    path.chmod(0o755)
    return path


@pytest.mark.unit
@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_the_command_gives_the_scan_every_setting_through_any_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shell: str
) -> None:
    python = stub(tmp_path / "a $(b) 'c/python")
    monkeypatch.setattr(sys, "executable", str(python))
    settings = Scans.model_validate(
        {
            "allow": ["s3://bucket/data"],
            "output": "s3://bucket/scans/",
            "replicas": "1-4",
            "input_store": {"endpoint_url": "http://127.0.0.1:1", "options": REFERENCES},
            "output_store": {"profile": "audits", "anon": True},
        }
    )
    scans = scan_jobs(
        settings,
        Calibration(temperature=2.0, threshold=0.6),
        model="hub/model",
        model_store=Store(region="eu-1"),
        engine=VllmConfig(dtype="float32", kv_cache_gib=3),
        max_new_tokens=64,
    )
    globs = ("*.jpg", 'it\'s $HOME `x` 😀 \\ "é"', "END_OF_SETTINGS", "yes", "1", "- a: #b", "x y " * 60)
    request = ScanRequest(source="s3://bucket/data", explain="none", threshold=0.4, limit=7, globs=globs)
    text = command(scans.settings(request, "s3://bucket/data/ü '$x", "s3://bucket/scans/1"))

    for value in STORE_SECRETS.values():
        assert value not in text
    subprocess.run([shell, "-c", text], check=True, cwd=tmp_path, env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"})
    assert Path(f"{python}.args").read_text() == "-m fakescan.cli scan --config /dev/stdin\n"
    config = scan_config(Path(f"{python}.yaml"), {})
    assert (config.source, config.output) == ("s3://bucket/data/ü '$x", "s3://bucket/scans/1")
    assert (config.explain, config.threshold, config.limit, config.sample) == ("none", 0.4, 7, None)
    assert config.globs == globs
    assert config.engine == VllmConfig(dtype="float32", kv_cache_gib=3)
    assert config.calibration == Calibration(temperature=2.0, threshold=0.6)
    assert (config.model, config.model_store, config.max_new_tokens) == ("hub/model", Store(region="eu-1"), 64)
    assert (config.replicas.low, config.replicas.high) == (1, 4)
    assert config.input_store.identity == settings.input_store.identity
    assert config.output_store == settings.output_store


@pytest.mark.unit
def test_a_threshold_in_the_request_takes_precedence_over_the_servers() -> None:
    """The server's own is in its calibration, as `Detector` has it."""
    scans = scan_jobs(
        Scans(allow=("s3://bucket/data",), output="s3://bucket/scans"), Calibration(threshold=0.4), threshold=0.4
    )

    def settings(threshold: float | None) -> dict[str, Any]:
        request = ScanRequest(source="s3://bucket/data", threshold=threshold)
        return scans.settings(request, "s3://bucket/data", "s3://bucket/scans/1")

    assert settings(0.7)["threshold"] == 0.7
    assert "threshold" not in settings(None)
    assert settings(None)["calibration"]["threshold"] == 0.4


@pytest.mark.unit
def test_the_command_runs_the_heads_python_where_it_lacks_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = stub(tmp_path / "bin/python")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "not/there/python"))
    subprocess.run(command({"a": 1}), shell=True, check=True, env={"PATH": f"{python.parent}:/usr/bin:/bin"})
    assert Path(f"{python}.yaml").read_text() == "a: 1\n"


@pytest.mark.unit
def test_the_job_finds_the_packages_where_they_are_found_here(tmp_path: Path) -> None:
    variables = environment(inherit=False)["env_vars"]
    check = "import fakescan, fakevlm; print(fakescan.__file__)"
    run = subprocess.run(
        [sys.executable, "-S", "-c", check], cwd=tmp_path, env=variables, check=True, capture_output=True, text=True
    )
    assert run.stdout.strip() == str(ROOT / "platform/fakescan/__init__.py")


# What the job server says


def details(**changes: Any) -> JobDetails:
    told = {"type": "SUBMISSION", "submission_id": "scan-20261123-7f3a9c", "status": "FAILED", "entrypoint": "x"}
    return JobDetails(**{**told, **changes})


@pytest.mark.unit
@pytest.mark.parametrize(
    ("told", "message"),
    [
        (
            {
                "message": "Job entrypoint command failed with exit code 2, last available logs (truncated to 20,000 "
                "chars):\nfakescan: error: an earlier one\n- 'fakescan: error: a glob'\n"
                "fakescan: error: cannot read https://user:pw@example.org/a?token=1 (denied)\n\n",
                "driver_exit_code": 2,
            },
            "cannot read https://example.org/a (denied)",
        ),
        (
            {"message": "Job entrypoint command failed with exit code -9. No logs.", "driver_exit_code": -9},
            "the scan ended with status -9; `ray job logs scan-20261123-7f3a9c` shows its log",
        ),
        (
            {"message": "runtime_env setup failed: Failed to set up runtime environment.\nTraceback\n  x"},
            "runtime_env setup failed: Failed to set up runtime environment.",
        ),
        ({"message": None}, "the scan did not start"),
    ],
)
def test_a_failed_scan_says_why_in_one_line_without_secrets(told: dict[str, Any], message: str) -> None:
    assert failure(details(**told)) == message


def answers(web: WebServer, **jobs: JobDetails) -> JobServer:
    """A job server that knows these jobs."""
    version = {"ray_version": "2.60.0", "session_name": "session_of_another_cluster"}
    web.answers["/api/version"] = Answer(json.dumps(version).encode())
    for name, job in jobs.items():
        web.answers[f"/api/jobs/{name}"] = Answer(job.model_dump_json().encode())
    return JobServer(web.url, timeout_s=0.5)


@pytest.mark.unit
def test_a_job_server_that_does_not_answer_is_unavailable_and_named(
    web: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reason(server: JobServer) -> str:
        refused = refusal(server.jobs)
        assert refused.code == "unavailable"
        assert str(refused).startswith("scans.job_address: ")
        return str(refused)

    assert "Failed to connect to Ray at address" in reason(JobServer(f"http://127.0.0.1:{free_port()}"))
    reason(JobServer(None))
    reason(JobServer(web.url))  # a web server that is no job server
    server = answers(web)
    web.answers["/api/jobs/"] = Answer(b"Traceback:\n  x\nNo available agent to submit job.\n", 500)
    assert "(No available agent to submit job)" in reason(server)
    web.answers["/api/jobs/"] = Answer(b"<html>", 200)
    reason(server)
    web.answers["/api/jobs/"] = Answer(wait=threading.Event())
    assert "(timed out)" in reason(server)
    web.answers["/api/jobs/"] = Answer(b"Unauthorized", 401)
    reason(server)
    monkeypatch.setenv("RAY_ADDRESS", web.url)
    assert "RAY_ADDRESS" in reason(JobServer(f"http://127.0.0.1:{free_port()}"))


@pytest.mark.unit
def test_a_job_server_that_is_back_is_found_again(web: WebServer) -> None:
    server = JobServer(web.url, timeout_s=0.5)
    assert refusal(server.jobs).code == "unavailable"
    answers(web)
    web.answers["/api/jobs/"] = Answer(b"[]")
    assert server.jobs() == []
    assert not server.is_own()


@pytest.mark.unit
def test_only_scans_are_shown_whatever_else_the_cluster_runs(web: WebServer, tmp_path: Path) -> None:
    metadata = {
        "fakescan": "scan",
        "source": "/x",
        "output": str(tmp_path),
        "created_at": "2026-11-23T12:00:00+00:00",
        "asked_by": "anna",
        "key_id": ANNA.key_id,
    }
    mine = details(metadata=metadata, start_time=1, end_time=1_000)
    others = {
        "scan-20261123-000002": details(
            submission_id="scan-20261123-000002", metadata={**metadata, "key_id": "00000000"}
        ),
        "scan-20261123-000000": details(submission_id="scan-20261123-000000", metadata={"fakescan": "train"}),
        "scan-20261123-000001": details(submission_id="scan-20261123-000001"),
        "raysubmit_1": details(submission_id="raysubmit_1", metadata=metadata),
    }
    answers(web, **{str(mine.submission_id): mine}, **others)
    everything = [json.loads(job.model_dump_json()) for job in (mine, *others.values())]
    web.answers["/api/jobs/"] = Answer(json.dumps(everything).encode())
    scans = scan_jobs(Scans(allow=("/x",), output=str(tmp_path), job_address=web.url))

    assert [scan.id for scan in scans.list(ANNA)] == [mine.submission_id]
    state = scans.get("scan-20261123-7f3a9c", ANNA)
    assert (state.status, state.message) == ("failed", "the scan did not start")
    assert state.ended_at is not None
    assert state.ended_at.timestamp() == 1
    before = len(web.seen)
    for name in ("../version", "scan-20261123-7f3a9c/logs", "", "02000000"):
        assert refusal(lambda name=name: scans.get(name, ANNA)).code == "not_found"
    assert len(web.seen) == before, "what is no scan's id is not sent to the job server"
    for name in (*others, "scan-20261123-ffffff"):
        assert refusal(lambda name=name: scans.get(name, ANNA)).code == "not_found"
        assert refusal(lambda name=name: scans.stop(name, ANNA)).code == "not_found"
    other = Client("anna", "00000000")  # her name may be given to another key when hers is removed
    assert [scan.id for scan in scans.list(other)] == ["scan-20261123-000002"]
    assert scans.get("scan-20261123-000002", other).started_by == "anna"
    assert refusal(lambda: scans.get(str(mine.submission_id), other)).code == "not_found"
    assert scans.list(Client()) == []


@pytest.mark.unit
def test_a_scan_that_cannot_be_audited_is_not_started(web: WebServer, tmp_path: Path) -> None:
    answers(web)
    web.answers["/api/jobs/"] = Answer(b"[]")
    (tmp_path / "audit").write_text("no folder")
    scans = scan_jobs(Scans(allow=("/x",), output=str(tmp_path), job_address=web.url))
    before = len(web.seen)
    refused = refusal(lambda: scans.start(ScanRequest(source="/x"), ANNA))
    assert (refused.code, str(refused)) == (
        "unavailable",
        "the audit of scans cannot be written; the log has the cause",
    )
    assert str(tmp_path) not in str(refused)
    assert [seen.target for seen in web.seen[before:]].count("/api/jobs/") == 1, "listed, and nothing submitted"


# Progress


def write_run_file(run: Path, rows: int) -> None:
    """A run.json for so many rows, 16 in a part."""
    file = new_run(identity(), "m", None, fingerprint="f", rows=rows, population=rows, shard_rows=16)
    RunFolder(str(run), Store()).save(file)


def write_part(run: Path, shard: int, counts: Counts) -> None:
    (run / "parts").mkdir(exist_ok=True)
    table = pa.table({"row_id": [0]}).replace_schema_metadata({COUNTS_KEY: counts.to_json()})
    pq.write_table(table, run / "parts" / part_name(shard))


@pytest.mark.unit
def test_progress_is_what_is_in_the_folder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run, reader = tmp_path / "run", ProgressReader(Store())

    def read(footers: int = 100) -> Progress:
        return reader.read(str(run), Budget(footers))

    assert read() == Progress(None, 0, ScanCounts())
    run.mkdir()
    assert read() == Progress(None, 0, ScanCounts())
    write_run_file(run, 40)
    assert read() == Progress(40, 0, ScanCounts(), Meaning.NONE)
    write_part(run, 2, Counts(8, 1, 2, 0, {"denied": 3, "empty": 2}))
    (run / "parts" / ".part-00000000.parquet.tmp").write_bytes(b"x")
    assert read() == Progress(40, 8, ScanCounts(real=1, fake=2, errors=5), Meaning.NONE)
    write_part(run, 0, Counts(16, 16))
    write_part(run, 1, Counts(16, 0, 0, 16))
    assert read(1) == Progress(40, 40, ScanCounts(real=17, fake=2, errors=5), Meaning.NONE), "one footer more"
    whole = Progress(40, 40, ScanCounts(real=17, fake=2, uncertain=16, errors=5), Meaning.NONE)
    assert read(1) == whole
    for path in (run / "parts").iterdir():
        path.unlink()
    assert read() == whole, "a whole run is not looked at again"
    assert not caplog.records


@pytest.mark.unit
def test_a_folder_that_cannot_be_read_is_no_failure(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    reader = ProgressReader(Store())
    write_run_file(tmp_path, 32)
    write_part(tmp_path, 0, Counts(16, 16))
    assert reader.read(str(tmp_path), Budget()) == Progress(32, 16, ScanCounts(real=16), Meaning.NONE)
    (tmp_path / "parts" / part_name(1)).write_bytes(b"no Parquet")
    assert reader.read(str(tmp_path), Budget()) == Progress(32, 16, ScanCounts(real=16), Meaning.NONE)
    other = tmp_path / "other"
    other.mkdir()
    (other / "run.json").write_text("{}")
    assert reader.read(str(other), Budget()) == Progress()
    closed = Store(endpoint_url=f"http://127.0.0.1:{free_port()}", region="us-east-1", anon=True)
    assert ProgressReader(closed).read("s3://bucket/run", Budget()) == Progress()
    assert len(caplog.records) == 3


# A real cluster


@pytest.fixture
def settings(jobs: head.Jobs, s3_bucket: Bucket) -> Scans:
    """Scans of one bucket's `data`, whose results go to its `scans`."""
    store = Store.model_validate({**s3_bucket.settings(), "options": REFERENCES})
    return Scans(
        allow=(f"{s3_bucket.url}/data",),
        output=f"{s3_bucket.url}/scans",
        job_address=jobs._client.get_address(),
        input_store=store,
        output_store=store,
    )


def put_images(bucket: Bucket, count: int) -> None:
    """Sound images of the drill, and one that is none."""
    sound = (image for image in drill_images(2 * count) if image.code is None)
    for image in itertools.islice(sound, count - 1):
        bucket.put(f"data/{image.name}", image.data)
    bucket.put("data/broken.jpg", b"no image")


def until(scans: ScanJobs, scan_id: str, condition: Callable[[ScanState], bool], what: str) -> ScanState:
    states: list[ScanState] = []

    def found() -> bool:
        states[:] = [scans.get(scan_id, ANNA)]
        return condition(states[0])

    head.wait(found, 120, what, lambda: str(states))
    return states[0]


def has_ended(state: ScanState) -> bool:
    return state.status not in ("pending", "running")


@pytest.mark.cluster
def test_a_scan_runs_to_its_end_and_another_says_why_it_failed(
    settings: Scans, jobs: head.Jobs, s3_bucket: Bucket
) -> None:
    count = 30
    put_images(s3_bucket, count)
    scans = scan_jobs(settings.model_copy(update={"allow": (*settings.allow, "s3://no-such-bucket")}))
    started = scans.start(ScanRequest(source=f"{s3_bucket.url}/data/"), ANNA)
    assert re.fullmatch(r"scan-\d{8}-[0-9a-f]{6}", started.id)
    assert (started.status, started.source) == ("pending", f"{s3_bucket.url}/data")
    assert started.output == f"{s3_bucket.url}/scans/{started.id}"
    assert started.results == f"{started.output}/parts/*.parquet"
    failing = scans.start(ScanRequest(source="s3://no-such-bucket/x"), ANNA)
    assert refusal(lambda: scans.start(ScanRequest(source=f"{s3_bucket.url}/data"), ANNA)).code == "overloaded"

    failed = until(scans, failing.id, has_ended, "the failing scan ends")
    assert failed.status == "failed"
    assert failed.message == "cannot read s3://no-such-bucket/x: no such bucket: no-such-bucket"
    assert (failed.rows, failed.rows_done) == (None, 0)

    seen = [scans.get(started.id, ANNA)]

    def finished(state: ScanState) -> bool:
        seen.append(state)
        return has_ended(state)

    done = until(scans, started.id, finished, "the scan ends")
    assert done.status == "succeeded", jobs.log(started.id)
    assert (done.rows, done.rows_done, done.message) == (count, count, None)
    assert sum(done.counts.model_dump().values()) == count
    assert done.counts.errors == 1
    assert done.counts.fake > 0
    assert done.created_at == started.created_at
    assert done.ended_at is not None
    assert done.ended_at > done.created_at
    assert [state.rows_done for state in seen] == sorted(state.rows_done for state in seen)
    found = verify(RunFolder(done.output, s3_bucket.store))
    assert (found.problems, found.counts.rows, found.counts.fake) == ([], count, done.counts.fake)

    assert [state.id for state in scans.list(ANNA)[:2]] == [failing.id, started.id]
    assert scans.list(ANNA)[1] == done
    assert scans.stop(started.id, ANNA) == done, "what has ended stays as it is"
    told = jobs._client.get_job_info(started.id)
    assert (told.metadata["asked_by"], told.metadata["key_id"]) == ("anna", ANNA.key_id)
    fs, path = s3_bucket.store.filesystem(f"{s3_bucket.url}/scans/audit")
    (entry,) = [json.loads(fs.cat_file(name)) for name in fs.ls(path) if started.id in name]
    assert entry.pop("time")
    assert entry == {
        "action": "start",
        "scan": started.id,
        "key": "anna",
        "key_id": ANNA.key_id,
        "client": "192.0.2.1",
        "request_id": "request-1",
        "source": started.source,
        "output": started.output,
    }
    for secret in STORE_SECRETS.values():
        assert secret not in told.model_dump_json() + jobs.log(started.id)
