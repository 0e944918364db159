"""What a user reads who resumes an output with other settings than it was started with."""

from pathlib import Path
from typing import Any

import fsspec
import pytest

from fakescan.storage.bound_settings import changes, put_settings, read_settings, refuse_changes
from fakevlm.errors import UserError

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("before", "now", "lines"),
    [
        ({"edge": 48, "seed": 0}, {"edge": 48, "seed": 0}, []),
        ({"edge": 48, "seed": 0}, {"edge": 64, "seed": 1}, ["edge was 48, now 64", "seed was 0, now 1"]),
        ({"llm": {"mode": "full"}}, {"llm": {"mode": "lora"}}, ["llm.mode was full, now lora"]),
        ({"families": ["a", "b"]}, {"families": ["b"]}, ["families was a,b, now b"]),
        ({}, {"limit": 5}, ["limit was not set, now 5"]),
        ({"sha": "a" * 64}, {"sha": "b" * 64}, [f"sha was {'a' * 12}…, now {'b' * 12}…"]),
        (
            {"data": "s3://bucket/" + "x" * 60 + "/one"},
            {"data": "s3://bucket/" + "x" * 60 + "/two"},
            ["data was …xxxxxxx/one, now …xxxxxxx/two"],
        ),
        ({"data": "https://user:secret@h/a"}, {"data": "https://h/b?token=secret"}, ["data was https://h/a, now https://h/b"]),
    ],
)  # fmt: skip
def test_changes_are_named_with_both_values(before: dict[str, Any], now: dict[str, Any], lines: list[str]) -> None:
    assert changes(before, now) == lines


def test_a_change_is_refused_in_one_line() -> None:
    refuse_changes("output", "s3://b/set", [], "--output")
    with pytest.raises(UserError) as caught:
        refuse_changes("output", "s3://b/set", ["edge was 48, now 64", "seed was 0, now 1"], "--output")
    assert str(caught.value) == (
        "output: s3://b/set was started with different settings (edge was 48, now 64; seed was 0, now 1); "
        "use another --output, or the earlier settings"
    )


def test_settings_are_read_as_they_were_written(tmp_path: Path) -> None:
    fs, file = fsspec.filesystem("file"), tmp_path / "new" / "settings.json"
    assert read_settings(fs, str(file), "name", "name") is None
    put_settings(fs, str(file), {"lr": 1e-5, "llm": {"mode": "full"}})
    assert read_settings(fs, str(file), "name", "name") == {"lr": 1e-5, "llm": {"mode": "full"}}


@pytest.mark.parametrize("content", ["", "{", "[1]"])
def test_a_damaged_file_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "settings.json"
    file.write_text(content)
    with pytest.raises(UserError, match=r"^name: .*settings.json is damaged; use another name$"):
        read_settings(fsspec.filesystem("file"), str(file), "name", "name")
