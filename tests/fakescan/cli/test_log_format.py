"""--log-format json: every line on stderr is an object, also where nothing but the command line is wrong."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fakescan.cli.options.log_options import wants_json
from tests.json_lines import json_lines
from tests.scan_process import SCRIPT

JSON = ("--log-format", "json")


def run(*arguments: object, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [SCRIPT, *map(str, arguments)], capture_output=True, timeout=120, env={**os.environ, **(environment or {})}
    )


@pytest.mark.unit
@pytest.mark.parametrize(
    ("arguments", "variable", "is_json"),
    [
        (["scan", "--log-format", "json"], "", True),
        (["--log-format=json", "scan"], "", True),
        (["scan", "--log-format", "json", "--log-format", "text"], "", False),
        (["scan"], "json", True),
        (["scan", "--log-format", "text"], "json", False),
        (["scan", "--", "--log-format", "json"], "", False),
        (["scan", "--log-format"], "", False),
        (["scan", "--log-format", "xml"], "json", False),
        ([], "text", False),
    ],
)
def test_what_a_command_line_wants(
    arguments: list[str], variable: str, is_json: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKESCAN_LOG_FORMAT", variable)
    assert wants_json(arguments) == is_json


@pytest.mark.unit
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["scan", "--nope"], "No such option"),
        (["scan", "/nowhere", "-o", "out", "--engine", "fake"], "/nowhere"),
        (["sacn"], "Did you mean 'scan'?"),
        (["scan", "a\nb", "-o", "out"], "a b"),
        (["serve"], "keys: missing"),
        (["train", "/no/such.yaml"], "/no/such.yaml"),
        (["evaluate", "--data", "/nowhere", "-o", "out"], "/nowhere"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], words: str, tmp_path: Path) -> None:
    done = run(*JSON, *arguments) if arguments == ["sacn"] else run(*arguments, *JSON)
    (line,) = json_lines(done.stderr)
    assert words in line["message"]
    assert (line["level"], line["logger"], line["exit_status"]) == ("ERROR", "fakescan", 2)
    assert done.returncode == 2
    assert done.stdout == b""


@pytest.mark.unit
def test_the_variable_does_what_the_option_does() -> None:
    done = run("scan", "--nope", environment={"FAKESCAN_LOG_FORMAT": "json"})
    assert len(json_lines(done.stderr)) == 1
    done = run("scan", "--nope", "--log-format", "text", environment={"FAKESCAN_LOG_FORMAT": "json"})
    assert done.stderr.startswith(b"fakescan: error: ")
    done = run("scan", "x", "-o", "y", environment={"FAKESCAN_LOG_FORMAT": "xml"})
    assert done.returncode == 2
    assert done.stderr.startswith(b"fakescan: error: ")
    assert b"FAKESCAN_LOG_FORMAT: 'xml' is not a format of logs; set it to text or json" in done.stderr


@pytest.mark.unit
def test_stdout_and_a_log_file(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a\nb.png").write_bytes(b"x")
    file = tmp_path / "log.jsonl"
    done = run("index", tmp_path / "images", "-o", tmp_path / "manifest", "--log-file", file, *JSON)
    assert done.stdout.startswith(b"1 images in")
    assert done.returncode == 0
    json_lines(done.stderr)
    lines = json_lines(file.read_bytes())
    assert any("indexed 1 images" in line["message"] for line in lines)


@pytest.mark.unit
def test_a_script_that_calls_the_command_line(tmp_path: Path) -> None:
    """As jobs/scan.py does: the interpreter goes on after the command."""
    program = (
        "import atexit, sys\n"
        "from fakescan.cli.main import main\n"
        "atexit.register(lambda: print('an exit handler', file=sys.stderr))\n"
        "main(['scan', '--nope', '--log-format', 'json'])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60)
    assert done.returncode == 2
    lines = json_lines(done.stderr)
    assert "No such option" in lines[0]["message"]
    assert lines[-1]["message"] == "an exit handler"


WORKERS = """
import logging, os, sys, warnings
from fakescan.cluster import connect
from fakescan.storage.url import redact_urls
from fakescan.terminal.json_logs.fields import log_fields, set_process_fields
from fakescan.terminal.json_logs.output import start
from fakescan.terminal.logs import log_session, show_logs

start(redact_urls)
set_process_fields(command="scan", run_id="r1")
with log_session():
    show_logs()
    connect(verbose=True, data=False)
    import ray

    class Actor:
        def work(self):
            with log_fields(shard=3, uri="s3://b/a\\nb.jpg"):
                logging.getLogger("fakescan.test").info("of %s", "a\\nb https://u:secret@h/x?sig=secret")
            logging.getLogger("library").warning("of a library")
            warnings.warn("old")
            print("printed on stdout"); print("printed on stderr", file=sys.stderr)
            os.write(2, b"written by C\\n")
            return os.environ["FAKESCAN_LOG_FORMAT"], os.environ.get("VLLM_LOGGING_CONFIG_PATH")

    print(ray.get(ray.remote(Actor).remote().work.remote()))
    try:
        ray.get(ray.remote(lambda: 1 / 0).remote())
    except ZeroDivisionError:
        pass
    ray.shutdown()
"""


@pytest.mark.cluster
def test_lines_of_ray_workers() -> None:
    done = subprocess.run([sys.executable, "-c", WORKERS], capture_output=True, timeout=120)
    assert done.stdout == b"('json', None)\n", done.stderr
    lines = {line["message"]: line for line in json_lines(done.stderr)}
    ours = lines["of a\nb https://h/x"]
    assert (ours["logger"], ours["level"], ours["shard"], ours["uri"]) == (
        "fakescan.test",
        "INFO",
        3,
        "s3://b/a\nb.jpg",
    )
    assert (ours["run_id"], ours["command"], ours["via"], ours["actor"]) == ("r1", "scan", "worker", "Actor")
    assert len(ours["node"]) == 56
    assert lines["of a library"]["level"] == "WARNING"
    assert any("old" in message and line["logger"] == "py.warnings" for message, line in lines.items())
    for text in ("printed on stdout", "printed on stderr", "written by C"):
        assert (lines[text]["logger"], lines[text]["pid"]) == ("ray.worker", ours["pid"])
    assert any("Started a local Ray instance" in message and line["logger"] == "ray._private.worker"
               for message, line in lines.items())  # fmt: skip


def scan(source: Path, output: Path, *more: object) -> list[object]:
    return ["scan", source, "-o", output, "--engine", "fake", *JSON, *more]


@pytest.mark.cluster
def test_a_scan(pictures: Path, tmp_path: Path) -> None:
    broken = tmp_path / "images"
    broken.mkdir()
    for number, path in enumerate(sorted(pictures.iterdir())[:6]):
        (broken / f"{number}{path.suffix}").write_bytes(path.read_bytes())
    (broken / 'a\n{"time"}.jpg').write_bytes(b"no image")
    done = run(*scan(broken, tmp_path / "run", "-v", "--json", "--max-error-rate", 0))
    assert done.returncode == 1, "one of seven images is an error, which is above --max-error-rate"
    lines = json_lines(done.stderr)
    assert done.stdout.count(b"\n") == 1
    end = lines[-1]
    assert "of the rows are errors" in end["message"]
    assert (end["level"], end["exit_status"]) == ("ERROR", 1)
    assert len(end["run_id"]) >= 8
    assert end["run"] == str(tmp_path / "run")
    assert all(line["command"] == "scan" for line in lines if line.get("via") != "worker")
    assert {"fakescan.progress", "fakescan"} <= {line["logger"] for line in lines}
    assert any(line.get("via") == "worker" or line["logger"].startswith("ray") for line in lines), "-v shows Ray's"
