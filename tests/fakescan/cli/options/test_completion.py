"""Completion in shells: commands, options, words and names of files, asked for as the shells' scripts do."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

SCRIPT = str(Path(sys.executable).with_name("fakescan"))


def completed(*words: str, shell: str = "bash") -> list[str]:
    """What the program proposes after these words, of which the last is incomplete."""
    asked = {
        "_FAKESCAN_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": " ".join(["fakescan", *words]),
        "COMP_CWORD": words[-1] if shell == "fish" else str(len(words)),
    }
    done = subprocess.run([SCRIPT], env={**os.environ, **asked}, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_commands() -> None:
    assert completed("s") == ["plain,scan", "plain,serve", "plain,summary"]
    assert completed("data", "s") == ["plain,split", "plain,stats"]


def test_options_that_are_made_from_settings() -> None:
    assert "plain,--threshold" in completed("scan", "--t")
    assert "plain,--input-endpoint" in completed("scan", "--input-")
    assert "plain,--log-file" in completed("scan", "x", "--l")


def test_words_and_files() -> None:
    assert completed("scan", "--explain", "") == ["plain,fakes", "plain,all", "plain,none"]
    assert completed("evaluate", "--benchmark", "d") == ["plain,dd-vqa"]
    assert completed("scan", "--config", "x") == ["file,x"]
    assert completed("scan", "--output", "x") == ["dir,x"]
    assert completed("scan", "x") == ["file,x"]
    assert completed("verify", "x") == ["dir,x"]


def test_nothing_is_done_while_completing(tmp_path: Path) -> None:
    file = tmp_path / "log"
    assert completed("scan", "--log-file", str(file), "--exp") == ["plain,--explain"]
    assert not file.exists()


def test_zsh_and_fish() -> None:
    assert completed("c", shell="zsh")[::3] == ["plain", "plain", "plain"]
    assert completed("c", shell="zsh")[1::3] == ["calibrate", "check", "compact"]
    assert [line.partition("\t")[0] for line in completed("c", shell="fish")] == [
        "plain,calibrate",
        "plain,check",
        "plain,compact",
    ]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_scripts(shell: str) -> None:
    done = subprocess.run(
        [SCRIPT],
        env={**os.environ, "_FAKESCAN_COMPLETE": f"{shell}_source"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0
    assert f"_FAKESCAN_COMPLETE={shell}_complete" in done.stdout
    if shutil.which(shell):
        checked = subprocess.run([shell, "-n"], input=done.stdout, capture_output=True, text=True, timeout=60)
        assert (checked.returncode, checked.stderr) == (0, "")


def test_in_bash_itself() -> None:
    code = (
        'eval "$(_FAKESCAN_COMPLETE=bash_source fakescan)"\n'
        "COMP_WORDS=(fakescan scan --repl) COMP_CWORD=2\n"
        "_fakescan_completion fakescan\n"
        'echo "${COMPREPLY[@]}"'
    )
    path = f"{Path(SCRIPT).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "--norc", "-c", code], env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=120
    )
    assert (done.stdout.strip(), done.stderr) == ("--replicas", "")
