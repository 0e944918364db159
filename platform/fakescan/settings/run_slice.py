"""The share of a run that one of several drivers does, as a user writes it."""

import re
from typing import Annotated, Any

from pydantic import Field

from fakescan.settings.strict_model import StrictModel

MAX_SLICES = 10_000


class RunSlice(StrictModel):
    """One of `count` slices of a run's shards, each of consecutive ones and as long as the others."""

    number: Annotated[int, Field(ge=1)]
    """Which slice, from 1 on."""
    count: Annotated[int, Field(ge=1, le=MAX_SLICES)]
    """Slices of the run."""

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def shards(self, count: int) -> tuple[int, int]:
        """First shard, and the first one after it, of a run of `count` shards."""
        return count * (self.number - 1) // self.count, count * self.number // self.count

    def overlaps(self, other: "RunSlice") -> bool:
        """Whether two slices may have shards in common, as those of different counts may."""
        return (self.number - 1) * other.count < other.number * self.count and (
            (other.number - 1) * self.count < self.number * other.count
        )


WHOLE_RUN = RunSlice(number=1, count=1)


def parse_slice(value: Any) -> Any:
    """`"3/8"` means the third of eight slices."""
    if value is None or isinstance(value, RunSlice):
        return value
    if isinstance(value, dict) and value.keys() == {"number", "count"}:  # as a settings file may have it
        value = f"{value['number']}/{value['count']}"
    match = re.fullmatch(r"\s*(\d{1,9})\s*/\s*(\d{1,9})\s*", value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is no slice such as 3/8, the third of eight")
    number, count = int(match[1]), int(match[2])
    if not 1 <= number <= count <= MAX_SLICES:
        raise ValueError(f"{value!r}: slices are numbered from 1/N to N/N, and there are at most {MAX_SLICES:,}")
    return {"number": number, "count": count}
