"""The actor stage of the pipeline: one engine, several shards in flight, and the bounds on poison."""

import json
import logging
import os
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fakescan.engine.config import Device, EngineConfig
from fakescan.engine.contract import Engine, EngineDiedError, Judgement
from fakescan.engine.factory import open_engine
from fakescan.engine.judging_options import JudgingOptions
from fakescan.engine.model import open_model
from fakescan.scan.poison import IMAGE_DEATHS, Orders, Span, spans_of
from fakescan.scan.small_machine import engine_is_loaded
from fakescan.scan.tables import JUDGED_SCHEMA
from fakescan.storage.store import Store
from fakevlm.errors import ErrorCode, UserError
from fakevlm.verdict import decide, score_tokens

logger = logging.getLogger(__name__)

POISON = Judgement(error="the engine's process died twice while it judged this image alone")


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


class Judge:
    """Ray Data calls it from several threads at once, one shard each; the engine batches across them."""

    def __init__(self, settings: JudgeSettings, ledger: Any) -> None:
        self._settings = settings
        self._ledger = ledger
        ledger.report_loading.remote()
        self._engine = _open(settings)
        ledger.report_loaded.remote()
        if settings.device == "cpu" and settings.engine.computes_on("cpu"):
            engine_is_loaded()
        self._id = uuid.uuid4().hex
        self._lock = _ExclusiveLock()

    def __call__(self, table: pa.Table) -> pa.Table:
        """From `decoded_schema` to `JUDGED_SCHEMA`."""
        good = np.flatnonzero(table["error_code"].is_null().to_numpy())
        judgements: list[Judgement] = []
        if len(good):
            # The shard's block is one chunk, whose tensor is a view of Ray's shared memory.
            pixels = table["pixels"].chunk(0).to_numpy_ndarray()
            shard = table["row_id"][0].as_py() // self._settings.shard_rows
            try:
                judgements = self._judge(shard, [pixels[index] for index in good])
            except EngineDiedError as error:
                logger.error("the engine died: %s", error)
                # Leave at once and without clean-up: Ray then starts this actor anew and retries its shards, which it
                # does not do after exit_actor(); and the poison ledger counts the death.
                os._exit(1)
        self._ledger.report_judged.remote()
        return self._rows(table, dict(zip(good.tolist(), judgements, strict=True)))

    def _judge(self, shard: int, pixels: Sequence[NDArray[np.uint8]]) -> list[Judgement]:
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

    def _judge_alone(
        self, shard: int, pixels: Sequence[NDArray[np.uint8]], orders: Orders, span: Span
    ) -> list[Judgement]:
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

    def _rows(self, table: pa.Table, judgements: dict[int, Judgement]) -> pa.Table:
        calibration = self._settings.options.calibration
        codes: list[str | None] = table["error_code"].to_pylist()
        messages: list[str | None] = table["error_message"].to_pylist()
        verdicts: list[str | None] = [None] * table.num_rows
        explanations: list[str | None] = [None] * table.num_rows
        scores = np.full((3, table.num_rows), np.nan)
        for index, judgement in judgements.items():
            if judgement.error is not None:
                code = ErrorCode.POISON if judgement is POISON else ErrorCode.JUDGE_FAILED
                codes[index], messages[index] = code, judgement.error
                continue
            score = score_tokens(judgement.logprob_fake, judgement.logprob_real, calibration)
            scores[:, index] = score.score, score.logit, score.off_script
            verdicts[index] = decide(score.score, calibration)
            explanations[index] = judgement.explanation
        counters = json.dumps({"id": self._id, "max_num_seqs": self._engine.max_num_seqs, **asdict(self._engine.stats)})
        columns: dict[str, Any] = {
            "verdict": verdicts,
            "score": pa.array(scores[0], pa.float32(), from_pandas=True),
            "logit": pa.array(scores[1], pa.float32(), from_pandas=True),
            "off_script": pa.array(scores[2], pa.float32(), from_pandas=True),
            "explanation": explanations,
            "error_code": codes,
            "error_message": messages,
            "model": [self._settings.model_name] * table.num_rows,
            "run_id": [self._settings.run_id] * table.num_rows,
            "scanned_at": [datetime.now(UTC)] * table.num_rows,
            "engine": [counters] * table.num_rows,
        }
        arrays = [
            table[field.name] if field.name not in columns else _array(columns[field.name], field.type)
            for field in JUDGED_SCHEMA
        ]
        return pa.table(arrays, schema=JUDGED_SCHEMA)


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


def _open(settings: JudgeSettings) -> Engine:
    checkpoint = open_model(settings.model, settings.model_store)
    if checkpoint.weights_sha256 != settings.weights_sha256:
        raise UserError(f"model: {settings.model} holds other weights on this node than on the driver's")
    return open_engine(settings.engine, checkpoint, settings.options, settings.device)


def _get(reference: Any) -> Any:
    import ray

    return ray.get(reference)


def _array(values: Any, kind: pa.DataType) -> pa.Array:
    return values if isinstance(values, pa.Array) else pa.array(values, kind)
