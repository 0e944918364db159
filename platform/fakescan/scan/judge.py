"""The actor stage of the pipeline: one engine, several shards in flight, and the bounds on poison."""

import json
import logging
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fakescan.engine.config import Device, EngineConfig
from fakescan.engine.contract import Engine, EngineDiedError, Judgement
from fakescan.engine.device_name import device_name
from fakescan.engine.factory import open_engine
from fakescan.engine.health.processes import exit_with_children
from fakescan.engine.judged_values import judged_values
from fakescan.engine.judging_options import JudgingOptions
from fakescan.engine.metrics import record_engine
from fakescan.engine.model import PinnedModel, open_pinned
from fakescan.engine.start.number_types import NumberTypes
from fakescan.engine.start.start_up import StartUp
from fakescan.scan.content_cache import ALIVE_EVERY_S, Share, packed, unpacked
from fakescan.scan.engines.life import EngineLife
from fakescan.scan.engines.stages import StepReporter
from fakescan.scan.engines.start import EngineStart
from fakescan.scan.metrics.stage_metrics import SHORT_ID
from fakescan.scan.poison.deaths import IMAGE_DEATHS, Orders, Span, spans_of
from fakescan.scan.small_machine import engine_is_loaded
from fakescan.scan.stability.second_look import RowLook, SecondLook, SecondLookSettings
from fakescan.scan.tables import JUDGED_SCHEMA, RowValues, judged_schema
from fakescan.storage.store import Store
from fakescan.terminal.json_logs.fields import log_fields, set_process_fields
from fakevlm.checkpoint.checkpoint import Checkpoint
from fakevlm.checkpoint.progress import Report
from fakevlm.errors import ErrorCode
from fakevlm.reading import Reader

logger = logging.getLogger(__name__)

Pixels = NDArray[np.uint8]

_JudgeTogether = Callable[[Sequence[Pixels]], list[Judgement]]

POISON = Judgement(error="the engine's process died twice while it judged this image alone")
_MIN_PAUSE_S, _MAX_PAUSE_S = 0.05, 1.0
"""Pauses between two questions about contents that other shards are judging."""
_LAST_WORD_S = 2.0


@dataclass(frozen=True)
class JudgeSettings:
    """All that a judge needs to open its engine and to label its rows."""

    engine: EngineConfig
    device: Device
    model: str | None
    """Location of the checkpoint, opened again (from the cache) on the node that judges; None is the built-in one."""
    model_store: Store
    model_name: str
    """Name of the model in the result rows."""
    weights_sha256: str
    """The weights that the run was started with; another checkpoint on this node is refused."""
    options: JudgingOptions
    run_id: str
    shard_rows: int
    reader: Reader
    """Says what belongs beside a verdict."""
    dedupe: bool = False
    """Judge each content once; see `fakescan.scan.content_cache`."""
    files_sha256: str = ""
    """What else changes the model's words, as the driver has found it; empty where nobody has looked."""
    numbers: NumberTypes | None = None
    """What every engine of the run computes in; None leaves it to each node."""
    gpus: float = 1.0
    """GPUs of one engine; without meaning on a CPU."""
    second_look: SecondLookSettings | None = None
    """How images are looked at again, changed; None without a stability strip."""


class Judge:
    """Ray Data calls it from several threads at once, one shard each; the engine batches across them."""

    def __init__(self, settings: JudgeSettings, ledger: Any) -> None:
        set_process_fields(run_id=settings.run_id)
        self._settings = settings
        self._ledger = ledger
        self._id = uuid.uuid4().hex
        self._life = EngineLife(_actor_id() or self._id, self._id)
        if settings.dedupe or settings.second_look is not None:
            self._keep_reporting()  # before the model loads: what this actor's last process had claimed is free now
        start = EngineStart(ledger, self._life, settings.engine.stall_s, settings.engine.start_timeout_s)
        self._calls = start.calls
        report = StepReporter(ledger, self._life.actor)
        try:
            self._engine = start.load(
                lambda: _checkpoint(settings, report), lambda checkpoint: _open(settings, checkpoint, report)
            )
        finally:
            report.end()
        record_engine(self._engine, settings.run_id[:SHORT_ID])
        computes = settings.engine.computes_on(settings.device)
        self._device = device_name(settings.device) if computes else settings.engine.kind
        if settings.device == "cpu" and settings.engine.computes_on("cpu"):
            engine_is_loaded()
        self._lock = _ExclusiveLock()
        self._second_look: SecondLook | None = None
        if settings.second_look is not None:
            self._second_look = SecondLook(settings.second_look, self._judge_variants)

    def __call__(self, table: pa.Table) -> pa.Table:
        """From `decoded_schema` to `judged_schema`."""
        with self._calls, log_fields(shard=self._shard(table)):
            return self._judged(table)

    def _shard(self, table: pa.Table) -> int:
        shard: int = table["row_id"][0].as_py() // self._settings.shard_rows if table.num_rows else -1
        return shard

    def _judged(self, table: pa.Table) -> pa.Table:
        good = np.flatnonzero(table["error_code"].is_null().to_numpy())
        values: list[RowValues] = []
        copies: list[int] = []
        looks: dict[int, RowLook] = {}
        if len(good):
            # The shard's block is one chunk, whose tensor is a view of Ray's shared memory.
            block = table["pixels"].chunk(0).to_numpy_ndarray()
            pixels = [block[index] for index in good]
            shard = self._shard(table)
            try:
                if self._settings.dedupe:
                    contents = [bytes.fromhex(sha256) for sha256 in table["sha256"].take(good).to_pylist()]
                    values, copies = self._judge_contents(shard, contents, pixels)
                else:
                    values = [self._values(judgement) for judgement in self._judge(shard, pixels)]
                if self._second_look is not None:
                    places = good.tolist()
                    looks = self._second_look(
                        shard, table, dict(zip(places, pixels, strict=True)), dict(zip(places, values, strict=True))
                    )
            except EngineDiedError as error:
                logger.error("the engine died: %s", error)
                self._report_lost(error)
                # Leave at once and without clean-up: Ray then starts this actor anew and retries its shards, which it
                # does not do after exit_actor(); and the poison ledger counts the death.
                exit_with_children()
        self._ledger.report_judged.remote()
        return self._rows(table, dict(zip(good.tolist(), values, strict=True)), good[copies], looks)

    def _report_lost(self, error: EngineDiedError) -> None:
        """Tell the ledger, for the metrics; not for long, whatever else is wrong."""
        with suppress(Exception):
            told = self._ledger.report_lost.remote(self._life, "stalled" if error.is_stall else "died")
            _get(told, timeout=_LAST_WORD_S)

    def _judge(self, shard: int, pixels: Sequence[Pixels]) -> list[Judgement]:
        orders: Orders = _get(self._ledger.inquire.remote(shard, self._id))
        if orders.alone:
            with self._lock.alone():
                judgements = self._judge_alone(shard, pixels, orders, (0, len(pixels)))
        else:
            with self._lock.shared():
                _get(self._ledger.begin.remote(shard, self._id))
                judgements = self._engine.judge(pixels)
        _get(self._ledger.end.remote(shard))
        return judgements

    def _judge_alone(self, shard: int, pixels: Sequence[Pixels], orders: Orders, span: Span) -> list[Judgement]:
        judgements: list[Judgement] = []
        for part in spans_of(span):
            first, last = part
            deaths = orders.deaths.get(part, 0)
            if last - first == 1 and deaths >= IMAGE_DEATHS:
                judgements.append(POISON)
            elif last - first > 1 and deaths > 0:
                judgements += self._judge_alone(shard, pixels, orders, part)
            else:
                _get(self._ledger.begin.remote(shard, self._id, part))
                judgements += self._engine.judge(pixels[first:last])
        return judgements

    def _judge_variants(
        self, shard: int, contents: Sequence[bytes], pixels: Sequence[Pixels]
    ) -> tuple[list[RowValues], list[int]]:
        """The same as `_judge_contents`, with nothing explained."""
        return self._judge_contents(shard, contents, pixels, self._judge_silently)

    def _judge_silently(self, pixels: Sequence[Pixels]) -> list[Judgement]:
        options = self._settings.options.model_copy(update={"explain": "none"})
        return [future.result() for future in [self._engine.submit(image, options) for image in pixels]]

    def _judge_contents(
        self,
        shard: int,
        contents: Sequence[bytes],
        pixels: Sequence[Pixels],
        judge: _JudgeTogether | None = None,
    ) -> tuple[list[RowValues], list[int]]:
        """The values of each image, given its content, and the positions of those that are copies."""
        judge = judge or self._engine.judge
        first: dict[bytes, int] = {}
        for position, content in enumerate(contents):
            first.setdefault(content, position)
        values: dict[bytes, RowValues] = {}
        judged: set[bytes] = set()
        pause = _MIN_PAUSE_S
        while unknown := [content for content in first if content not in values]:
            share: Share = _get(self._ledger.claim.remote(self._life, shard, unknown))
            if share.is_dead:
                raise EngineDiedError("another process of this actor has taken its place")
            for content, data in share.known.items():
                values[content], judged_by = unpacked(data)
                if judged_by == shard:  # before its engine died
                    judged.add(content)
            fresh = self._judge_share(shard, share, {content: pixels[first[content]] for content in unknown}, judge)
            values |= fresh
            judged |= fresh.keys()
            if fresh or share.known:
                pause = _MIN_PAUSE_S
            else:
                time.sleep(pause)
                pause = min(2 * pause, _MAX_PAUSE_S)
        copies = [
            position for position, content in enumerate(contents) if content not in judged or position > first[content]
        ]
        return [values[content] for content in contents], copies

    def _judge_share(
        self, shard: int, share: Share, pixels: Mapping[bytes, Pixels], judge: _JudgeTogether
    ) -> dict[bytes, RowValues]:
        """The values of all that the shard has claimed, which the others know as well when this returns."""
        values = {content: self._values(POISON) for content in share.poison}
        if values:
            self._settle(shard, values)
        if share.together:
            with self._lock.shared():
                values |= self._judge_claimed(shard, share.together, pixels, judge, alone=False)
        if share.alone:
            with self._lock.alone():
                for group in share.alone:
                    values |= self._judge_claimed(shard, group, pixels, judge, alone=True)
        return values

    def _judge_claimed(
        self,
        shard: int,
        contents: Sequence[bytes],
        pixels: Mapping[bytes, Pixels],
        judge: _JudgeTogether,
        *,
        alone: bool,
    ) -> dict[bytes, RowValues]:
        _get(self._ledger.start_judging.remote(self._life, contents, alone=alone))
        judgements = judge([pixels[content] for content in contents])
        values = {content: self._values(one) for content, one in zip(contents, judgements, strict=True)}
        self._settle(shard, values)
        return values

    def _settle(self, shard: int, values: Mapping[bytes, RowValues]) -> None:
        # Where contents are not shared it is known of the poison ones alone, which must not kill again.
        by_content = {
            content: packed(one, shard) if self._settings.dedupe or one.error_code is ErrorCode.POISON else None
            for content, one in values.items()
        }
        _get(self._ledger.settle.remote(self._life, shard, by_content))

    def _keep_reporting(self) -> None:
        """Say at once that this process is alive, and go on saying so for as long as there is this judge."""
        ledger, life, end = self._ledger, self._life, threading.Event()
        _get(ledger.report_alive.remote(life))

        def report() -> None:
            while not end.wait(ALIVE_EVERY_S):
                ledger.report_alive.remote(life)

        weakref.finalize(self, end.set)
        threading.Thread(target=report, name="report-alive", daemon=True).start()

    def _values(self, judgement: Judgement) -> RowValues:
        if judgement.error is not None:
            code = ErrorCode.POISON if judgement is POISON else ErrorCode.JUDGE_FAILED
            return RowValues(error_code=code, error_message=judgement.error)
        return RowValues(**judged_values(judgement, self._settings.options.calibration)._asdict())

    def _remark(self, values: RowValues, row_look: RowLook | None, width: int, height: int) -> str | None:
        assert values.verdict is not None
        # From the numbers as the row holds them: a copy's are rounded already, and must not be told otherwise.
        score, off_script = (float(np.float32(number)) for number in (values.score, values.off_script))
        reading = self._settings.reader.read(
            verdict=values.verdict,
            score=score,
            logit=values.logit,
            off_script=off_script,
            width=width,
            height=height,
        )
        if row_look is None or self._second_look is None:
            return reading.remark
        strip, meaning = self._second_look.strip, self._settings.reader.meaning
        return strip.remark(reading, row_look.look, own=values.verdict, score=score, meaning=meaning)

    def _rows(
        self,
        table: pa.Table,
        values: Mapping[int, RowValues],
        copies: NDArray[np.intp],
        looks: Mapping[int, RowLook],
    ) -> pa.Table:
        codes: list[str | None] = table["error_code"].to_pylist()
        messages: list[str | None] = table["error_message"].to_pylist()
        verdicts: list[str | None] = [None] * table.num_rows
        explanations: list[str | None] = [None] * table.num_rows
        remarks: list[str | None] = [None] * table.num_rows
        sizes = list(zip(table["width"].to_pylist(), table["height"].to_pylist(), strict=True))
        scores = np.full((3, table.num_rows), np.nan)
        is_copy = np.zeros(table.num_rows, dtype=np.bool_)
        is_copy[copies] = True
        for index, one in values.items():
            if one.error_code is not None:
                codes[index], messages[index] = one.error_code, one.error_message
                continue
            scores[:, index] = one.score, one.logit, one.off_script
            verdicts[index], explanations[index] = one.verdict, one.explanation
            remarks[index] = self._remark(one, looks.get(index), *sizes[index])
        engine = {"id": self._id, "device": self._device, "max_num_seqs": self._engine.max_num_seqs}
        counters = json.dumps({**engine, **asdict(self._engine.stats)})
        columns: dict[str, Any] = {
            "verdict": verdicts,
            "score": pa.array(scores[0], pa.float32(), from_pandas=True),
            "logit": pa.array(scores[1], pa.float32(), from_pandas=True),
            "off_script": pa.array(scores[2], pa.float32(), from_pandas=True),
            "explanation": explanations,
            "remark": remarks,
            "error_code": codes,
            "error_message": messages,
            "model": [self._settings.model_name] * table.num_rows,
            "run_id": [self._settings.run_id] * table.num_rows,
            "scanned_at": [datetime.now(UTC)] * table.num_rows,
            "engine": [counters] * table.num_rows,
            "is_copy": is_copy,
        }
        schema = JUDGED_SCHEMA
        if self._second_look is not None:
            schema = judged_schema(strip=True)
            columns |= self._second_look.columns(table.num_rows, values, looks)
        arrays = [
            table[field.name] if field.name not in columns else _array(columns[field.name], field.type)
            for field in schema
        ]
        return pa.table(arrays, schema=schema)


class _ExclusiveLock:
    """Lets shards in together, or one alone; the one waits for those inside and keeps newcomers out."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._alone_wanted = 0
        self._is_alone = False

    @contextmanager
    def shared(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._alone_wanted and not self._is_alone)
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        with self._changed:
            self._alone_wanted += 1
            self._changed.wait_for(lambda: not self._inside and not self._is_alone)
            self._alone_wanted -= 1
            self._is_alone = True
        try:
            yield
        finally:
            with self._changed:
                self._is_alone = False
                self._changed.notify_all()


def _checkpoint(settings: JudgeSettings, report: Report) -> Checkpoint:
    model = PinnedModel(settings.model, settings.weights_sha256, settings.files_sha256)
    return open_pinned(model, settings.model_store, report)


def _open(settings: JudgeSettings, checkpoint: Checkpoint, report: Report) -> Engine:
    start = StartUp(settings.numbers, settings.gpus, report)
    return open_engine(settings.engine, checkpoint, settings.options, settings.device, start)


def _actor_id() -> str | None:
    """Id of the Ray actor that this process is; None outside one."""
    import ray

    return ray.get_runtime_context().get_actor_id()


def _get(reference: Any, timeout: float | None = None) -> Any:
    import ray

    return ray.get(reference, timeout=timeout)


def _array(values: Any, kind: pa.DataType) -> pa.Array:
    return values if isinstance(values, pa.Array) else pa.array(values, kind)
