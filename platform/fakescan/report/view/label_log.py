"""Labels that are given in the page: one file of a session in RUN/labels, written whole after each."""

import secrets
import threading
from collections.abc import Iterable
from datetime import UTC, datetime

from fakescan.review.labels import Label, Labels, read_labels
from fakescan.run.folder import RunFolder
from fakescan.storage.objects import list_names, put_atomic

FOLDER = "labels"


class LabelLog:
    """All labels of a run; those of this session can be taken back. For several threads."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._name = f"view-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}.jsonl"
        self._own: list[Label] = []
        self._before = self._read()

    def _read(self) -> list[Label]:
        path = f"{self._folder.path}/{FOLDER}"
        if not any(name.endswith(".jsonl") for name, _ in list_names(self._folder.fs, path)):
            return []
        found: Labels = read_labels([f"{self._folder.url}/{FOLDER}"], self._folder.store)
        first = [label for image in found.of_image.values() for label in image.by_reviewer.values()]
        return [*first, *found.second_looks.values()]

    def labels(self) -> dict[str, list[Label]]:
        """By the image's hash, the last word of each reviewer, of the first look and of the second."""
        with self._lock:
            return _by_image([*self._before, *self._own])

    def add(self, label: Label) -> Label:
        """Write a label down; returns it with its time."""
        timed = label.model_copy(update={"at": datetime.now(UTC)})
        with self._lock:
            self._own.append(timed)
            self._write()
        return timed

    def take_back(self, sha256: str, reviewer: str) -> bool:
        """Forget what a reviewer said last of an image in this session; False where that is nothing."""
        with self._lock:
            for place in reversed(range(len(self._own))):
                if (self._own[place].sha256, self._own[place].reviewer) == (sha256, reviewer):
                    del self._own[place]
                    self._write()
                    return True
        return False

    def _write(self) -> None:
        lines = [label.model_dump_json(exclude_none=True) for label in self._own]
        path = f"{self._folder.path}/{FOLDER}/{self._name}"
        if not lines:
            self._folder.fs.rm_file(path)
            return
        put_atomic(self._folder.fs, path, "".join(f"{line}\n" for line in lines).encode())


def _by_image(labels: Iterable[Label]) -> dict[str, list[Label]]:
    found: dict[str, dict[tuple[str, bool], Label]] = {}
    for label in labels:
        found.setdefault(label.sha256, {})[label.reviewer, bool(label.second_look)] = label
    return {sha256: list(by_look.values()) for sha256, by_look in found.items()}
