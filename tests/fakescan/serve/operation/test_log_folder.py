"""Folders of logs are tried before the server starts."""

from pathlib import Path

import pytest

from fakescan.serve.operation.log_folder import folder_fault

pytestmark = pytest.mark.unit


def test_a_folder_is_made_and_left_empty(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    assert folder_fault(str(folder)) is None
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("place", ["FILE", "FILE/below", "/proc/nix", "a\0b"])
def test_what_cannot_be_a_folder_has_a_reason(tmp_path: Path, place: str) -> None:
    file = tmp_path / "file"
    file.touch()
    fault = folder_fault(place.replace("FILE", str(file)))
    assert fault
    assert "\n" not in fault
