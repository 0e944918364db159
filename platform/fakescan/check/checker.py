"""Judges single images with one engine in this process.

with Checker(CheckConfig()) as checker:
    for image in checker.check(["photo.jpg", "s3://bucket/other.png"]):
        print(image.verdict, image.score)
"""

import glob
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from datetime import datetime
from functools import partial
from typing import Self

from fakescan.check.config import CheckConfig
from fakescan.check.named_files import fetch, refuse_folders
from fakescan.engine.config import Device
from fakescan.engine.contract import Engine, EngineDiedError, Judgement
from fakescan.engine.factory import check_installed, open_engine
from fakescan.engine.judged_values import judged_values
from fakescan.engine.model import model_meaning, model_name, open_model
from fakescan.engine.start.number_types import types_here
from fakescan.engine.start.start_up import StartUp
from fakescan.errors import JobFailedError
from fakescan.isolation.child import Child, Death, WorkLimits, alone
from fakescan.isolation.time_limit import Timed
from fakescan.settings.strict_model import StrictModel
from fakescan.sources.fetch import Fetched, Fetcher
from fakescan.terminal.quiet import quiet
from fakevlm.checkpoint.self_test import self_test
from fakevlm.errors import ErrorCode, ImageError, UserError, one_line
from fakevlm.preprocess import DecodedImage, try_decode
from fakevlm.reading import Finding, Reader
from fakevlm.verdict import Verdict

_BLOCK = 8
"""Images that are fetched and judged together; their files are in memory at the same time."""


class CheckedImage(StrictModel):
    """What is known of one image. Most fields are columns of a scan's results, with the same meaning."""

    uri: str
    sha256: str | None = None
    width: int | None = None
    height: int | None = None
    format: str | None = None
    num_bytes: int | None = None
    verdict: Verdict | None = None
    score: float | None = None
    logit: float | None = None
    off_script: float | None = None
    explanation: str | None = None
    error_code: ErrorCode | None = None
    error_message: str | None = None
    """Why there is no verdict; beside one: what the image's file lacks."""
    finding: Finding | None = None
    """The verdict as people are told it."""
    remark: str | None = None
    how_sure: str | None = None
    """What the calibration says about the score, in a sentence."""
    etag: str | None = None
    version: str | None = None
    last_modified: datetime | None = None
    model: str
    warning: str | None
    """Set when the verdict means nothing, or less than one would think."""


class Checker:
    """Opens the checkpoint at once, and the engine for the first image that can be judged. A context manager.

    Raises UserError for a wrong setting. With `verbose`, what libraries print comes out, on stderr.
    """

    def __init__(self, config: CheckConfig, *, verbose: bool = False) -> None:
        check_installed(config.engine)
        config.refuse_without_gpus(gpus_of_this_machine())
        self._config = config
        limits = WorkLimits.of(config.decode_timeout_s, None, max_pixels=config.max_pixels, max_bytes=config.max_bytes)
        self._checkpoint = open_model(config.model, config.model_store)
        self_test(self._checkpoint)
        decode = partial(try_decode, spec=self._checkpoint.image, max_pixels=config.max_pixels)
        # What decoders in C print is not for the terminal.
        self._decoder = Child(Timed(decode, limits.timeout_s), limits, show=verbose)
        self._decoder.start()  # it is ready when the first file is there
        self._options = config.options(self._checkpoint, config.explain, config.model_store)
        self._fetcher = Fetcher(config.input_store.resolved(), max_bytes=config.max_bytes, concurrency=_BLOCK)
        self.model, self.warning = model_name(config.model, config.engine, self._checkpoint)
        self._reader = Reader(
            model_meaning(config.engine, self._checkpoint),
            self._options.calibration,
            self._checkpoint.image,
            has_own_threshold=config.threshold is not None,
        )
        self._verbose = verbose
        self._engine: Engine | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._decoder.close()
        if self._engine is not None:
            with quiet(show=self._verbose):
                self._engine.close()

    def check(self, names: Sequence[str]) -> Iterator[CheckedImage]:
        """Judge files, URLs, and `-` for standard input, in their order.

        Raises UserError before anything is read where a name is not one of a single image, and JobFailedError where the
        engine fails. Whatever is wrong with one image is in its `error_code`.
        """
        refuse_folders(names, self._fetcher.store)
        for first in range(0, len(names), _BLOCK):
            submitted = [self._submit(*found) for found in fetch(names[first : first + _BLOCK], self._fetcher)]
            for facts, judgement in submitted:
                yield facts if judgement is None else self._judged(facts, judgement)

    def _submit(self, uri: str, fetched: Fetched) -> tuple[CheckedImage, Future[Judgement] | None]:
        """What is known of an image, and its judgement to come unless it has none."""
        facts = CheckedImage(
            uri=uri,
            sha256=fetched.sha256,
            num_bytes=fetched.num_bytes,
            error_code=fetched.error_code,
            error_message=fetched.error_message,
            **fetched.version._asdict(),
            model=self.model,
            warning=self.warning,
        )
        if fetched.data is None:
            return facts, None
        image = self._decoded(fetched.data)
        if isinstance(image, ImageError):
            return facts.model_copy(update={"error_code": image.code, "error_message": image.message}), None
        seen = {"width": image.width, "height": image.height, "format": image.format}
        facts = facts.model_copy(update={**seen, "error_message": image.note or None})
        engine = self._opened()
        try:
            return facts, engine.submit(image.pixels)
        except EngineDiedError as error:
            raise _died(error) from error

    def _decoded(self, data: bytes) -> DecodedImage | ImageError:
        """In another process: an image that kills its decoder must not kill the command."""
        outcome = alone(self._decoder, data)
        if isinstance(outcome, Death):
            return ImageError(ErrorCode.POISON, outcome.message("decoding"))
        return outcome

    def _opened(self) -> Engine:
        if self._engine is None:
            if self._verbose:
                os.environ.setdefault("VLLM_LOGGING_LEVEL", "INFO")
            gpus = self._config.gpus_per_engine(gpus_of_this_machine())
            device: Device = "cuda" if gpus else "cpu"
            start = StartUp(types_here(self._config.engine, self._checkpoint, device), gpus)
            with quiet(show=self._verbose):
                try:
                    self._engine = open_engine(self._config.engine, self._checkpoint, self._options, device, start)
                except (UserError, OSError):
                    raise
                except Exception as error:  # vLLM raises what it likes
                    reason = f"{type(error).__name__}: {one_line(error)}"
                    raise JobFailedError(f"the engine does not start: {reason} (--verbose shows the logs)") from error
        return self._engine

    def _judged(self, facts: CheckedImage, judging: Future[Judgement]) -> CheckedImage:
        try:
            with quiet(show=self._verbose):
                judgement = judging.result()
        except EngineDiedError as error:
            raise _died(error) from error
        if judgement.error is not None:
            return facts.model_copy(update={"error_code": ErrorCode.JUDGE_FAILED, "error_message": judgement.error})
        values = judged_values(judgement, self._options.calibration)
        assert facts.width is not None
        assert facts.height is not None
        reading = self._reader.read(
            verdict=values.verdict,
            score=values.score,
            logit=values.logit,
            off_script=values.off_script,
            width=facts.width,
            height=facts.height,
        )
        sure = self._reader.how_sure(values.score, values.off_script)
        words = {"finding": reading.finding, "remark": reading.remark, "how_sure": sure and sure.words}
        return facts.model_copy(update={**values._asdict(), **words})


def _died(error: EngineDiedError) -> JobFailedError:
    return JobFailedError(f"the engine died: {one_line(error)} (--verbose shows the logs)")


def gpus_of_this_machine() -> int:
    """GPUs that this process may use. Torch could say so, but reads the engine's environment when it is imported."""
    there = len(glob.glob("/dev/nvidia[0-9]*"))
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if allowed is None:
        return there
    return min(there, sum(name.strip() not in ("", "-1", "NoDevFiles") for name in allowed.split(",")))
