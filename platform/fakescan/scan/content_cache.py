"""Judges each content once in a scan: what is known of contents, who is judging which, and which may kill engines.

A content is the SHA-256 of an image's bytes. A shard claims those that nobody knows and nobody is judging, judges them
and settles them, and only then waits for what other shards have claimed: so no two of them wait for each other.
"""

import struct
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from fakescan.run.folder import RunFolder
from fakescan.run.own_words import overruled
from fakescan.run.run_file import RunFile
from fakescan.run.stability.columns import LOGITS
from fakescan.run.stability.strip import Strip
from fakescan.scan.engines.life import EngineLife
from fakescan.scan.poison.deaths import IMAGE_DEATHS, SHARD_DEATHS, spans_of
from fakescan.scan.stability.variants import content_of
from fakescan.scan.tables import RowValues
from fakevlm.errors import ErrorCode
from fakevlm.verdict import Verdict

MAX_BYTES = 2**30
"""Memory for known contents. Each time that half of it fills, those go that nobody asked for since the time before."""
CONTENT_BYTES = 200
"""Memory of a content without its explanation: hash, numbers, and its place in a dictionary of CPython 3.11."""
ALIVE_EVERY_S = 5.0
"""How often the process of an engine says that it is alive."""
SILENT_S = 60.0
"""Seconds without a word of an engine after which its claims are free: its node may be gone for good."""

_PARTS_AT_ONCE = 32
_READERS = 16
_PACKED = struct.Struct("<BifffB")
_KINDS = (*Verdict, ErrorCode.POISON)
_COLUMNS = ["sha256", "verdict", "score", "logit", "off_script", "explanation"]
RECALLED = -1
"""In place of the shard that judged a content: an earlier start of the run did."""


def packed(values: RowValues, shard: int) -> bytes | None:
    """The values of a content's rows and the shard that judged it, in few bytes; None for what must not be copied.

    Numbers are rounded to float32, as they are in the results.
    """
    kind = values.verdict or values.error_code
    if kind not in _KINDS:
        return None
    text = values.explanation if values.verdict else values.error_message
    numbers = values.score, values.logit, values.off_script
    return _PACKED.pack(_KINDS.index(kind), shard, *numbers, text is not None) + (text or "").encode()


def unpacked(data: bytes) -> tuple[RowValues, int]:
    """The inverse of `packed`."""
    kind, shard, score, logit, off_script, has_text = _PACKED.unpack_from(data)
    text = data[_PACKED.size :].decode() if has_text else None
    if _KINDS[kind] is ErrorCode.POISON:
        return RowValues(error_code=ErrorCode.POISON, error_message=text), shard
    return RowValues(Verdict(_KINDS[kind]), score, logit, off_script, text), shard


class _Claim(NamedTuple):
    engine: EngineLife
    shard: int


@dataclass(frozen=True, slots=True)
class Share:
    """What a shard is to do about the contents that it asked for. Those in none of the fields another shard judges."""

    known: dict[bytes, bytes] = field(default_factory=dict)
    """Packed values of contents that need no judging."""
    together: list[bytes] = field(default_factory=list)
    """Claimed: to be judged among others."""
    alone: list[list[bytes]] = field(default_factory=list)
    """Claimed: groups of suspects, each to be judged with nothing else in the engine."""
    poison: list[bytes] = field(default_factory=list)
    """Claimed: not to be judged any more."""
    is_dead: bool = False
    """Whether the engine counts as dead, so that nothing will ever be claimed for it."""


@dataclass(slots=True)
class _Heard:
    """What is known of an engine's process that may be alive."""

    at: float
    judging: dict[bytes, bool] = field(default_factory=dict)
    """Contents in the engine, and whether it is a single one."""


@dataclass(slots=True)
class _Suspicion:
    deaths: int = 0
    """Engines that died while they judged the content among others."""
    solitary: int = 0
    """Engines that died while they judged it alone."""


class ContentCache:
    """Contents that are known, claimed or suspected. Part of the actor that the driver owns.

    Deaths are counted by content: whichever shards and engines a poisonous one falls to, it kills at most
    `SHARD_DEATHS` engines among others, one in a group of suspects and `IMAGE_DEATHS` alone. An engine whose actor
    never comes back is not counted.
    """

    def __init__(self, max_bytes: int = MAX_BYTES, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known = _Known(max_bytes)
        self._claims: dict[bytes, _Claim] = {}
        self._suspicions: dict[bytes, _Suspicion] = {}
        self._heard: dict[EngineLife, _Heard] = {}
        self._latest: dict[str, EngineLife] = {}
        self._dead: set[EngineLife] = set()

    def remember(self, values: Mapping[bytes, bytes]) -> None:
        """Contents of earlier starts of the run, with their packed values."""
        for content, data in values.items():
            self._known.add(content, data)

    def report_alive(self, engine: EngineLife) -> None:
        """A process is alive; an earlier one of the same actor is then dead, and what that had claimed is free."""
        if engine in self._dead:
            return  # its last words arrive after it was replaced
        if engine not in self._heard:
            earlier = self._latest.get(engine.actor)
            if earlier is not None:
                self._bury(earlier)
            self._latest[engine.actor] = engine
            self._heard[engine] = _Heard(self._clock())
        self._heard[engine].at = self._clock()

    def claim(self, engine: EngineLife, shard: int, contents: Sequence[bytes]) -> Share:
        """What to do about contents, of which a shard claims those that nobody else has. May be asked again."""
        self.report_alive(engine)
        share, suspects = Share(), list[bytes]()
        if engine in self._dead:
            return Share(is_dead=True)
        for content in contents:
            data = self._known.get(content)
            if data is not None:
                share.known[content] = data
                continue
            claim = self._claims.get(content)
            if claim is not None and claim != (engine, shard) and not self._is_silent(claim.engine):
                continue
            self._claims[content] = _Claim(engine, shard)
            suspicion = self._suspicions.get(content, _NONE)
            if suspicion.solitary >= IMAGE_DEATHS:
                share.poison.append(content)
            elif suspicion.solitary or suspicion.deaths > SHARD_DEATHS:
                share.alone.append([content])
            elif suspicion.deaths == SHARD_DEATHS:
                suspects.append(content)
            else:
                share.together.append(content)
        if suspects:
            share.alone.extend(suspects[first:last] for first, last in spans_of((0, len(suspects))))
        return share

    def start_judging(self, engine: EngineLife, contents: Sequence[bytes], *, alone: bool) -> None:
        """An engine gets claimed contents, among others or with nothing else in it."""
        self.report_alive(engine)
        if engine in self._heard:
            self._heard[engine].judging |= dict.fromkeys(contents, alone and len(contents) == 1)

    def settle(self, engine: EngineLife, shard: int, values: Mapping[bytes, bytes | None]) -> None:
        """Claimed contents are judged: their packed values, None for those that other shards must not copy."""
        self.report_alive(engine)
        heard = self._heard.get(engine)
        for content, data in values.items():
            if data is not None:
                self._known.add(content, data)
            self._suspicions.pop(content, None)
            if heard is not None:
                heard.judging.pop(content, None)
            if self._claims.get(content) == (engine, shard):
                del self._claims[content]

    def _is_silent(self, engine: EngineLife) -> bool:
        heard = self._heard.get(engine)  # none, if only its claim is known
        return heard is None or self._clock() - heard.at > SILENT_S

    def _bury(self, engine: EngineLife) -> None:
        for content, solitary in self._heard.pop(engine).judging.items():
            suspicion = self._suspicions.setdefault(content, _Suspicion())
            suspicion.solitary += solitary
            suspicion.deaths += not solitary
        self._claims = {content: claim for content, claim in self._claims.items() if claim.engine != engine}
        self._dead.add(engine)


_NONE = _Suspicion()


class _Known:
    """Packed values by content, in two halves: a young one that is full takes the place of the old one."""

    def __init__(self, max_bytes: int) -> None:
        self._half = max_bytes // 2
        self._young: dict[bytes, bytes] = {}
        self._old: dict[bytes, bytes] = {}
        self._used = 0

    def get(self, content: bytes) -> bytes | None:
        """The values of a content; one that is asked for is young again."""
        data = self._young.get(content)
        if data is None and (data := self._old.get(content)) is not None:
            self.add(content, data)
        return data

    def add(self, content: bytes, data: bytes) -> None:
        """Keep a content; what was known of it first stays."""
        if content in self._young:
            return
        self._young[content] = self._old.get(content, data)
        self._used += CONTENT_BYTES + len(data)
        if self._used >= self._half:
            self._old, self._young, self._used = self._young, {}, 0


def recalled(
    folder: RunFolder, run: RunFile, shards: Sequence[int], max_bytes: int = MAX_BYTES // 2
) -> Iterator[dict[bytes, bytes]]:
    """Contents in each of these shards' parts with their packed values, the last first, until they take so many bytes.

    An explanation that is not the model's own is not copied: such a content is judged again. Raises UserError for a
    part that is damaged.
    """

    def contents(shard: int) -> dict[bytes, bytes]:
        (_, table), *_ = folder.tables([shard], columns)
        if not run.has_own_words:
            table = table.filter(pc.invert(pc.and_(overruled(table), pc.is_valid(table["explanation"]))))
        found = dict(_recalled_images(table, run.strip))
        if run.strip.is_on:
            found |= _recalled_variants(table, run.strip)
        return {content: data for content, data in found.items() if data is not None}

    columns = [*_COLUMNS, *LOGITS] if run.strip.is_on else _COLUMNS
    latest = list(reversed(shards))
    with ThreadPoolExecutor(_READERS, thread_name_prefix="fakescan-recall") as pool:
        for start in range(0, len(latest), _PARTS_AT_ONCE):
            for found in pool.map(contents, latest[start : start + _PARTS_AT_ONCE]):
                yield found
                max_bytes -= sum(CONTENT_BYTES + len(data) for data in found.values())
                if max_bytes <= 0:
                    return


def _recalled_images(table: pa.Table, strip: Strip) -> Iterator[tuple[bytes, bytes | None]]:
    """Contents of a part with their packed values."""
    for sha256, verdict, score, logit, *others in zip(*(table[name].to_pylist() for name in _COLUMNS), strict=True):
        if sha256 is not None and verdict is not None:
            # Not a verdict that a second look has made uncertain: whoever copies it makes that of it anew.
            own = Verdict(verdict) if strip.unstable == "keep" else strip.own_verdict(logit)
            yield bytes.fromhex(sha256), packed(RowValues(own, score, logit, *others), RECALLED)


def _recalled_variants(table: pa.Table, strip: Strip) -> Iterator[tuple[bytes, bytes | None]]:
    """Variants of a part's contents with their packed values."""
    for sha256, *logits in zip(*(table[name].to_pylist() for name in ("sha256", *LOGITS)), strict=True):
        for number, logit in enumerate(logits):
            if logit is not None:
                one = strip.scored(logit)
                yield (
                    content_of(bytes.fromhex(sha256), number),
                    packed(RowValues(one.verdict, one.score, logit), RECALLED),
                )
