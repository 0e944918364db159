"""The rule of poison, and the deaths of engines by shard, so that an image that kills them ends as one `poison` row."""

from dataclasses import dataclass, field

from fakescan.isolation.child import IMAGE_DEATHS as IMAGE_DEATHS

Span = tuple[int, int]
"""Positions [first, last) within a shard."""

SHARD_DEATHS = 2
"""Deaths while a shard was being judged, fetched or decoded after which it is done alone: one may be bad luck."""
SPLIT = 16
"""Into how many spans a suspect span is cut."""


@dataclass(slots=True)
class _Case:
    holder: str | None = None
    """The engine that is judging the shard."""
    span: Span | None = None
    """The span that it is judging alone."""
    deaths: int = 0
    alone: dict[Span, int] = field(default_factory=dict)
    """Deaths by span judged alone."""


@dataclass(frozen=True, slots=True)
class Orders:
    """How a shard is to be judged."""

    alone: bool
    deaths: dict[Span, int]


class PoisonLedger:
    """The driver's book of suspects.

    Ray retries a shard only after the engine that held it died, so an `inquire` by another engine means a death.
    """

    def __init__(self) -> None:
        self._cases: dict[int, _Case] = {}

    def inquire(self, shard: int, engine: str) -> Orders:
        """How an engine is to judge a shard that it was handed; counts the death of the engine that had it before."""
        case = self._cases.setdefault(shard, _Case())
        if case.holder is not None and case.holder != engine:
            if case.span is None:
                case.deaths += 1
            else:
                case.alone[case.span] = case.alone.get(case.span, 0) + 1
            case.holder, case.span = None, None
        return Orders(case.deaths >= SHARD_DEATHS or bool(case.alone), dict(case.alone))

    def begin(self, shard: int, engine: str, span: Span | None = None) -> None:
        """An engine starts judging a shard among others, or a span of it with nothing else in the engine."""
        case = self._cases.setdefault(shard, _Case())  # there is none if the ledger has been started again since
        case.holder, case.span = engine, span

    def end(self, shard: int) -> None:
        """The shard is judged; its book is closed."""
        self._cases.pop(shard, None)


def spans_of(span: Span) -> list[Span]:
    """A span cut into up to `SPLIT` spans of equal size."""
    first, last = span
    step = -(-(last - first) // SPLIT)
    return [(start, min(start + step, last)) for start in range(first, last, step)]
