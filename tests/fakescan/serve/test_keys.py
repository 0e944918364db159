"""API keys: found only when right and enabled, kept as hashes, edited safely while a server watches."""

import hashlib
import json
import logging
import os
import re
import stat
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakescan.serve.keys import Key, KeyEdit, KeyFile, KeyRing, WatchedKeys, edit_keys, read_keys, write_keys
from fakevlm.errors import UserError

pytestmark = pytest.mark.unit

ENTRY = {"id": "0a1b2c3d", "name": "shop", "sha256": "ab" * 32, "created_at": "2026-11-23T10:00:00Z"}


class Clock:
    """Seconds that pass when told to."""

    now = 50.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def add(path: Path, name: str, **limits: Any) -> str:
    with edit_keys(path, create=True) as edit:
        return edit.add(name, **limits)


def ring_of(*names: str) -> tuple[KeyRing, list[str]]:
    edit = KeyEdit(KeyFile())
    presented = [edit.add(name) for name in names]
    return KeyRing(KeyFile(keys=tuple(edit.keys))), presented


# Finding a key.


def test_a_key_is_found_by_what_its_owner_presents() -> None:
    ring, (first, second) = ring_of("shop", "press")
    assert re.fullmatch(r"fsk_[0-9a-f]{8}_[A-Za-z0-9_-]{43}", first)
    found = ring.find(first), ring.find(second)
    assert [key.name for key in found if key] == ["shop", "press"]
    assert len(ring) == 2


def test_secrets_with_underscores_are_found() -> None:
    presented = f"fsk_0a1b2c3d_{'_-' * 21}_"
    digest = hashlib.sha256(presented.removeprefix("fsk_0a1b2c3d_").encode()).hexdigest()
    key = Key.model_validate({**ENTRY, "sha256": digest})
    assert KeyRing(KeyFile(keys=(key,))).find(presented) == key


def test_wrong_keys_are_not_found() -> None:
    ring, (first, second) = ring_of("shop", "press")
    other = "A" if first[-1] != "A" else "B"
    for wrong in (
        first[:-1] + other,
        first[:13] + second[13:],  # the id of one, the secret of another
        f"fsk_00000000_{first[13:]}",
        first.upper(),
        first[:-1],
        first + "A",
        f" {first}",
        f"{first}\n",
        f"Bearer {first}",
        "",
        "fsk_",
        "fsk__",
        f"{first[:13]}{'0' * 64}",
    ):
        assert ring.find(wrong) is None, wrong


def test_a_disabled_key_is_not_found() -> None:
    edit = KeyEdit(KeyFile())
    presented = edit.add("shop")
    edit.disable("shop")
    assert KeyRing(KeyFile(keys=tuple(edit.keys))).find(presented) is None


@pytest.mark.parametrize(
    "text", ["x" * 10**7, "fsk_0a1b2c3d_" + "A" * 10**7, "\udcff" * 56, "\0", "fsk_é", "fsk_٣" * 9]
)
def test_nonsense_is_not_found_either(text: str) -> None:
    ring, _ = ring_of("shop")
    assert ring.find(text) is None


@given(st.text())
def test_no_text_raises(text: str) -> None:
    ring, _ = ring_of("shop")
    assert ring.find(text) is None
    assert ring.find(f"fsk_0a1b2c3d_{text}") is None


def test_a_key_ends_when_it_expires() -> None:
    now = datetime(2026, 11, 26, 12, tzinfo=UTC)
    edit = KeyEdit(KeyFile())
    presented = edit.add("shop", expires_at=datetime.now(UTC) + timedelta(days=1))
    edit.keys[0] = edit.keys[0].model_copy(update={"expires_at": now + timedelta(hours=1)})
    ring = KeyRing(KeyFile(keys=tuple(edit.keys)), clock=lambda: now)
    assert ring.find(presented)
    now += timedelta(minutes=59, seconds=59)
    assert ring.find(presented)
    now += timedelta(seconds=1)
    assert ring.find(presented) is None


def test_a_key_cannot_end_before_it_begins() -> None:
    edit = KeyEdit(KeyFile())
    with pytest.raises(UserError, match=r"^expires: .* is in the past"):
        edit.add("shop", expires_at=datetime(2026, 1, 1, tzinfo=UTC))
    assert not edit.keys


def test_a_rotated_key_has_two_secrets_for_a_while() -> None:
    now = datetime.now(UTC)
    edit = KeyEdit(KeyFile())
    first = edit.add("shop", per_minute=7)
    second = edit.rotate("shop", timedelta(days=7))
    assert first[:13] == second[:13]
    assert first != second

    def found(*presented: str) -> list[bool]:
        ring = KeyRing(KeyFile(keys=tuple(edit.keys)), clock=lambda: now)
        return [ring.find(text) is not None for text in presented]

    assert found(first, second) == [True, True]
    now += timedelta(days=7, seconds=2)
    assert found(first, second) == [False, True]
    now -= timedelta(days=3)
    third = edit.rotate(first[4:12], timedelta(days=7))
    assert found(first, second, third) == [False, True, True], "two at most"
    last = edit.rotate("shop", timedelta())
    assert found(second, third, last) == [False, False, True], "at once"
    assert edit.keys[0].per_minute == 7
    edit.disable("shop")
    assert found(last) == [False]


def test_a_key_that_is_refused_is_not_rotated() -> None:
    edit = KeyEdit(KeyFile())
    edit.add("off")
    edit.add("late")
    edit.disable("off")
    edit.keys[1] = edit.keys[1].model_copy(update={"expires_at": datetime.now(UTC) - timedelta(days=1)})
    before = list(edit.keys)
    for name, state in (("off", "is disabled"), ("late", "has expired")):
        with pytest.raises(UserError, match=f"key: {name} {state}"):
            edit.rotate(name, timedelta(days=7))
    assert edit.keys == before


def test_a_missing_folder_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a folder; make it first"):
        add(tmp_path / "typo" / "keys.json", "shop")
    assert list(tmp_path.iterdir()) == []


def test_an_old_secret_without_an_end_is_damage(path: Path) -> None:
    path.write_text(json.dumps({"version": 1, "keys": [{**ENTRY, "old_sha256": "ab" * 32}]}))
    with pytest.raises(UserError, match="old_sha256 and old_until belong together"):
        read_keys(path)


# The file.


def test_the_file_holds_hashes_for_its_owner_only(path: Path) -> None:
    presented = add(path, "shop", per_minute=600, burst=60, scopes=("scans", "detect", "scans"))
    text = path.read_text()
    assert presented[13:] not in text
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    written = json.loads(text)
    (entry,) = written["keys"]
    assert written["version"] == 1
    assert entry.pop("created_at").endswith("Z")
    assert entry == {
        "id": presented[4:12],
        "name": "shop",
        "sha256": hashlib.sha256(presented[13:].encode()).hexdigest(),
        "per_minute": 600,
        "burst": 60,
        "scopes": ["scans", "detect"],
        "disabled": False,
    }


def test_what_is_written_is_read(path: Path) -> None:
    presented = [add(path, "shop"), add(path, "press", per_minute=5)]
    file = read_keys(path)
    assert [key.name for key in file.keys] == ["shop", "press"]
    assert all(KeyRing(file).find(text) for text in presented)
    write_keys(path, file)
    assert read_keys(path) == file


def test_a_file_that_a_server_may_read_stays_so(path: Path) -> None:
    add(path, "shop")
    path.chmod(0o640)
    add(path, "press")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_link_to_the_file_stays_one(path: Path, tmp_path: Path) -> None:
    add(path, "shop")
    link = tmp_path / "link.json"
    link.symlink_to(path)
    add(link, "press")
    assert link.is_symlink()
    assert [key.name for key in read_keys(path).keys] == ["shop", "press"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "does not exist; create one with fakescan keys add NAME --file"),
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", "is not a file of keys"),
        (b'{"keys": []}', "is not a file of keys"),
        (b'{"version": 2, "keys": []}', "has version 2, not 1"),
        (json.dumps({"version": 1, "keys": [{**ENTRY, "secret": "s"}]}).encode(), "keys.0.secret"),
        (json.dumps({"version": 1, "keys": [{**ENTRY, "sha256": "s"}]}).encode(), "keys.0.sha256"),
        (json.dumps({"version": 1, "keys": [{**ENTRY, "burst": 0}]}).encode(), "keys.0.burst"),
        (json.dumps({"version": 1, "keys": [{**ENTRY, "per_minute": 10**400}]}).encode(), "keys.0.per_minute"),
        (json.dumps({"version": 1, "keys": [{**ENTRY, "scopes": ["all"]}]}).encode(), "keys.0.scopes.0"),
        (json.dumps({"version": 1, "keys": [ENTRY, ENTRY]}).encode(), "two keys have the id 0a1b2c3d"),
        (json.dumps({"version": 1, "keys": [ENTRY, {**ENTRY, "id": "00000000"}]}).encode(), "the name shop"),
    ],
)
def test_a_bad_file_is_one_line(content: bytes | None, words: str, path: Path) -> None:
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError) as error:
        read_keys(path)
    message = str(error.value)
    assert message.startswith(f"keys: {path}")
    assert words in message
    assert "\n" not in message


def test_a_secret_in_the_wrong_place_is_not_shown(path: Path) -> None:
    path.write_text(json.dumps({"version": 1, "keys": [{**ENTRY, "sha256": "fsk_secret"}]}))
    with pytest.raises(UserError) as error:
        read_keys(path)
    assert "fsk_secret" not in str(error.value)


def test_a_folder_in_its_place_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"keys: cannot read .*: Is a directory"):
        read_keys(tmp_path)
    with pytest.raises(UserError, match="keys: cannot write"):
        write_keys(tmp_path, KeyFile())
    assert list(tmp_path.parent.glob(".*.tmp")) == []


# Editing.


@pytest.mark.parametrize("name", ["", "a b", "-a", "é", "a/b", "a\n", "a" * 65, "0a1b2c3d", "shop"])
def test_names_are_plain_and_unique(name: str) -> None:
    edit = KeyEdit(KeyFile())
    edit.add("shop")
    with pytest.raises(UserError, match=r"^name: "):
        edit.add(name)
    assert len(edit.keys) == 1


@pytest.mark.parametrize(
    "limits", [{"per_minute": 0}, {"burst": -1}, {"per_minute": 10**12}, {"scopes": ("all",)}, {"scopes": ()}]
)
def test_wrong_limits_are_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=f"^{next(iter(limits))}"):
        KeyEdit(KeyFile()).add("shop", **limits)


def test_keys_are_disabled_and_removed_by_name_or_id(path: Path) -> None:
    presented = {name: add(path, name) for name in ("shop", "press", "lab")}
    with edit_keys(path) as edit:
        assert edit.disable("shop").disabled
        assert edit.disable(presented["press"][4:12]).name == "press"
        assert edit.remove("lab").name == "lab"
    assert [(key.name, key.disabled) for key in read_keys(path).keys] == [("shop", True), ("press", True)]
    with (
        pytest.raises(UserError, match="there is no 'lab' in the file; it has shop, press"),
        edit_keys(path) as edit,
    ):
        edit.remove("lab")


def test_of_many_keys_the_first_are_named_and_the_others_counted(path: Path) -> None:
    for number in range(13):
        add(path, f"k{number}")
    with pytest.raises(UserError, match=r"it has k0, k1, .*, k9 and 3 more$"), edit_keys(path) as edit:
        edit.remove("lab")


def test_an_edit_that_fails_changes_nothing(path: Path) -> None:
    add(path, "shop")
    before = path.read_bytes()

    def edit_twice() -> None:
        with edit_keys(path) as edit:
            edit.remove("shop")
            edit.remove("shop")

    with pytest.raises(UserError, match="there is no 'shop' in the file; it has none"):
        edit_twice()
    assert path.read_bytes() == before


def test_a_mistyped_path_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"), edit_keys(tmp_path / "other" / "keys.json") as edit:
        edit.disable("shop")
    assert list(tmp_path.iterdir()) == []


def test_writers_at_once_lose_nothing(path: Path) -> None:
    # Every edit opens the lock for itself, so that threads exclude each other as processes do.
    names = [f"client-{number}" for number in range(24)]
    threads = [threading.Thread(target=add, args=(path, name)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(key.name for key in read_keys(path).keys) == sorted(names)
    assert sorted(file.name for file in path.parent.iterdir()) == ["keys.json", "keys.json.lock"]


# Watching.


def test_changes_are_noticed_within_a_second(path: Path) -> None:
    first = add(path, "shop")
    clock = Clock()
    watched = WatchedKeys(path, clock=clock)
    assert watched.ring().find(first)
    second = add(path, "press")
    clock.now += 0.9
    assert watched.ring().find(second) is None, "not looked at yet"
    clock.now += 0.2
    assert watched.ring().find(second)
    with edit_keys(path) as edit:
        edit.disable("shop")
    clock.now += 1.0
    assert watched.ring().find(first) is None
    assert watched.ring().find(second)


def test_a_file_that_did_not_change_is_not_read_again(path: Path) -> None:
    add(path, "shop")
    clock = Clock()
    watched = WatchedKeys(path, clock=clock)
    ring = watched.ring()
    clock.now += 10
    assert watched.ring() is ring


def test_a_server_does_not_start_without_keys(path: Path) -> None:
    with pytest.raises(UserError, match="fakescan keys add"):
        WatchedKeys(path)


def test_damage_keeps_the_keys_and_is_said_once(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    presented = add(path, "shop")
    clock = Clock()
    watched = WatchedKeys(path, clock=clock)
    sound = path.read_bytes()
    with caplog.at_level(logging.WARNING):
        path.write_text("{")
        for _ in range(3):
            clock.now += 1
            assert watched.ring().find(presented)
        assert len(caplog.records) == 1
        assert "is not JSON" in caplog.text
        assert "the 1 keys read before stay valid" in caplog.text
        path.unlink()
        for _ in range(3):
            clock.now += 1
            assert watched.ring().find(presented)
        assert len(caplog.records) == 2
        assert "does not exist" in caplog.records[1].getMessage()
        path.write_bytes(sound)
        with edit_keys(path) as edit:
            edit.disable("shop")
        clock.now += 1
        assert watched.ring().find(presented) is None
        assert len(caplog.records) == 2


def test_the_same_file_is_read_again_after_it_was_away(path: Path, tmp_path: Path) -> None:
    presented = add(path, "shop")
    clock = Clock()
    watched = WatchedKeys(path, clock=clock)
    os.rename(path, tmp_path / "away")
    clock.now += 1
    watched.ring()
    os.rename(tmp_path / "away", path)
    clock.now += 1
    assert watched.ring().find(presented)
    other = add(path, "press")
    clock.now += 1
    assert watched.ring().find(other)
