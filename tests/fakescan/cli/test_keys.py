"""`fakescan keys` as a person uses it: the key once, a table, and one line for bad use."""

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from fakescan.cli.main import main
from fakescan.serve.keys import KeyRing, read_keys

pytestmark = pytest.mark.unit


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def run(capfd: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Status, standard output, standard error."""
    with pytest.raises(SystemExit) as exit:
        main(["keys", *map(str, arguments)])
    out, err = capfd.readouterr()
    assert isinstance(exit.value.code, int)
    return exit.value.code, out, err


def test_a_key_is_shown_once_and_opens(file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capfd, "add", "shop", "--file", file)
    assert status == 0
    assert err == f"shown only this once, store it: {file} holds a hash of it\n"
    key = KeyRing(read_keys(file)).find(out.removesuffix("\n"))
    assert key is not None
    assert (key.name, key.per_minute, key.burst, key.scopes) == ("shop", None, None, ("detect",))


def test_limits_and_scopes_are_kept(file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    limits = ["--per-minute", 1200, "--burst", 90, "--scope", "scans", "--scope", "detect"]
    status, out, _ = run(capfd, "add", "shop", "--file", file, *limits)
    assert status == 0
    key = KeyRing(read_keys(file)).find(out.strip())
    assert key is not None
    assert (key.per_minute, key.burst, key.scopes) == (1200, 90, ("scans", "detect"))


def test_the_list_shows_all_but_secrets(file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    shown = [
        run(capfd, "add", "shop", "--file", file)[1],
        run(capfd, "add", "press", "--file", file, "--per-minute", 1200, "--burst", 90, "--scope", "scans")[1],
    ]
    assert run(capfd, "disable", "press", "--file", file) == (0, f"press ({shown[1][4:12]}) is disabled\n", "")
    status, out, err = run(capfd, "list", "--file", file)
    assert (status, err) == (0, "")
    today = f"{read_keys(file).keys[0].created_at:%Y-%m-%d}"
    heading, first, second = [line.split() for line in out.splitlines()]
    assert heading == ["id", "name", "limit", "scopes", "created", "ends", "state"]
    assert first[:5] == [shown[0][4:12], "shop", "default", "detect", today]
    assert second[:7] == [shown[1][4:12], "press", "1,200/min,", "burst", "90", "scans", today]
    assert (first[-2:], second[-2:]) == (["never", "valid"], ["never", "disabled"])
    assert not any(text[13:].strip() in out for text in shown)


def test_a_key_ends_and_is_rotated(file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    old = run(capfd, "add", "shop", "--file", file, "--expires", "90d", "--scope", "metrics")[1].strip()
    status, out, err = run(capfd, "rotate", "shop", "--file", file, "--grace", "12h")
    assert (status, err) == (0, "shown only this once, store it; the old secret works for 12h more\n")
    ring = KeyRing(read_keys(file))
    found = ring.find(out.strip())
    assert found is not None
    assert found == ring.find(old)
    assert found.scopes == ("metrics",)
    assert found.expires_at is not None
    assert found.old_until is not None
    assert found.expires_at - found.created_at == timedelta(days=90)
    listed = run(capfd, "list", "--file", file)[1]
    assert f"{found.expires_at:%Y-%m-%d %H:%M}" in listed
    assert f"old secret until {found.old_until:%Y-%m-%d %H:%M}" in listed
    run(capfd, "add", "lab", "--file", file, "--expires", "2999-03-31")
    assert f"{read_keys(file).keys[1].expires_at:%Y-%m-%dT%H:%M%z}" == "2999-03-31T00:00+0000"
    run(capfd, "rotate", "shop", "--file", file, "--grace", "0")
    assert KeyRing(read_keys(file)).find(out.strip()) is None


def test_a_removed_key_frees_its_name(file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    old = run(capfd, "add", "shop", "--file", file)[1].strip()
    assert run(capfd, "remove", old[4:12], "--file", file) == (0, f"shop ({old[4:12]}) is removed\n", "")
    new = run(capfd, "add", "shop", "--file", file)[1].strip()
    ring = KeyRing(read_keys(file))
    assert ring.find(old) is None
    assert ring.find(new)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["add", "shop", "--file", "FILE"], "name: there is a key shop already; use another name"),
        (["add", "a b", "--file", "FILE"], "name: use 1 to 64 letters, digits"),
        (["add", "0a1b2c3d", "--file", "FILE"], "name: 8 hex digits look like the id of a key; use another name"),
        (["add", "lab", "--file", "FILE", "--per-minute", "0"], "per_minute: "),
        (["add", "lab", "--file", "FILE", "--burst", "x"], "--burst"),
        (["add", "lab", "--file", "FILE", "--scope", "all"], "'all' is not one of 'detect', 'scans', 'metrics'"),
        (["add", "lab"], "--file"),
        (["add", "lab", "--file", "FILE", "--expires", "soon"], "--expires: 'soon' is no date; use one such as"),
        (["add", "lab", "--file", "FILE", "--expires", "2020-01-01"], "expires: 2020-01-01 00:00 is in the past"),
        (["rotate", "shop", "--file", "FILE", "--grace", "7"], "--grace: '7' is no time; use days or hours"),
        (["rotate", "lab", "--file", "FILE"], "key: there is no 'lab' in the file; it has shop"),
        (["add", "lab", "--file", "FILE/keys.json"], "keys: cannot write FILE/keys.json: "),
        (["list", "--file", "NONE"], "keys: NONE does not exist; create one with fakescan keys add NAME --file NONE"),
        (["disable", "lab", "--file", "FILE"], "key: there is no 'lab' in the file; it has shop"),
        (["remove", "lab", "--file", "NONE"], "NONE does not exist"),
        (["add", "lab", "--file", "NONE/keys.json"], "NONE is not a folder; make it first"),
    ],
)
def test_bad_use_is_one_line(
    arguments: list[str], words: str, file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run(capfd, "add", "shop", "--file", file)
    before = file.read_bytes()

    def real(text: str) -> str:
        return text.replace("FILE", str(file)).replace("NONE", str(tmp_path / "none"))

    status, out, err = run(capfd, *map(real, arguments))
    assert (status, out) == (2, "")
    assert err.startswith("fakescan: error: ")
    assert err.count("\n") == 1
    assert real(words) in err
    assert file.read_bytes() == before


def test_the_commands_start_light() -> None:
    code = (
        "import sys, fakescan.cli.keys\n"
        "print(sorted({'asyncio', 'ssl', 'numpy', 'ray', 'pydantic', 'fakescan.serve'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr


def test_the_help_says_whole_sentences(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert "..." not in run(capfd, "--help")[1].partition("Commands:")[2]
