"""The detector behind the server: bytes of an image in, a result out, as the scan would have written it."""

import asyncio
import functools
import hashlib
import io
import logging
import os
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel

from fakescan import tracing
from fakescan.engine.contract import EngineDiedError, Judgement, submitted_for
from fakescan.engine.factory import check_installed, open_engine
from fakescan.engine.health.loading import bounded_loading
from fakescan.engine.health.processes import exit_with_children
from fakescan.engine.judged_values import judged_values
from fakescan.engine.judging_options import Explain, JudgingOptions, with_threshold
from fakescan.engine.metrics import SERVE, record_engine
from fakescan.engine.model import PinnedModel, model_name, open_model, open_pinned
from fakescan.engine.start.start_up import StartUp, nobody_listens
from fakescan.serve.config import ServeConfig
from fakescan.serve.decoding.decoder import Decoder
from fakescan.serve.decoding.fair_turns import FairTurns
from fakescan.serve.decoding.origins import FoundOrigin, OriginReader
from fakescan.serve.decoding.trust import trust_of
from fakescan.serve.decoding.upload import Upload
from fakescan.serve.outcome_header import notes_outcome
from fakescan.serve.problem import Problem
from fakescan.serve.verdict_words import VerdictWords
from fakescan.terminal.json_logs.fields import context_fields
from fakevlm.checkpoint.progress import Report
from fakevlm.checkpoint.self_test import self_test
from fakevlm.errors import ErrorCode, ImageError
from fakevlm.preprocess import DecodedImage, SeenRegion, try_decode
from fakevlm.reading import Finding, HowSure, Remark
from fakevlm.verdict import Verdict

logger = logging.getLogger("ray.serve.fakescan")

_BUILT_IN = (
    "The built-in model is small and no detector of generated images: it learnt from forged photographs and knows no "
    "generator. For real verdicts this server needs another checkpoint."
)
_UNTRAINED = "The model is untrained: its verdicts mean nothing."
_CORES_FOR_TWO = 4
"""Cores from which the engine has a process of its own, which needs one for itself."""


class ImageFailure(BaseModel):
    """Why one image has no verdict."""

    code: str
    message: str


class Result(BaseModel):
    """The verdict on one image; numbers as in the scan's rows."""

    index: int
    """Place of the image in the request, from 0."""
    name: str | None = None
    """File name that the client gave."""
    verdict: Verdict | None = None
    """The side of the threshold, for programs; people are shown `finding`."""
    finding: Finding | None = None
    """The verdict for people: what it may be called, given what the model knows."""
    score: float | None = None
    """P(fake) after calibration, 0 to 1; the model's own opinion where it has no calibration (`/v1/about`)."""
    logit: float | None = None
    """Log-probability of "fake" minus that of "real", before calibration."""
    off_script: float | None = None
    """Probability that the model would have said neither word."""
    leans: Verdict | None = None
    """The likelier of the model's own two words, before calibration and threshold: what its explanation is about."""
    remark: str | None = None
    """What must stand beside the verdict wherever people read it; null where there is nothing to say."""
    remarks: list[Remark] = []
    """The sentences of `remark` one by one."""
    how_sure: HowSure | None = None
    """What the calibration says about the score at a stated share of fakes; null where it says nothing."""
    explanation: str | None = None
    """The model's own words, whatever the verdict is."""
    provenance: FoundOrigin | None = None
    """What the file says of its own origin; null where the server does not read it. It never enters the score."""
    seen: SeenRegion | None = None
    """The part of the image that the model saw, in pixels as displayed."""
    width: int | None = None
    """In pixels, as displayed."""
    height: int | None = None
    format: str | None = None
    note: str | None = None
    """What the image's file lacks, where it was read in spite of damage."""
    num_bytes: int
    sha256: str
    error: ImageFailure | None = None

    @property
    def outcome(self) -> str:
        """Its verdict, or the code of its error."""
        return str(self.error.code if self.error else self.verdict)

    @property
    def opening(self) -> str:
        """What has to come before the explanation where nothing else of the result is shown; mostly ""."""
        return f"{self.remark} In its own words: " if self.remark else ""


@dataclass
class JudgedImage:
    """A result and where its time went, in seconds."""

    result: Result
    decode_s: float
    """Waiting for its turn, decoding, and handing over to the engine."""
    judge_s: float = 0.0
    """Waiting for its turn in the engine, and being judged."""
    batch: float = 0.0
    """Images in the engine with this one, itself included, on average over the engine's steps; 0 without one."""
    completion_tokens: int = 0
    """Tokens that the engine wrote."""
    is_cut: bool = False
    """Whether the explanation ends because it has its longest length."""


@dataclass
class _Decoded:
    """An image on its way: what is known of it, and how far it is."""

    facts: Result
    pixels: NDArray[np.uint8] | None = None
    """None where it could not be decoded; then `facts` has the error."""
    judging: Future[Judgement] | None = None
    """None where it waits for its turn in the engine."""
    stats: tuple[int, int] = (0, 0)
    """Steps of the engine, and the requests in them, when it was given to it."""
    span: tracing.Span = None
    """The span of its time in the engine."""


Watch = Callable[[Result], None]
"""Called with the result so far, on the event loop: first with the score, then with an explanation that grows."""
_Listener = Callable[[Result, Judgement], None]
"""The same on the engine's thread, with what was known of the image before."""


class Detector:
    """One engine, and threads that decode for it. All methods but the constructor belong to one event loop."""

    def __init__(self, config: ServeConfig, model: PinnedModel | None = None, report: Report = nobody_listens) -> None:
        """Loads the checkpoint and proves it with a verdict. Raises UserError for one that is unfit.

        `model`: the checkpoint that the command has opened; None where there was no command, as in `serve deploy`.
        `report` hears of every step.
        """
        check_installed(config.engine)
        if model is None:
            self.checkpoint = open_model(config.model, config.model_store, report=report)
        else:
            self.checkpoint = open_pinned(model, config.model_store, report)
        self_test(self.checkpoint)
        options = config.options(self.checkpoint, "all", config.model_store)
        self.calibration = options.calibration
        self.model = config.public_model_name(self.checkpoint)
        name, notice = model_name(config.model, config.engine, self.checkpoint)
        self.notice = notice and notice.replace(name, self.model)
        if not config.engine.is_simulated and (config.model is None or not self.checkpoint.trained):
            self.notice = _UNTRAINED if config.model else _BUILT_IN  # without the flags that the operator is told
        self.words = VerdictWords(config.engine, self.checkpoint, self.calibration, config.base_rate)
        self.config = config
        self.started_at = int(time.time())
        gpus = config.gpus_per_replica or 0.0
        start = StartUp(gpus=gpus, report=report, own_process=len(os.sched_getaffinity(0)) >= _CORES_FOR_TWO)
        with bounded_loading(config.engine.start_timeout_s):
            self._engine = open_engine(config.engine, self.checkpoint, options, "cuda" if gpus else "cpu", start)
        record_engine(self._engine, SERVE)
        # Some more than run at once, so that the engine finds the next ones ready: but not so many that those of one
        # key, which came first, keep all others waiting.
        self._turns = FairTurns(self._engine.max_num_seqs + max(2, self._engine.max_num_seqs // 4))
        limits = config.limits
        self._decoder = Decoder(
            self.checkpoint.image,
            threads=config.decode_threads,
            max_pixels=limits.max_pixels,
            max_request_pixels=limits.max_request_pixels,
            timeout_s=limits.request_timeout_s,
            expect=self._engine.expect,
        )
        self._decoder.start()
        self.trust = trust_of(config)
        processes = max(1, (os.cpu_count() or 1) // 4)
        self._origins = OriginReader(self.trust, processes=processes) if config.provenance else None
        self._warm_up()
        if self._origins is not None:
            self._origins.start()

    def require(self, model: str) -> None:
        """Raises Problem unless this is the model that judges here."""
        if model != self.model:
            words = f"model: {model[:100]!r} is not served here; {self.model!r} is"
            raise Problem("not_found", words, param="model")

    def options(self, explain: Explain, threshold: float | None, max_new_tokens: int | None = None) -> JudgingOptions:
        """The options of one request."""
        longest = self.config.max_new_tokens
        return JudgingOptions(
            explain=explain,
            calibration=with_threshold(self.calibration, threshold),
            max_new_tokens=min(longest, max_new_tokens or longest),
        )

    async def admit(self, uploads: Sequence[Upload], key: str) -> list[Upload]:
        """The uploads of a request, ready to be judged. Raises Problem for too many pixels.

        `key` is the client's: images of different ones take turns.
        """
        return await self._decoder.admit(uploads, key)

    @notes_outcome
    async def judge(self, upload: Upload, options: JudgingOptions, watch: Watch | None = None) -> JudgedImage:
        """Judges one image. Cancelling frees its place in the engine. A failure of the image is in the result."""
        with tracing.span("image", index=upload.index) as span:
            judged = await self._judge(upload, options, watch)
            tracing.describe(span, outcome=judged.result.outcome, num_bytes=len(upload.data))
            return judged

    async def _judge(self, upload: Upload, options: JudgingOptions, watch: Watch | None) -> JudgedImage:
        listener = self._listener(asyncio.get_running_loop(), options, watch)
        asked = time.perf_counter()
        decoded: _Decoded | None = None
        has_turn = False

        def begin() -> Callable[[DecodedImage | ImageError], _Decoded]:
            nonlocal has_turn
            has_turn = self._turns.try_enter(upload.key, 1.0)
            return functools.partial(self._decoded, upload, options, listener, has_turn)

        try:
            waiting = tracing.begin("wait to decode")
            try:
                future = await self._decoder.run(upload, begin)
            finally:
                tracing.end(waiting)
            decoding = tracing.begin("decode")
            try:
                decoded = await _unless_abandoned(future)
            finally:
                tracing.end(decoding)
            if self._origins is not None and decoded.facts.provenance is None:
                if has_turn:  # nothing else waits for what takes its own file long
                    has_turn = False
                    self._turns.leave()
                decoded.facts.provenance = await self._origins.read_apart(upload.data, upload.key)
            ended = time.perf_counter()
            if decoded.pixels is None:
                return JudgedImage(decoded.facts, ended - asked)
            if not has_turn:
                with tracing.span("queue"):
                    await self._turns.enter(upload.key, 1.0)
                has_turn = True
                submit = functools.partial(self._submit, decoded, options, listener)
                decoded = await _unless_abandoned(self._decoder.submit(submit))
            assert decoded.judging is not None
            judgement = await asyncio.wrap_future(decoded.judging)
        except EngineDiedError as error:
            self._exit(error)
        finally:
            if has_turn:
                self._turns.leave()
            if decoded is not None:
                tracing.end(decoded.span)
        return JudgedImage(
            self._with_judgement(decoded.facts, judgement, options),
            ended - asked,
            time.perf_counter() - ended,
            self._batch_since(decoded.stats),
            judgement.completion_tokens,
            judgement.is_cut,
        )

    async def stream(self, upload: Upload, options: JudgingOptions) -> AsyncGenerator[Result | JudgedImage, None]:
        """The result as it grows, and at last all of it as `JudgedImage`."""
        queue: asyncio.Queue[Result] = asyncio.Queue()
        task = asyncio.ensure_future(self.judge(upload, options, queue.put_nowait))
        try:
            while not task.done():
                growing = asyncio.ensure_future(queue.get())
                await asyncio.wait({task, growing}, return_when=asyncio.FIRST_COMPLETED)
                if growing.done():
                    yield growing.result()
                else:
                    growing.cancel()
            while not queue.empty():
                yield queue.get_nowait()
            yield task.result()
        finally:
            task.cancel()

    @property
    def waiting(self) -> int:
        """Images that wait for their turn to be decoded or judged."""
        return self._decoder.waiting + self._turns.waiting

    @property
    def judging(self) -> int:
        """Images that have a place in the engine."""
        return self._turns.running

    def check_health(self) -> None:
        """Raises EngineDiedError once the engine takes no more requests, so that Serve replaces this replica."""
        if self._engine.died is not None:
            raise EngineDiedError(self._engine.died)

    def close(self) -> None:
        """Releases the engine."""
        self._decoder.close()
        if self._origins is not None:
            self._origins.close()
        self._engine.close()

    def _decoded(
        self,
        upload: Upload,
        options: JudgingOptions,
        listener: _Listener | None,
        has_turn: bool,
        image: DecodedImage | ImageError,
    ) -> _Decoded:
        """On a thread: what is known of an image that has been decoded, and with a turn it goes to the engine."""
        facts = Result(
            index=upload.index,
            name=upload.name,
            num_bytes=len(upload.data),
            sha256=hashlib.sha256(upload.data).hexdigest(),
        )
        is_read = True
        if self._origins is not None:
            facts.provenance = self._origins.read_light(upload.data)
            is_read = facts.provenance is not None
        if isinstance(image, ImageError):
            return _Decoded(facts.model_copy(update={"error": ImageFailure(code=image.code, message=image.message)}))
        facts.width, facts.height, facts.format = image.width, image.height, image.format
        facts.seen = self.checkpoint.image.seen(image.height, image.width)
        facts.note = image.note or None
        decoded = _Decoded(facts, image.pixels)
        return self._submit(decoded, options, listener) if has_turn and is_read else decoded

    def _submit(self, decoded: _Decoded, options: JudgingOptions, listener: _Listener | None) -> _Decoded:
        """On a thread: gives an image to the engine."""
        assert decoded.pixels is not None
        on_judgement = None if listener is None else functools.partial(listener, decoded.facts)
        decoded.stats = self._engine.stats.steps, self._engine.stats.running
        decoded.span = tracing.begin("judge")
        with submitted_for(context_fields().get("request_id", ""), tracing.trace_headers(decoded.span)):
            decoded.judging = self._engine.submit(decoded.pixels, options, on_judgement)
        return decoded

    def _batch_since(self, before: tuple[int, int]) -> float:
        steps = self._engine.stats.steps - before[0]
        return (self._engine.stats.running - before[1]) / steps if steps else 0.0

    def _listener(
        self, loop: asyncio.AbstractEventLoop, options: JudgingOptions, watch: Watch | None
    ) -> _Listener | None:
        if watch is None:
            return None

        def tell(facts: Result, judgement: Judgement) -> None:
            # The words are made on the loop, not on the engine's thread.
            loop.call_soon_threadsafe(lambda: watch(self._with_judgement(facts, judgement, options)))

        return tell

    def _warm_up(self) -> None:
        """Judges an image from its bytes on, with an explanation. Raises RuntimeError where that gives no verdict."""
        file = io.BytesIO()
        Image.linear_gradient("L").convert("RGB").save(file, "JPEG")
        options = self.options("all", None, 8)
        image = try_decode(file.getvalue(), self.checkpoint.image, max_pixels=self.config.limits.max_pixels)
        warm = self._decoded(Upload(0, None, file.getvalue()), options, None, True, image)
        result = (
            warm.facts if warm.judging is None else self._with_judgement(warm.facts, warm.judging.result(), options)
        )
        if result.verdict is None or not result.explanation:
            raise RuntimeError(f"model: no verdict on the warm-up image: {result.error or result}")

    def _with_judgement(self, facts: Result, judgement: Judgement, options: JudgingOptions) -> Result:
        if judgement.error is not None:
            failure = ImageFailure(code=ErrorCode.JUDGE_FAILED, message=judgement.error)
            return facts.model_copy(update={"error": failure})
        values = judged_values(judgement, options.calibration)
        assert facts.width is not None
        assert facts.height is not None
        words = self.words.beside(values, options.calibration, facts.width, facts.height)
        return facts.model_copy(update={**values._asdict(), **words})

    @staticmethod
    def _exit(error: EngineDiedError) -> NoReturn:
        """Ends the process: Ray Serve starts another replica, and clients are told to send their requests again."""
        logger.error("the engine died: %s", error)
        for handler in logging.getLogger("ray.serve").handlers:
            handler.flush()
        exit_with_children()


async def _unless_abandoned(decoding: "Future[_Decoded]") -> _Decoded:
    """The image, when a thread is done with it. A client that leaves meanwhile takes no place in the engine."""
    try:
        return await asyncio.wrap_future(decoding)
    except asyncio.CancelledError:
        decoding.add_done_callback(_abandon)
        raise


def _abandon(decoding: "Future[_Decoded]") -> None:
    """Gives up the judgement of a client that disconnected while its image was being decoded."""
    if decoding.cancelled() or decoding.exception() is not None:
        return
    if (judging := decoding.result().judging) is not None:
        judging.cancel()


def refusal(result: Result) -> Problem | None:
    """The refusal of a request whose one image has no verdict; None where it has one."""
    return None if result.error is None else Problem(result.error.code, result.error.message)
