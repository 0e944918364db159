"""Models of the Hugging Face hub: found, downloaded into the hub's own cache, or taken from there without the hub."""

import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fakevlm.checkpoint.download import hub_faults
from fakevlm.checkpoint.download.hub_cache import COMMIT, HubCache, is_intact
from fakevlm.checkpoint.download.hub_faults import ForeignAnswerError, hub_errors, web_page
from fakevlm.checkpoint.download.transfer import DownloadError, RemoteFile, Stream, download, span_of
from fakevlm.checkpoint.progress import Report, Step
from fakevlm.errors import UserError
from fakevlm.remote import ANSWER_S, within

logger = logging.getLogger(__name__)

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+(?:@[\w./-]+)?")
"""`owner/name` or `owner/name@revision`."""

WANTED = ("*.json", "*.safetensors", "*.jinja", "*.txt", "tokenizer.model")
"""Files of a model that may be needed. Folders hold other formats, or checkpoints of the training."""

_BLOB = re.compile(r"\w[\w.-]*")
_PAUSES_S = (1.0, 2.0, 4.0)
"""Pauses before the hub is asked again, in seconds."""


def is_wanted(name: str) -> bool:
    """Whether a file at the top of a model may be needed to load it."""
    return any(Path(name).match(pattern) for pattern in WANTED)


def hub_folder(location: str, *, show: bool, report: Report | None = None) -> Path:
    """The snapshot of a hub id in the hub's own cache; what it lacks is downloaded, with `show` visibly.

    A snapshot that was downloaded before serves where the hub cannot be asked. A commit that is here is not asked
    about, and of several processes that lack it one asks. Raises UserError within seconds where the hub is silent or
    refuses; what has been received is kept for the next time.
    """
    name, _, revision = location.partition("@")
    repository = _Repository(name, revision or "main", show=show, report=report)
    cache = repository.cache
    if not COMMIT.fullmatch(revision):
        return _asked(location, repository)
    if (folder := cache.whole(revision)) is not None:
        return folder
    if not cache.is_writable():
        return _asked(location, repository)
    with cache.alone(f"{revision}.ask", repository.say_that_it_waits):
        return cache.whole(revision) or _asked(location, repository)


def _asked(location: str, repository: "_Repository") -> Path:
    """What the hub says that there is; else what was downloaded before. Raises UserError."""
    name, _, revision = location.partition("@")
    try:
        listing = repository.ask()
    except hub_errors() as error:
        folder = None if hub_faults.is_about_the_name(error) else repository.downloaded()
        if folder is None:
            raise UserError(f"model {location} {hub_faults.refusal(error, name, revision)}") from None
        if not hub_faults.is_offline(error):
            logger.warning("model %s: %s; taking what was downloaded before", location, hub_faults.why(error))
        return folder
    return repository.complete(listing)


@dataclass(frozen=True)
class _HubFile:
    name: str
    size: int | None
    blob: str
    """Its name in the cache: SHA-256 of a large file, Git's hash of a small one, or what a mirror calls it."""


@dataclass(frozen=True)
class _Listing:
    commit: str
    files: list[_HubFile]


class _Repository:
    """A model on the hub, and its place in the cache."""

    def __init__(self, name: str, revision: str, *, show: bool, report: Report | None) -> None:
        self._name, self._revision, self._show, self._report = name, revision, show, report
        self.cache = HubCache(name)

    def ask(self) -> _Listing:
        """What the hub has under this name and revision. Raises one of `hub_errors`."""
        from huggingface_hub import constants

        return within(max(ANSWER_S, constants.HF_HUB_ETAG_TIMEOUT), self._ask)

    def _ask(self) -> _Listing:
        for pause in _PAUSES_S:
            try:
                return self._ask_once()
            except hub_errors() as error:
                if not hub_faults.may_pass(error) or hub_faults.is_unreachable(error):
                    raise
            time.sleep(pause)
        return self._ask_once()

    def _ask_once(self) -> _Listing:
        from huggingface_hub import HfApi, constants, get_session
        from huggingface_hub.errors import HFValidationError

        get_session()  # whose ValueErrors are about proxies
        timeout = float(constants.HF_HUB_ETAG_TIMEOUT)
        try:
            info = HfApi().model_info(self._name, revision=self._revision, files_metadata=True, timeout=timeout)
        except (HFValidationError, UnicodeEncodeError, OSError):
            raise
        except (KeyError, TypeError, AttributeError, RecursionError, ValueError) as error:
            raise ForeignAnswerError(web_page(getattr(error, "doc", ""))) from None
        if not isinstance(info.sha, str) or not COMMIT.fullmatch(info.sha) or info.siblings is None:
            raise ForeignAnswerError("what answers is not the hub: it names no commit and no files")
        names = [file for file in info.siblings if isinstance(file.rfilename, str) and "/" not in file.rfilename]
        return _Listing(info.sha, [self._file(file, info.sha) for file in names if is_wanted(file.rfilename)])

    def _file(self, file: Any, commit: str) -> _HubFile:
        """A file of the listing. Mirrors of the hub that list names alone are asked for its size and version."""
        blob, size = (file.lfs.sha256, file.lfs.size) if file.lfs else (file.blob_id, file.size)
        if blob is None:
            from huggingface_hub import constants, get_hf_file_metadata

            found = get_hf_file_metadata(self._url(file.rfilename, commit), timeout=constants.HF_HUB_ETAG_TIMEOUT)
            blob, size = found.etag, found.size
        if not isinstance(blob, str) or not _BLOB.fullmatch(blob) or not _is_size(size):
            raise ForeignAnswerError(f"what answers does not say which version of {file.rfilename} it has")
        return _HubFile(file.rfilename, size, blob)

    def _url(self, name: str, commit: str) -> str:
        from huggingface_hub import hf_hub_url

        return hf_hub_url(self._name, name, revision=commit)

    def downloaded(self) -> Path | None:
        """The snapshot in the cache, without asking the hub; None where there is none, or one known to lack files."""
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import LocalEntryNotFoundError

        try:
            folder = Path(
                snapshot_download(
                    self._name,
                    revision=self._revision,
                    cache_dir=self.cache.root,
                    allow_patterns=list(WANTED),
                    ignore_patterns="*/*",
                    local_files_only=True,
                )
            )
        except (LocalEntryNotFoundError, ValueError):  # ValueError: HF_ENDPOINT is no address
            return None
        return folder if (folder / "config.json").exists() else None

    def complete(self, listing: _Listing) -> Path:
        """The snapshot with all its files, downloaded if necessary. Raises UserError."""
        snapshot = self.cache.snapshot(listing.commit)
        if not all((snapshot / file.name).exists() for file in listing.files):
            with self.cache.alone(listing.commit, self.say_that_it_waits):
                self._download(listing, snapshot)
                # Links come last: a snapshot that is there can be taken for a whole one.
                self.cache.link(listing.commit, [(file.name, file.blob) for file in listing.files])
        self.cache.note_revision(self._revision, listing.commit)
        self.cache.note_whole(listing.commit, [file.name for file in listing.files])
        return snapshot

    def say_that_it_waits(self) -> None:
        """Another process has the lock."""
        if self._show:
            logger.warning("another process downloads %s: waiting for it", self._name)
        if self._report is not None:
            self._report(Step(f"waiting for another process that downloads {self._name}"))

    def _download(self, listing: _Listing, snapshot: Path) -> None:
        from huggingface_hub import constants

        blobs = self.cache.blobs
        blobs.mkdir(parents=True, exist_ok=True)
        missing = {
            file.blob: file
            for file in listing.files
            if not (snapshot / file.name).exists() and not (blobs / file.blob).exists()
        }
        files = [self._remote(file, listing.commit, blobs) for file in missing.values()]
        silence = max(ANSWER_S, constants.HF_HUB_DOWNLOAD_TIMEOUT)
        try:
            download(
                f"downloading {self._name}",
                files,
                show=self._show,
                may_pass=hub_faults.may_pass,
                silence_s=silence,
                report=self._report,
            )
        except DownloadError as error:
            raise UserError(f"model {self._name}{hub_faults.breaking_off(error, self._name)}") from None

    def _remote(self, file: _HubFile, commit: str, blobs: Path) -> RemoteFile:
        url = self._url(file.name, commit)

        @contextmanager
        def stream(first: int) -> Iterator[Stream]:
            from huggingface_hub import constants, get_session, hf_raise_for_status
            from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # public in its documentation

            headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
            if first:
                headers["Range"] = f"bytes={first}-"
            timeout = float(constants.HF_HUB_DOWNLOAD_TIMEOUT)
            with get_session().stream("GET", url, headers=headers, timeout=timeout, follow_redirects=True) as answer:
                hf_raise_for_status(answer)
                if "text/html" in answer.headers.get("Content-Type", ""):
                    raise ForeignAnswerError(web_page("<html"))
                begins, size = span_of(answer.headers, answer.status_code)
                yield Stream(begins, answer.iter_bytes(), size)

        part = blobs / f"{file.blob}.incomplete"
        return RemoteFile(
            file.name, file.size, part, blobs / file.blob, stream, lambda done: is_intact(done, file.blob)
        )


def _is_size(size: object) -> bool:
    return size is None or (isinstance(size, int) and size >= 0)
