"""A deterministic engine without a model, for tests and for simulating a GPU's pace."""

import fcntl
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
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from fakescan.engine.config import SimulatedConfig
from fakescan.engine.contract import EngineDiedError, EngineStats, Judgement, Listener
from fakescan.engine.health.refusal import refused
from fakescan.engine.health.stall import StallWatch
from fakescan.engine.judging_options import JudgingOptions
from fakevlm.verdict import decide, score_tokens


def pretend(pixels: NDArray[np.uint8], options: JudgingOptions) -> Judgement:
    """A judgement that depends on the pixels alone: logits spread evenly over -4 to 4."""
    digest = zlib.crc32(pixels[::4, ::4].tobytes())
    logit = (digest % 8001) / 1000.0 - 4.0
    logprob_fake = float(-np.logaddexp(0.0, -logit))
    logprob_real = float(-np.logaddexp(0.0, logit))
    verdict = decide(score_tokens(logprob_fake, logprob_real, options.calibration).score, options.calibration)
    explanation = None
    if options.wants_explanation(verdict):
        word = "fake" if logit > 0 else "real"  # its own, as every model's is
        explanation = f"This is a {word} image. The simulated engine has not looked at it."
    return Judgement(logprob_fake, logprob_real, explanation)


class _Pending:
    """One image on its way through the steps."""

    __slots__ = ("future", "hangs", "judgement", "left", "listener", "steps")

    def __init__(self, judgement: Judgement, tokens: int, listener: Listener | None) -> None:
        self.steps = self.left = 1 + tokens * (judgement.explanation is not None)
        self.judgement = judgement if judgement.error else replace(judgement, completion_tokens=self.steps)
        self.listener = listener
        self.hangs = False
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
        self._slot = None if config.start_slots is None else _take_slot(Path(os.path.expandvars(config.start_slots)))
        self.stats = EngineStats()
        self.max_num_seqs = config.max_num_seqs
        self._config = config
        self._options = options
        self._waiting: deque[_Pending] = deque()
        self._running: list[_Pending] = []
        self._changed = threading.Condition()
        self._closed = False
        self._died: str | None = None
        self._watch = StallWatch(config.stall_s, self._give_up)
        self._thread: threading.Thread | None = None
        if config.step_s > 0:
            self._thread = threading.Thread(target=self._run, name="fake-engine", daemon=True)
            self._thread.start()

    @property
    def died(self) -> str | None:
        """Why the engine takes no more requests; None while it does."""
        return self._died

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
        colours = [tuple(int(value) for value in image[0, 0]) for image in pixels] if self._has_drills else []
        if self._config.die_on_rgb in colours:
            os.kill(os.getpid(), signal.SIGKILL)
        pending = [_Pending(self._judgement(image, options), self._config.tokens, listener) for image in pixels]
        for one, colour in zip(pending, colours, strict=False):
            one.hangs = colour == self._config.hang_on_rgb
        with self._changed:
            if self._died is not None:
                raise EngineDiedError(self._died)
            self._waiting.extend(pending)
            self._changed.notify()
        if self._thread is None:
            self._answer_at_once()
        return pending

    @property
    def _has_drills(self) -> bool:
        config = self._config
        return (config.die_on_rgb, config.hang_on_rgb, config.fail_on_rgb) != (None, None, None)

    def _judgement(self, image: NDArray[np.uint8], options: JudgingOptions) -> Judgement:
        if self._config.fail_on_rgb is None or tuple(image[0, 0]) != self._config.fail_on_rgb:
            return pretend(image, options)
        return Judgement(error=refused(ValueError(f"the colour {self._config.fail_on_rgb} (fail_on_rgb)")))

    def _answer_at_once(self) -> None:
        with self._changed:
            while self._waiting:
                if self._waiting[0].hangs:
                    self._watch.busy()
                    return
                one = self._waiting.popleft()
                while one.advance():
                    pass

    def expect(self, images: int) -> None:
        """See `Engine.expect`; it waits for nothing."""

    def close(self) -> None:
        """Stop the stepping thread."""
        self._watch.close()
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._slot is not None:
            self._slot.close()

    def _run(self) -> None:
        due = time.monotonic()
        while True:
            with self._changed:
                while not self._running and not self._waiting and not self._closed:
                    self._watch.idle()
                    self._changed.wait()
                    due = time.monotonic()
                if self._closed or self._died is not None:
                    return
                self._watch.busy()
                while self._waiting and len(self._running) < self.max_num_seqs:
                    self._running.append(self._waiting.popleft())
                if any(one.hangs for one in self._running):
                    return
                self.stats.count(len(self._running) + len(self._waiting), self.max_num_seqs, self._config.step_s)
            # Sleep until a schedule, not for a duration: late wake-ups must not slow the simulated device down.
            due += self._config.step_s
            time.sleep(max(0.0, due - time.monotonic()))
            self._running = [one for one in self._running if one.advance()]
            self._watch.alive()

    def _give_up(self, reason: str) -> None:
        with self._changed:
            self._died = reason
            for one in [*self._running, *self._waiting]:
                with suppress(InvalidStateError):
                    one.future.set_exception(EngineDiedError(reason))


def _take_slot(folder: Path) -> IO[bytes]:
    """A file of the folder, locked for as long as it is open. Raises RuntimeError when none is free."""
    for path in sorted(folder.glob("*")):
        slot = path.open("rb")
        try:
            fcntl.flock(slot, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            slot.close()
        else:
            return slot
    raise RuntimeError(f"out of memory: no free slot in {folder} (start_slots)")
