"""A model's place in the hub's own cache on this node, which has the layout that huggingface_hub documents."""

import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fakevlm.checkpoint.cache import locked
from fakevlm.errors import UserError, one_line

logger = logging.getLogger(__name__)

COMMIT = re.compile(r"[0-9a-f]{40}")
"""A commit of the hub, which is also Git's hash of a small file."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_BLOCK = 2**20


class HubCache:
    """The files of one model, their snapshots by commit, and the locks of those who fill it."""

    def __init__(self, name: str) -> None:
        from huggingface_hub import constants

        self.root = Path(constants.HF_HUB_CACHE).expanduser()
        self._folder = self.root / f"models--{name.replace('/', '--')}"
        self._locks = self.root / ".locks" / self._folder.name
        self.blobs = self._folder / "blobs"
        """Files, named by their hashes."""

    def snapshot(self, commit: str) -> Path:
        """The folder of a commit, which may not exist."""
        return self._folder / "snapshots" / commit

    def whole(self, commit: str) -> Path | None:
        """The snapshot of a commit, where it was noted that it is whole and nobody has taken from it since."""
        snapshot = self.snapshot(commit)
        try:
            sizes: dict[str, int] = json.loads(self._note(commit).read_text(encoding="utf-8"))
            here = all((snapshot / name).stat().st_size == size for name, size in sizes.items())
        except (OSError, ValueError, AttributeError):
            return None
        return snapshot if here and "config.json" in sizes else None

    def note_whole(self, commit: str, names: Iterable[str]) -> None:
        """Writes down which files the commit has, so that who opens it by its commit need not ask the hub."""
        snapshot = self.snapshot(commit)
        try:
            sizes = {name: (snapshot / name).stat().st_size for name in names}
            _write(self._note(commit), json.dumps(sizes, sort_keys=True))
        except OSError as error:  # a cache that others fill
            logger.info("the hub's cache cannot note what %s holds: %s", commit, error)

    def note_revision(self, revision: str, commit: str) -> None:
        """Writes down what a revision means now, for the time when the hub cannot be asked."""
        if revision == commit or ".." in Path(revision).parts:
            return
        try:
            _write(self._folder / "refs" / revision, commit)
        except OSError as error:  # a cache that others fill
            logger.info("the hub's cache cannot note what %s is: %s", revision, error)

    def is_writable(self) -> bool:
        """Whether this process may make files in the cache; others may have filled it for processes that may not."""
        try:
            self._locks.mkdir(parents=True, exist_ok=True)
        except OSError:
            return False
        return os.access(self._locks, os.W_OK)

    @contextmanager
    def alone(self, what: str, waiting: Callable[[], object]) -> Iterator[None]:
        """One process at a time does something; the others wait for it, after a call of `waiting`. Raises UserError."""
        try:
            self._locks.mkdir(parents=True, exist_ok=True)
            with locked(self._locks / f"{what}.lock", waiting):
                yield
        except OSError as error:
            cause = error.strerror or one_line(error)
            raise UserError(f"cannot write to the hub's cache {self.root}: {cause}; set HF_HOME") from None

    def link(self, commit: str, blobs: Iterable[tuple[str, str]]) -> None:
        """Gives files, pairs of name and blob, their names in the snapshot of a commit."""
        snapshot = self.snapshot(commit)
        snapshot.mkdir(parents=True, exist_ok=True)
        for name, blob in blobs:
            place = snapshot / name
            if place.exists():
                continue
            try:
                place.unlink(missing_ok=True)  # a link that leads nowhere
                place.symlink_to(os.path.relpath(self.blobs / blob, snapshot))
            except OSError:  # a file system without links
                shutil.move(self.blobs / blob, place)

    def _note(self, commit: str) -> Path:
        return self._locks / f"{commit}.json"


def is_intact(part: Path, blob: str) -> bool:
    """Whether the file has the hash that is its name in the cache; other names say nothing."""
    if _SHA256.fullmatch(blob):
        digest = hashlib.sha256()
    elif COMMIT.fullmatch(blob):
        digest = hashlib.sha1(f"blob {part.stat().st_size}\0".encode(), usedforsecurity=False)
    else:
        return True
    with part.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest() == blob


def _write(file: Path, text: str) -> None:
    """Writes a note, unless it is there."""
    if file.is_file() and file.read_text(encoding="utf-8") == text:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    partial.write_text(text, encoding="utf-8")
    partial.replace(file)
