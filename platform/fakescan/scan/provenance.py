"""What the files of a shard say of their own origin, as columns of its rows."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from fakescan.run.schema import PROVENANCE_FIELDS
from fakevlm.provenance import Provenance, TrustLists, read

Found = Provenance | str | None
"""The record of a file; why there is none although its bytes were there; None where nobody has looked."""


@dataclass(frozen=True)
class ReadProvenance:
    """Reads the record of a file. Pickles with the trust list, so that no worker needs a file of its own."""

    trust: TrustLists | None = None
    """None: no signer is trusted."""

    def __call__(self, data: bytes) -> Provenance:
        """The record of a file's bytes. Native code may end the process."""
        return read(data, trust=self.trust)


def provenance_columns(found: Sequence[Found]) -> dict[str, pa.Array]:
    """The columns of `PROVENANCE_FIELDS`, all null where nobody has looked."""
    rows = [_values(one) for one in found]
    columns = zip(*rows, strict=True) if rows else [()] * len(PROVENANCE_FIELDS)
    return {field.name: pa.array(values, field.type) for field, values in zip(PROVENANCE_FIELDS, columns, strict=True)}


def _values(found: Found) -> tuple[str | None, ...]:
    if isinstance(found, Provenance):
        return tuple(found)
    return (None, None, None, None, None if found is None else json.dumps({"unread": found}))
