"""Images that are judged because a caller of the scan names them, not because they are in a source."""

import hashlib
from dataclasses import dataclass

import pyarrow as pa


@dataclass(frozen=True)
class ExplicitImages:
    """Images that a caller of the scan names, each to be judged once under every condition."""

    entries: pa.Table
    """Columns of `ENTRY_SCHEMA`, no URI twice; all but `uri` may be missing."""
    conditions: tuple[str, ...] = ("none",)
    """Names of distortions. The rows of the first come first: row `r` is image `r % len(entries)`."""

    @property
    def sha256(self) -> str:
        """Hash of the URIs in their order."""
        return hashlib.sha256("\0".join(self.entries["uri"].to_pylist()).encode(errors="surrogateescape")).hexdigest()
