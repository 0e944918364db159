"""The detector behind the server: bytes of an image in, a result out, as the scan would have written it."""

import asyncio
import hashlib
import io
import logging
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import NoReturn

from PIL import Image
from pydantic import BaseModel

from fakescan.engine.contract import EngineDiedError, Judgement
from fakescan.engine.factory import check_installed, open_engine
from fakescan.engine.health.loading import bounded_loading
from fakescan.engine.health.processes import exit_with_children
from fakescan.engine.judged_values import judged_values
from fakescan.engine.judging_options import Explain, JudgingOptions, with_threshold
from fakescan.engine.model import PinnedModel, model_name, open_model, open_pinned
from fakescan.engine.start.start_up import StartUp, nobody_listens
from fakescan.serve.config import ServeConfig
from fakescan.serve.outcome_header import notes_outcome
from fakescan.serve.problem import Problem
from fakevlm.checkpoint.progress import Report
from fakevlm.checkpoint.self_test import self_test
from fakevlm.errors import ErrorCode, ImageError
from fakevlm.preprocess import DecodedImage, decode
from fakevlm.verdict import Verdict

logger = logging.getLogger("ray.serve.fakescan")

_BUILT_IN = (
    "The built-in model is small and no detector of generated images: it learnt from forged photographs and knows no "
    "generator. For real verdicts this server needs another checkpoint."
)
_UNTRAINED = "The model is untrained: its verdicts mean nothing."


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
    score: float | None = None
    """P(fake) after calibration, 0 to 1."""
    logit: float | None = None
    """Log-probability of "fake" minus that of "real", before calibration."""
    off_script: float | None = None
    """Probability that the model would have said neither word."""
    explanation: str | None = None
    width: int | None = None
    """In pixels, as displayed."""
    height: int | None = None
    format: str | None = None
    note: str | None = None
    """What the image's file lacks, where it was read in spite of damage."""
    num_bytes: int
    sha256: str
    error: ImageFailure | None = None


@dataclass(frozen=True, slots=True)
class Upload:
    """One image of a request."""

    index: int
    name: str | None
    data: bytes


@dataclass
class JudgedImage:
    """A result and where its time went, in seconds."""

    result: Result
    decode_s: float
    judge_s: float
    batch: float = 0.0
    """Images in the engine's batch; 0 where it is not known."""


Submitted = Result | tuple[Result, Future[Judgement]]
"""An image on its way: its failure, or what is known of it and the judgement to come."""
Watch = Callable[[Result], None]
"""Called with the result so far, on the event loop: first with the score, then with an explanation that grows."""


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
        self.model, self.notice = model_name(config.model, config.engine, self.checkpoint)
        if not config.engine.is_simulated and (config.model is None or not self.checkpoint.trained):
            self.notice = _UNTRAINED if config.model else _BUILT_IN  # without the flags that the operator is told
        self.config = config
        self.started_at = int(time.time())
        self._max_pixels = config.limits.max_pixels
        gpus = config.gpus_per_replica or 0.0
        start = StartUp(gpus=gpus, report=report)
        with bounded_loading(config.engine.start_timeout_s):
            self._engine = open_engine(config.engine, self.checkpoint, options, "cuda" if gpus else "cpu", start)
        self._pool = ThreadPoolExecutor(config.decode_threads, thread_name_prefix="decode")
        self._warm_up()

    def require(self, model: str) -> None:
        """Raises Problem unless this is the model that judges here."""
        if model != self.model:
            raise Problem("not_found", f"model {model[:100]!r} is not served here; {self.model!r} is")

    def options(self, explain: Explain, threshold: float | None, max_new_tokens: int | None = None) -> JudgingOptions:
        """The options of one request."""
        longest = self.config.max_new_tokens
        return JudgingOptions(
            explain=explain,
            calibration=with_threshold(self.calibration, threshold),
            max_new_tokens=min(longest, max_new_tokens or longest),
        )

    @notes_outcome
    async def judge(self, upload: Upload, options: JudgingOptions, watch: Watch | None = None) -> JudgedImage:
        """Judges one image. Cancelling frees its place in the engine. A failure of the image is in the result."""
        loop = asyncio.get_running_loop()
        started = time.perf_counter()
        decoding = self._pool.submit(self._decode, upload, options, self._listener(loop, options, watch))
        try:
            submitted = await asyncio.wrap_future(decoding)
        except asyncio.CancelledError:
            decoding.add_done_callback(_abandon)
            raise
        except EngineDiedError as error:
            self._exit(error)
        decoded = time.perf_counter()
        if isinstance(submitted, Result):
            return JudgedImage(submitted, decoded - started, 0.0)
        facts, judging = submitted
        try:
            judgement = await asyncio.wrap_future(judging)
        except EngineDiedError as error:
            self._exit(error)
        return JudgedImage(_with_judgement(facts, judgement, options), decoded - started, time.perf_counter() - decoded)

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

    def check_health(self) -> None:
        """Raises EngineDiedError once the engine takes no more requests, so that Serve replaces this replica."""
        if self._engine.died is not None:
            raise EngineDiedError(self._engine.died)

    def close(self) -> None:
        """Releases the engine."""
        self._pool.shutdown(cancel_futures=True)
        self._engine.close()

    def _decode(
        self, upload: Upload, options: JudgingOptions, listener: Callable[[Result, Judgement], None] | None
    ) -> Submitted:
        """On a thread: decodes, and submits to the engine."""
        facts = Result(
            index=upload.index,
            name=upload.name,
            num_bytes=len(upload.data),
            sha256=hashlib.sha256(upload.data).hexdigest(),
        )
        try:
            image: DecodedImage = decode(upload.data, self.checkpoint.image, max_pixels=self._max_pixels)
        except ImageError as error:
            return facts.model_copy(update={"error": ImageFailure(code=error.code, message=error.message)})
        facts.width, facts.height, facts.format = image.width, image.height, image.format
        facts.note = image.note or None
        on_judgement = None if listener is None else lambda judgement: listener(facts, judgement)
        return facts, self._engine.submit(image.pixels, options, on_judgement)

    def _listener(
        self, loop: asyncio.AbstractEventLoop, options: JudgingOptions, watch: Watch | None
    ) -> Callable[[Result, Judgement], None] | None:
        if watch is None:
            return None

        def tell(facts: Result, judgement: Judgement) -> None:
            loop.call_soon_threadsafe(watch, _with_judgement(facts, judgement, options))

        return tell

    def _warm_up(self) -> None:
        """Judges an image from its bytes on, with an explanation. Raises RuntimeError where that gives no verdict."""
        file = io.BytesIO()
        Image.linear_gradient("L").convert("RGB").save(file, "JPEG")
        options = self.options("all", None, 8)
        submitted = self._decode(Upload(0, None, file.getvalue()), options, None)
        if isinstance(submitted, Result):
            result = submitted
        else:
            result = _with_judgement(submitted[0], submitted[1].result(), options)
        if result.verdict is None or not result.explanation:
            raise RuntimeError(f"model: no verdict on the warm-up image: {result.error or result}")

    @staticmethod
    def _exit(error: EngineDiedError) -> NoReturn:
        """Ends the process: Ray Serve starts another replica, and clients are told to send their requests again."""
        logger.error("the engine died: %s", error)
        for handler in logging.getLogger("ray.serve").handlers:
            handler.flush()
        exit_with_children()


def _with_judgement(facts: Result, judgement: Judgement, options: JudgingOptions) -> Result:
    if judgement.error is not None:
        failure = ImageFailure(code=ErrorCode.JUDGE_FAILED, message=judgement.error)
        return facts.model_copy(update={"error": failure})
    return facts.model_copy(update=judged_values(judgement, options.calibration)._asdict())


def _abandon(decoding: "Future[Submitted]") -> None:
    """Gives up the judgement of a client that disconnected while its image was being decoded."""
    if decoding.cancelled() or decoding.exception() is not None:
        return
    submitted = decoding.result()
    if not isinstance(submitted, Result):
        submitted[1].cancel()


def refusal(result: Result) -> Problem | None:
    """The refusal of a request whose one image has no verdict; None where it has one."""
    return None if result.error is None else Problem(result.error.code, result.error.message)
