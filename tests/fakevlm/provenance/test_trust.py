"""Trust lists as files: what is one, where it is from, how old it is."""

import json
import os
import pickle
from datetime import date
from pathlib import Path

import pytest

from fakevlm.errors import UserError
from fakevlm.provenance import TrustLists
from fakevlm.provenance.trust import CACHE_NAME, RECORD_NAME
from tests.signed_files import Authority

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def pems() -> list[str]:
    return [Authority.make(name).pem for name in ("One", "Two")]


def test_a_file_and_a_folder_of_them(tmp_path: Path, pems: list[str]) -> None:
    (tmp_path / "a.pem").write_text("O=One\n" + pems[0] + pems[0])
    (tmp_path / "b.pem").write_text(pems[1])
    (tmp_path / "c.txt").write_text("no list")
    os.utime(tmp_path / "a.pem", (0, 1785900000))
    single, both = TrustLists.from_path(tmp_path / "a.pem"), TrustLists.from_path(tmp_path)
    assert (single.certificates, both.certificates) == (1, 2)
    assert single.facts() == {"source": str(tmp_path / "a.pem"), "dated": "2026-08-05", "sha256": single.sha256}
    assert single.sha256 != both.sha256
    assert pickle.loads(pickle.dumps(both)) == both
    assert TrustLists.from_path(str(tmp_path / "a.pem")) == single


def test_what_is_no_list_is_said_in_a_line(tmp_path: Path, pems: list[str]) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "words.pem").write_bytes(b"\xff\xfe words")
    (tmp_path / "cut.pem").write_text(pems[0][:-30])
    (tmp_path / "huge.pem").write_bytes(bytes(9 << 20))
    for name, said in (
        ("empty", r"no \*.pem files"),
        ("words.pem", "not a PEM file"),
        ("cut.pem", "not a PEM file"),
        ("huge.pem", "no trust list"),
        ("gone.pem", "No such file"),
    ):
        with pytest.raises(UserError, match=said) as raised:
            TrustLists.from_path(tmp_path / name)
        assert "\n" not in str(raised.value)
        assert name in str(raised.value)


def test_the_newest_of_a_cache(tmp_path: Path, pems: list[str]) -> None:
    assert TrustLists.newest(tmp_path) is None
    folder = tmp_path / CACHE_NAME
    folder.mkdir()
    assert TrustLists.newest(tmp_path) is None  # an update that was ended in between
    (folder / "lists.pem").write_text(pems[0])
    for record in ("", "[]", "{}", '{"source": "x", "dated": "yesterday"}'):
        (folder / RECORD_NAME).write_text(record)
        found = TrustLists.newest(tmp_path)
        assert found is not None
        assert found.source == str(folder)
    (folder / RECORD_NAME).write_text(json.dumps({"source": "https://example.org/a.pem", "dated": "2026-08-05"}))
    found = TrustLists.newest(tmp_path)
    assert found is not None
    assert (found.source, found.dated) == ("https://example.org/a.pem", "2026-08-05")
    assert found.warning(date(2026, 10, 1)) is None
    assert "180 days old" in (found.warning(date(2027, 2, 1)) or "")
    (folder / "lists.pem").write_text("damaged")
    with pytest.raises(UserError, match="update-trust"):
        TrustLists.newest(tmp_path)
