"""vLLM in this process: the CPU engine, which starts in seconds and costs no serialisation."""

import gc
import logging
import os
import queue
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fakescan.engine.config import VllmConfig
from fakescan.engine.contract import EngineDiedError, EngineStats, Judgement, Listener, Origin, origin
from fakescan.engine.generation import Generation, Next
from fakescan.engine.health.refusal import ATTEMPTS, refused
from fakescan.engine.health.stall import StallWatch
from fakescan.engine.judging_options import JudgingOptions
from fakescan.engine.start.arguments import engine_args
from fakescan.engine.start.imports import keep_imported, let_vllm_look_at_modules, without_collecting
from fakescan.engine.start.start_up import PLAIN_START, StartUp
from fakescan.engine.vllm_setup import SELF_TEST, Requests, engine_arguments, loading, prepare_environment
from fakescan.telemetry.thread_name import show_thread_as
from fakevlm.checkpoint.checkpoint import Checkpoint

logger = logging.getLogger(__name__)

_SLOW = 10.0
"""A step may take so many times as long as the self-test, whatever `stall_s`: it has several images, that has one."""
_HOLD_S = 0.004
"""Seconds that an image waits for others that are expected, so that one step judges them together."""


@dataclass(slots=True, eq=False)
class _Request:
    """One image between the caller's thread and the stepping thread."""

    pixels: NDArray[np.uint8]
    options: JudgingOptions | None
    sampling: Any
    listener: Listener | None
    answer: Generation
    origin: Origin = field(default_factory=origin)
    engine_input: Any = None
    attempts: int = 1
    future: Future[Judgement] = field(default_factory=Future)

    def settle(self) -> None:
        """Hand the judgement over, unless the caller has left."""
        with suppress(InvalidStateError):
            self.future.set_result(self.answer.judgement())

    def fail(self, reason: str) -> None:
        """Tell the caller that the engine died, unless it has left."""
        with suppress(InvalidStateError):
            self.future.set_exception(EngineDiedError(reason))


class InProcessEngine:
    """Callers' threads make the inputs; one thread owns `LLMEngine` and adds, steps and aborts requests."""

    def __init__(
        self, config: VllmConfig, checkpoint: Checkpoint, options: JudgingOptions, start: StartUp = PLAIN_START
    ) -> None:
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        prepare_environment(config, checkpoint, "cpu")
        with without_collecting():
            import torch

            self._threads = int(os.environ["OMP_NUM_THREADS"])
            # vLLM replaces torch.set_num_threads once an engine has been made in this process.
            torch._C.set_num_threads(self._threads)
            from vllm import EngineArgs
            from vllm.v1.engine.llm_engine import LLMEngine

            keep_imported()
            arguments = engine_arguments(config, checkpoint, options, "cpu", start)
            start.report(loading(config, checkpoint, "cpu"))
            let_vllm_look_at_modules()
            self._engine: Any = LLMEngine.from_engine_args(engine_args(EngineArgs, arguments, config.arguments))
        self.max_num_seqs: int = arguments["max_num_seqs"]
        self.stats = EngineStats()
        start.report(SELF_TEST)
        self._requests = Requests(self._engine.renderer, checkpoint, options)
        started = time.monotonic()
        try:
            self._self_test()
        except BaseException:
            self._free()
            raise
        self_test_s = time.monotonic() - started
        self._inbox: queue.SimpleQueue[_Request | Future[Judgement] | None] = queue.SimpleQueue()
        # Prepared tensors wait in memory; a place is taken before one is made and given back with the judgement.
        self._places = threading.BoundedSemaphore(2 * self.max_num_seqs + 2)
        self._turn = threading.Lock()
        self._expecting = threading.Lock()
        self._expected = 0
        self._held: list[_Request] = []
        self._hold_until = 0.0
        self._died: str | None = None
        self._ids = 0
        self._live: dict[str, _Request] = {}
        self._watch = StallWatch(config.stall_s, self._give_up)
        self._watch.allow(_SLOW * self_test_s)
        self._thread = threading.Thread(target=self._run, name="vllm-step", daemon=True)
        self._thread.start()

    @property
    def died(self) -> str | None:
        """Why the engine takes no more requests; None while it does."""
        return self._died

    def judge(self, pixels: Sequence[NDArray[np.uint8]]) -> list[Judgement]:
        """Judge images of shape [height, width, 3]; see `Engine.judge`."""
        # One call after the other: were the calls to take turns image by image, they would all end at the same time and
        # leave the engine nothing to do until the next ones arrive.
        with self._turn:
            futures = [self.submit(image) for image in pixels]
        return [future.result() for future in futures]

    def submit(
        self, pixels: NDArray[np.uint8], options: JudgingOptions | None = None, listener: Listener | None = None
    ) -> Future[Judgement]:
        """Judge one image of shape [height, width, 3]; see `Engine.submit`."""
        sampling = self._requests.sampling(options, streams=listener is not None)
        self._places.acquire()
        try:
            if self._died is not None:
                raise EngineDiedError(self._died)
            request = _Request(pixels, options, sampling, listener, self._requests.answer(options))
            self._prepare(request)
        except BaseException:
            self._places.release()
            raise
        request.future.add_done_callback(self._left)
        if request.answer.is_refused:
            request.settle()
            return request.future
        self._inbox.put(request)
        if self._died is not None:  # it died after the look above, and may have emptied its inbox before the put
            self._refuse_waiting(self._died)
        return request.future

    def _left(self, future: Future[Judgement]) -> None:
        # It is told by the future: a callback that held the request would be a cycle, and keep a closed engine alive.
        self._places.release()
        if future.cancelled():
            self._inbox.put(future)

    def expect(self, images: int) -> None:
        """See `Engine.expect`."""
        with self._expecting:
            self._expected += images

    def close(self) -> None:
        """Stop the stepping thread and free the model."""
        self._watch.close()
        self._inbox.put(None)
        self._thread.join()
        self._free()

    def _free(self) -> None:
        # Collected, vLLM's client would take down torch's process groups, which other engines of this process use.
        self._engine.engine_core._finalizer.detach()
        del self._engine
        gc.unfreeze()  # vLLM freezes what there is when an engine starts, so that a KV cache would stay for ever
        gc.collect()

    def _self_test(self) -> None:
        self._engine.add_request("self-test", *self._requests.free_request())
        answer = None
        while self._engine.has_unfinished_requests():
            for output in self._engine.step():
                answer = output.outputs[0]
        self._requests.check_free_answer(answer)

    def _run(self) -> None:
        import torch

        show_thread_as(self._thread.name)
        torch._C.set_num_threads(self._threads)  # OpenMP keeps the number for each thread that asks for work
        reason = "the engine was closed"
        try:
            while self._admit() and self._died is None:
                started = time.perf_counter()
                self._watch.busy()
                outputs = self._engine.step()
                self._watch.idle()
                self.stats.count(len(self._live), self.max_num_seqs, time.perf_counter() - started)
                for output in outputs:
                    if (request := self._live.get(output.request_id)) is not None:
                        self._advance(output.request_id, request, output.outputs[0])
        except Exception as error:
            logger.exception("the engine stopped")
            reason = f"{type(error).__name__}: {error}"
        self._die(reason)

    def _give_up(self, reason: str) -> None:
        """A step does not return: the callers must not wait for it."""
        logger.error("the engine counts as dead: %s", reason)
        self._die(reason)

    def _die(self, reason: str) -> None:
        self._died = self._died or reason
        for request in [*self._live.values(), *self._held]:
            request.fail(self._died)
        self._refuse_waiting(self._died)

    def _refuse_waiting(self, reason: str) -> None:
        """Fail what is in the inbox and will not be looked at any more."""
        while True:
            try:
                waiting = self._inbox.get_nowait()
            except queue.Empty:
                return
            if isinstance(waiting, _Request):
                waiting.fail(reason)

    def _admit(self) -> bool:
        """Take what waits in the inbox, blocking while the engine is idle, and add it; False when it is to close."""
        while True:
            wait_s = self._hold_s() if not self._live else 0.0
            try:
                request = self._inbox.get(wait_s != 0, wait_s)
            except queue.Empty:
                if self._held and self._hold_s() == 0:
                    self._add_held()
                if self._live:
                    return True
                continue
            if request is None:
                return False
            if isinstance(request, Future):
                self._abort(request)
            elif not request.future.cancelled():
                if not self._held:
                    self._hold_until = time.monotonic() + _HOLD_S
                self._held.append(request)

    def _hold_s(self) -> float | None:
        """Seconds for which those that have come wait for those that are expected; None where none has come."""
        if not self._held:
            return None
        if not self._expected or len(self._live) + len(self._held) >= self.max_num_seqs:
            return 0.0
        return max(0.0, self._hold_until - time.monotonic())

    def _add_held(self) -> None:
        held, self._held = self._held, []
        for request in held:
            if not request.future.cancelled():
                self._add(request)

    def _abort(self, cancelled: Future[Judgement]) -> None:
        for name, request in list(self._live.items()):
            if request.future is cancelled:
                self._engine.abort_request([name])
                del self._live[name]

    def _prepare(self, request: _Request) -> None:
        """Make the engine's input, as often as it takes; the answer says when none can be made."""
        while True:
            try:
                request.engine_input = self._requests.input(request.pixels)
                return
            except Exception as error:  # noqa: BLE001 - whatever one image does is its own row
                if not self._may_retry(request, error):
                    return

    def _add(self, request: _Request) -> None:
        while not request.answer.is_refused:
            self._ids += 1
            name = request.origin.request_name(self._ids)
            traced = {"trace_headers": headers} if (headers := request.origin.trace_headers) else {}
            try:
                self._engine.add_request(name, request.engine_input, request.sampling, **traced)
            except Exception as error:  # noqa: BLE001 - vLLM's own refusals have no common base, and may grow
                with suppress(Exception):  # what it knows of the request by now
                    self._engine.abort_request([name])
                if self._may_retry(request, error):
                    self._prepare(request)
                continue
            request.engine_input = None
            self._live[name] = request
            return
        request.settle()

    def _advance(self, name: str, request: _Request, output: Any) -> None:
        """Read an output of a request; whatever is wrong with it costs that request alone."""
        try:
            step = request.answer.take(output)
            if request.listener is not None and step is Next.MORE:
                request.listener(request.answer.judgement())
        except Exception as error:  # noqa: BLE001 - as above
            request.answer.refuse(refused(error))
            step = Next.STOP
        if step is Next.MORE:
            return
        del self._live[name]
        if step is not Next.DONE and output.finish_reason is None:
            self._engine.abort_request([name])
        if request.answer.is_refused and request.attempts < ATTEMPTS:
            request.attempts += 1
            request.answer = self._requests.answer(request.options)
            self._prepare(request)
            self._add(request)
        else:
            request.settle()

    def _may_retry(self, request: _Request, error: Exception) -> bool:
        """Whether an image that could not be given to the engine may be given to it again."""
        if isinstance(error, MemoryError):
            raise EngineDiedError("out of memory") from error
        request.attempts += 1
        if request.attempts <= ATTEMPTS:
            return True
        request.answer.refuse(refused(error))
        return False
