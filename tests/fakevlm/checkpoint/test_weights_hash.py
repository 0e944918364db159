"""The hash of the weights: once per node, never a wrong one."""

import hashlib
import multiprocessing
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from fakevlm.checkpoint import weights_hash
from fakevlm.checkpoint.layout import read_weights
from fakevlm.checkpoint.progress import Step
from fakevlm.checkpoint.weights_hash import files_sha256, weights_sha256

pytestmark = pytest.mark.unit

WEIGHTS = "model.safetensors"


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


def sha256(model: Path) -> str:
    return hashlib.sha256((model / WEIGHTS).read_bytes()).hexdigest()


def flip(file: Path) -> None:
    """Changes a byte in place and takes the file's size and time back to what they were."""
    before = file.stat()
    with file.open("r+b") as opened:
        opened.seek(-1, os.SEEK_END)
        last = opened.read(1)[0]
        opened.seek(-1, os.SEEK_END)
        opened.write(bytes([last ^ 1]))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_weights_changed_under_the_same_size_and_time_are_read_again(model: Path, tmp_path: Path) -> None:
    before = weights_sha256(read_weights(model), tmp_path / "cache")
    assert before == sha256(model)
    for _ in range(3):
        flip(model / WEIGHTS)
        assert weights_sha256(read_weights(model), tmp_path / "cache") == sha256(model)


def test_other_weights_moved_to_the_same_place_are_read_again(model: Path, tmp_path: Path) -> None:
    weights_sha256(read_weights(model), tmp_path / "cache")
    other = tmp_path / "other.safetensors"
    shutil.copy2(model / WEIGHTS, other)
    flip(other)
    other.replace(model / WEIGHTS)
    assert weights_sha256(read_weights(model), tmp_path / "cache") == sha256(model)


def test_settled_weights_are_read_once(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights_hash, "_SETTLED_NS", 0)
    heard: list[Step] = []
    first = weights_sha256(read_weights(model), tmp_path / "cache", report=heard.append)
    assert heard[0].what == "hashing the model"
    assert heard[0].total == (model / WEIGHTS).stat().st_size
    heard.clear()
    assert weights_sha256(read_weights(model), tmp_path / "cache", report=heard.append) == first
    assert heard == []


@pytest.mark.parametrize("content", ["", "0123", "x" * 64, "\ufffd"])
def test_a_damaged_memory_is_not_believed(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    monkeypatch.setattr(weights_hash, "_SETTLED_NS", 0)
    weights_sha256(read_weights(model), tmp_path / "cache")
    (memory,) = (tmp_path / "cache" / "sha256").iterdir()
    memory.write_text(content, encoding="utf-8")
    assert weights_sha256(read_weights(model), tmp_path / "cache") == sha256(model)


def test_weights_that_cannot_be_read_are_what_is_named(model: Path, tmp_path: Path) -> None:
    weights = read_weights(model)
    (model / WEIGHTS).unlink()
    (model / WEIGHTS).mkdir()
    with pytest.raises(ValueError, match=rf"{WEIGHTS} cannot be read"):
        weights_sha256(weights, tmp_path / "cache")


def _hash_and_wait(model: Path, cache: Path, began: Any, go_on: Any, found: Any) -> None:
    """Hashes; `began` tells of every step, and the reading goes on when it may."""

    def report(step: Step) -> None:
        began.put((os.getpid(), step.what))
        if step.what == "hashing the model":
            go_on.wait(30)

    found.put(weights_sha256(read_weights(model), cache, report=report))


@pytest.mark.parametrize("dies", [False, True])
def test_of_two_processes_one_reads_and_the_other_waits_for_it_or_for_its_death(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies: bool
) -> None:
    monkeypatch.setattr(weights_hash, "_SETTLED_NS", 0)
    process = multiprocessing.get_context("fork")
    began, found, held, free = process.Queue(), process.Queue(), process.Event(), process.Event()
    free.set()
    arguments = (model, tmp_path / "cache", began)
    first = process.Process(target=_hash_and_wait, args=(*arguments, held, found), daemon=True)
    second = process.Process(target=_hash_and_wait, args=(*arguments, free, found), daemon=True)
    first.start()
    assert began.get(timeout=10) == (first.pid, "hashing the model")
    second.start()
    assert began.get(timeout=10) == (second.pid, "waiting for another process that hashes the model")
    if dies:
        assert first.pid is not None
        os.kill(first.pid, signal.SIGKILL)
        assert began.get(timeout=10) == (second.pid, "hashing the model")
    else:
        held.set()
        assert found.get(timeout=10) == sha256(model)
    assert found.get(timeout=10) == sha256(model)
    for one in (first, second):
        one.join(10)


def test_what_else_changes_the_words_is_hashed_too(model: Path) -> None:
    before = files_sha256(model)
    (model / "README.md").write_text("other words")
    (model / "metrics.json").write_text("{}")
    assert files_sha256(model) == before
    for name in ("tokenizer.json", "config.json", "preprocessor_config.json"):
        (model / name).write_text((model / name).read_text() + "\n")
        after = files_sha256(model)
        assert after != before
        before = after
