"""The certificates of signers that are trusted, as files and as what the reader is given."""

import hashlib
import json
import os
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Self

from fakevlm.errors import UserError, one_line

CACHE_NAME = "c2pa-trust"
"""Folder of the newest lists in the cache folder."""
RECORD_NAME = "record.json"
"""Where the lists of a folder came from, and when."""
STALE_DAYS = 90
"""Days after which lists should be fetched again: signers join every month."""
NO_LISTS = (
    "no C2PA trust list: signers of Content Credentials are not checked, and nothing is c2pa_trusted; "
    "fetch the list with `fakescan provenance update-trust`, or name one with --trust-list"
)

_MAX_BYTES = 8 << 20
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----\s[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")


@dataclass(frozen=True, slots=True)
class TrustLists:
    """Trust anchors of signers and of time-stamping authorities. Small, immutable, and can be pickled."""

    pem: str
    """All certificates, one after the other."""
    source: str
    """The address or the path that they came from."""
    dated: str
    """The day on which they were fetched or their file was written, as YYYY-MM-DD."""
    sha256: str
    """Of `pem`."""

    @classmethod
    def of(cls, texts: list[str], source: str, dated: str) -> Self:
        """Lists from the texts of PEM files. Raises UserError for a text without a certificate."""
        found: list[str] = []
        for text in texts:
            certificates = _CERTIFICATE.findall(text)
            if not certificates:
                raise UserError(f"trust list {source}: not a PEM file with certificates")
            found += certificates
        pem = "\n".join(dict.fromkeys(found)) + "\n"
        return cls(pem, source, dated, hashlib.sha256(pem.encode()).hexdigest())

    @classmethod
    def from_path(cls, path: str | Path) -> Self:
        """Lists from a PEM file, or from all `*.pem` of a folder. Raises UserError where there are none."""
        place = Path(path)
        try:
            files = sorted(place.glob("*.pem")) if place.is_dir() else [place]
            if not files:
                raise UserError(f"--trust-list {place}: the folder has no *.pem files")
            if sum(file.stat().st_size for file in files) > _MAX_BYTES:
                raise UserError(f"--trust-list {place}: more than {_MAX_BYTES >> 20} MiB is no trust list")
            texts = [file.read_text("ascii", errors="replace") for file in files]
            source, dated = _record(place) if place.is_dir() else ("", "")
            newest = max(file.stat().st_mtime for file in files)
        except OSError as error:
            raise UserError(f"--trust-list {place}: {error.strerror or one_line(error)}") from None
        return cls.of(texts, source or os.path.abspath(place), dated or str(datetime.fromtimestamp(newest, UTC).date()))

    @classmethod
    def newest(cls, cache: Path) -> Self | None:
        """The lists that `fakescan provenance update-trust` fetched into a cache folder; None where it never did.

        Raises UserError where they cannot be read.
        """
        folder = cache / CACHE_NAME
        if not any(folder.glob("*.pem")):
            return None
        try:
            return cls.from_path(folder)
        except UserError as error:
            raise UserError(f"{error}; fetch them again with `fakescan provenance update-trust`") from None

    @property
    def certificates(self) -> int:
        """How many."""
        return self.pem.count("-----BEGIN CERTIFICATE-----")

    def facts(self) -> dict[str, str]:
        """What run.json records: address, date and hash."""
        return {"source": self.source, "dated": self.dated, "sha256": self.sha256}

    def warning(self, today: date | None = None) -> str | None:
        """What is to be said before they are used; None where they are fresh."""
        age = ((today or datetime.now(UTC).date()) - date.fromisoformat(self.dated)).days
        if age <= STALE_DAYS:
            return None
        return (
            f"the C2PA trust list {self.source} is {age} days old, and signers that joined since are not trusted; "
            "fetch it again with `fakescan provenance update-trust`"
        )


def _record(folder: Path) -> tuple[str, str]:
    """Address and date of the lists in a folder; "" where it does not say, or not so that it can be read."""
    try:
        record = json.loads((folder / RECORD_NAME).read_text("utf-8"))
        return str(record["source"]), str(date.fromisoformat(record["dated"]))
    except (OSError, ValueError, KeyError, TypeError):
        return "", ""
