"""The header in which a replica tells the proxy what became of a request's images; clients do not see it."""

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from fakescan.serve.internal_headers import OUTCOMES

if TYPE_CHECKING:  # the proxy reads the header, and should not load what an engine needs
    from fakescan.serve.detector import Result


def outcome_header(results: "Iterable[Result]") -> dict[str, str]:
    """The header for these results: images by verdict or error."""
    counts = Counter(str(result.error.code if result.error else result.verdict) for result in results)
    return {OUTCOMES.decode(): " ".join(f"{outcome}={count}" for outcome, count in counts.items())}


def read_outcomes(header: str) -> dict[str, int]:
    """The counts of `outcome_header`."""
    return {outcome: int(count) for outcome, _, count in (part.partition("=") for part in header.split())}
