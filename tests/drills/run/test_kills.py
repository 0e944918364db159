"""kill -9 and Ctrl-C of compact and verify at random moments: the same call ends with what an undisturbed one makes."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fakescan.run.folder import RunFolder
from fakescan.storage.store import Store
from tests.fakescan.run.conftest import make_run

pytestmark = [pytest.mark.unit, pytest.mark.timeout(600)]

ROUNDS = int(os.environ.get("ROUNDS", "6"))
SCRIPT = """
import sys
from fakescan.run import compact
compact.ROWS_PER_FILE = 1500
compact.compact.__kwdefaults__["rows_per_file"] = 1500
from fakescan.cli.main import main
main(sys.argv[1:])
"""
"""The command line, with merged files so small that there are many."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run of 1,000 parts."""
    folder = RunFolder(str(tmp_path_factory.mktemp("kills") / "run"), Store())
    make_run(folder, rows=15_000, shard_rows=15)
    return folder


@pytest.fixture
def chance() -> random.Random:
    seed = int(os.environ.get("SEED", random.randrange(2**32)))
    print(f"SEED={seed}")
    return random.Random(seed)


def started(*arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", SCRIPT, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(*arguments: str) -> tuple[float, str]:
    """Seconds that an undisturbed call takes, and what it prints."""
    begun = time.monotonic()
    process = started(*arguments)
    out, err = process.communicate()
    assert process.returncode == 0, err
    return time.monotonic() - begun, out


def merged(folder: RunFolder) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes() for path in Path(folder.path, "compact").iterdir() if not path.name.startswith(".")
    }


def disturb(process: "subprocess.Popen[str]", kind: signal.Signals) -> None:
    """Send the signal, and hold what a stopped command must keep to."""
    process.send_signal(kind)
    _, err = process.communicate()
    if kind is signal.SIGINT and process.returncode not in (0, -signal.SIGINT):
        # -SIGINT: before Python had come to the program
        assert process.returncode == 130, err
        assert len(err.split("\n")) == 3, err  # click ends the line with the ^C first
        assert "run the same command again to resume" in err


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGINT], ids=["killed", "interrupted"])
def test_compact_ends_with_the_same_bytes(folder: RunFolder, chance: random.Random, kind: signal.Signals) -> None:
    shutil.rmtree(Path(folder.path, "compact"), ignore_errors=True)
    seconds, out = ended("compact", folder.url)
    expected = merged(folder)
    assert len(expected) == 11
    for _ in range(ROUNDS):
        shutil.rmtree(Path(folder.path, "compact"))
        for _ in range(chance.randrange(1, 4)):
            process = started("compact", folder.url)
            time.sleep(chance.uniform(0.3, 1.0) * seconds)
            disturb(process, kind)
        assert ended("compact", folder.url)[1] == out
        assert merged(folder) == expected


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGINT], ids=["killed", "interrupted"])
def test_verify_says_the_same(folder: RunFolder, chance: random.Random, kind: signal.Signals) -> None:
    shutil.rmtree(Path(folder.path, "compact"), ignore_errors=True)
    seconds, out = ended("verify", folder.url)
    continued = 0
    for number in range(ROUNDS):
        for _ in range(chance.randrange(1, 4)):
            process = started("verify", folder.url)
            time.sleep(chance.uniform(0.3, 1.0) * seconds)
            disturb(process, kind)
        path = Path(folder.part(chance.randrange(1000)))
        data = path.read_bytes()
        if number % 2:
            place = chance.randrange(len(data))
            path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
            process = started("verify", folder.url)
            found, _ = process.communicate()
            assert process.returncode == 1
            assert path.name in found
            path.write_bytes(data)
        else:
            again = ended("verify", folder.url)[1]
            continued += "interrupted call" in again
            assert [line for line in again.splitlines() if "interrupted call" not in line] == out.splitlines()
    if kind is signal.SIGINT:
        assert continued, "in no round did a call go on where one had been stopped"
