"""A deterministic engine without a model, for tests and for simulating a GPU's pace."""

import os
import signal
import threading
import time
import zlib
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fakescan.engine.config import SimulatedConfig
from fakescan.engine.contract import EngineStats, Judgement, Listener
from fakescan.engine.judging_options import JudgingOptions
from fakevlm.verdict import Verdict, decide, score_tokens


def pretend(pixels: NDArray[np.uint8], options: JudgingOptions) -> Judgement:
    """A judgement that depends on the pixels alone: logits spread evenly over -4 to 4."""
    digest = zlib.crc32(pixels[::4, ::4].tobytes())
    logit = (digest % 8001) / 1000.0 - 4.0
    logprob_fake = float(-np.logaddexp(0.0, -logit))
    logprob_real = float(-np.logaddexp(0.0, logit))
    verdict = decide(score_tokens(logprob_fake, logprob_real, options.calibration).score, options.calibration)
    explanation = None
    if options.wants_explanation(verdict):
        word = "fake" if verdict is Verdict.FAKE else "real"
        explanation = f"This is a {word} image. The simulated engine has not looked at it."
    return Judgement(logprob_fake, logprob_real, explanation)


class _Pending:
    """One image on its way through the steps."""

    __slots__ = ("future", "judgement", "left", "listener", "steps")

    def __init__(self, judgement: Judgement, tokens: int, listener: Listener | None) -> None:
        self.judgement = judgement
        self.steps = self.left = 1 + tokens * (judgement.explanation is not None)
        self.listener = listener
        self.future: Future[Judgement] = Future()

    def advance(self) -> bool:
        """One step more; whether it is not done yet."""
        if self.future.cancelled():
            return False
        self.left -= 1
        if self.left == 0:
            with suppress(InvalidStateError):
                self.future.set_result(self.judgement)
            return False
        if self.listener is not None:
            self.listener(replace(self.judgement, explanation=self._so_far()))
        return True

    def _so_far(self) -> str | None:
        done = self.steps - self.left - 1
        if not self.judgement.explanation or done == 0:
            return None
        return self.judgement.explanation[: len(self.judgement.explanation) * done // (self.steps - 1)]


class SimulatedEngine:
    """Runs up to `max_num_seqs` requests in steps that sleep; see `SimulatedConfig`."""

    def __init__(self, config: SimulatedConfig, options: JudgingOptions) -> None:
        time.sleep(config.start_s)
        self.stats = EngineStats()
        self.max_num_seqs = config.max_num_seqs
        self._config = config
        self._options = options
        self._waiting: deque[_Pending] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread: threading.Thread | None = None
        if config.step_s > 0:
            self._thread = threading.Thread(target=self._run, name="fake-engine", daemon=True)
            self._thread.start()

    def judge(self, pixels: Sequence[NDArray[np.uint8]]) -> list[Judgement]:
        """Judge images of shape [height, width, 3]; see `Engine.judge`."""
        pending = self._begin(pixels, self._options, None)
        return [one.future.result() for one in pending]

    def submit(
        self, pixels: NDArray[np.uint8], options: JudgingOptions | None = None, listener: Listener | None = None
    ) -> Future[Judgement]:
        """Judge one image of shape [height, width, 3]; see `Engine.submit`."""
        return self._begin([pixels], options or self._options, listener)[0].future

    def _begin(
        self, pixels: Sequence[NDArray[np.uint8]], options: JudgingOptions, listener: Listener | None
    ) -> list[_Pending]:
        if self._config.die_on_rgb is not None:
            for image in pixels:
                if tuple(int(v) for v in image[0, 0]) == self._config.die_on_rgb:
                    os.kill(os.getpid(), signal.SIGKILL)
        pending = [_Pending(pretend(image, options), self._config.tokens, listener) for image in pixels]
        if self._thread is None:
            for one in pending:
                while one.advance():
                    pass
        else:
            with self._changed:
                self._waiting.extend(pending)
                self._changed.notify()
        return pending

    def close(self) -> None:
        """Stop the stepping thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _run(self) -> None:
        running: list[_Pending] = []
        due = time.monotonic()
        while True:
            with self._changed:
                while not running and not self._waiting and not self._closed:
                    self._changed.wait()
                    due = time.monotonic()
                if self._closed:
                    return
                while self._waiting and len(running) < self.max_num_seqs:
                    running.append(self._waiting.popleft())
                self.stats.count(len(running) + len(self._waiting), self.max_num_seqs, self._config.step_s)
            # Sleep until a schedule, not for a duration: late wake-ups must not slow the simulated device down.
            due += self._config.step_s
            time.sleep(max(0.0, due - time.monotonic()))
            running = [one for one in running if one.advance()]
