"""vLLM in a process of its own, driven from an event loop: the GPU engine."""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Coroutine, Sequence
from concurrent.futures import Future, InvalidStateError
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from fakescan.engine.config import Device, VllmConfig
from fakescan.engine.contract import NOBODY, EngineDiedError, EngineStats, Judgement, Listener, Origin, origin
from fakescan.engine.generation import Generation, Next
from fakescan.engine.health.processes import kill_tree, reap_after
from fakescan.engine.health.refusal import ATTEMPTS, refused
from fakescan.engine.health.stall import StallWatch
from fakescan.engine.judging_options import JudgingOptions
from fakescan.engine.metrics import vllm_stat_loggers
from fakescan.engine.start.arguments import engine_args
from fakescan.engine.start.imports import let_vllm_look_at_modules
from fakescan.engine.start.start_up import PLAIN_START, StartUp
from fakescan.engine.vllm_setup import SELF_TEST, Requests, engine_arguments, loading, prepare_environment
from fakevlm.checkpoint.checkpoint import Checkpoint

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


class AsyncEngine:
    """`AsyncLLM` lives on its own event-loop thread; `judge` hands it coroutines and waits."""

    def __init__(
        self,
        config: VllmConfig,
        checkpoint: Checkpoint,
        options: JudgingOptions,
        device: Device,
        start: StartUp = PLAIN_START,
    ) -> None:
        prepare_environment(config, checkpoint, device)
        self.stats = EngineStats()
        self._died: str | None = None
        self._probe: asyncio.Task[None] | None = None
        self._calls: set[Future[Any]] = set()
        self._calls_lock = threading.Lock()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="vllm-async", daemon=True)
        self._thread.start()
        arguments = engine_arguments(config, checkpoint, options, device, start)
        start.report(loading(config, checkpoint, device))
        self._reaper = reap_after()
        self._engine = asyncio.run_coroutine_threadsafe(self._start(arguments, config.arguments), self._loop).result()
        self.max_num_seqs: int = self._engine.vllm_config.scheduler_config.max_num_seqs
        start.report(SELF_TEST)
        self._requests = Requests(self._engine.renderer, checkpoint, options)
        self._live = 0
        self._ids = 0
        self._places = asyncio.Semaphore(2 * self.max_num_seqs)
        asyncio.run_coroutine_threadsafe(self._self_test(), self._loop).result()
        self._watch = StallWatch(config.stall_s, self._give_up)

    @property
    def died(self) -> str | None:
        """Why the engine takes no more requests; None while it does."""
        if self._died is None and self._engine.errored:
            return "the engine's process ended"
        return self._died

    def judge(self, pixels: Sequence[NDArray[np.uint8]]) -> list[Judgement]:
        """Judge images of shape [height, width, 3]; see `Engine.judge`."""
        return self._call(self._judge_all(pixels)).result()

    def submit(
        self, pixels: NDArray[np.uint8], options: JudgingOptions | None = None, listener: Listener | None = None
    ) -> Future[Judgement]:
        """Judge one image of shape [height, width, 3]; see `Engine.submit`."""
        return self._call(self._judge_one(pixels, options, listener, origin()))

    def expect(self, images: int) -> None:
        """Its own process batches whatever has come by the end of a step; nothing is gained by waiting."""

    def close(self) -> None:
        """End the engine's process and the event loop."""
        self._watch.close()
        self._loop.call_soon_threadsafe(self._engine.shutdown)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        kill_tree(self._reaper)

    def _call(self, work: Coroutine[Any, Any, Result]) -> Future[Result]:
        """Start work on the event loop; its future hears of the engine's death even where the work itself hangs."""
        inner = asyncio.run_coroutine_threadsafe(work, self._loop)
        call: Future[Result] = Future()
        with self._calls_lock:
            self._calls.add(call)

        def ended(_: Future[Result]) -> None:
            with contextlib.suppress(InvalidStateError):
                if inner.cancelled():
                    call.cancel()
                elif (error := inner.exception()) is not None:
                    call.set_exception(error)
                else:
                    call.set_result(inner.result())

        def left(_: Future[Result]) -> None:
            with self._calls_lock:
                self._calls.discard(call)
            if call.cancelled():
                inner.cancel()

        inner.add_done_callback(ended)
        call.add_done_callback(left)
        if self._died is not None:
            self._fail_calls(self._died)
        return call

    def _give_up(self, reason: str) -> None:
        """The engine is silent: fail every call, and end the processes that would keep the device."""
        logger.error("the engine counts as dead: %s", reason)
        self._died = reason
        manager = self._engine.engine_core.resources.engine_manager
        for process in manager.processes if manager is not None else ():
            if process.pid is not None:
                kill_tree(process.pid)
        self._fail_calls(reason)

    def _fail_calls(self, reason: str) -> None:
        with self._calls_lock:
            calls = list(self._calls)
        for call in calls:
            with contextlib.suppress(InvalidStateError):
                call.set_exception(EngineDiedError(reason))

    @staticmethod
    async def _start(arguments: dict[str, Any], given: dict[str, Any]) -> Any:
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.usage.usage_lib import UsageContext
        from vllm.v1.engine.async_llm import AsyncLLM

        # LLM_CLASS restores the batch sizes that fit the GPU; AsyncLLM's own default is for small ones.
        made = engine_args(AsyncEngineArgs, arguments, given)
        loggers = vllm_stat_loggers() or None
        let_vllm_look_at_modules()
        return AsyncLLM.from_engine_args(made, usage_context=UsageContext.LLM_CLASS, stat_loggers=loggers)

    async def _self_test(self) -> None:
        answer = None
        async for output in self._engine.generate(*self._requests.free_request(), "self-test"):
            answer = output.outputs[0]
        self._requests.check_free_answer(answer)

    async def _judge_all(self, pixels: Sequence[NDArray[np.uint8]]) -> list[Judgement]:
        return await asyncio.gather(*(self._judge_one(image) for image in pixels))

    async def _judge_one(
        self,
        image: NDArray[np.uint8],
        options: JudgingOptions | None = None,
        listener: Listener | None = None,
        origin: Origin = NOBODY,
    ) -> Judgement:
        sampling = self._requests.sampling(options, streams=listener is not None)
        async with self._places:
            self._live += 1
            self._watch.busy()
            before = self._watch.beats
            try:
                for _ in range(ATTEMPTS):
                    answer = self._requests.answer(options)
                    await self._attempt(image, answer, sampling, listener, origin)
                    if not answer.is_refused:
                        break
            finally:
                # One sample for each finished request: how many were in the engine then.
                self.stats.count(self._live, self.max_num_seqs)
                self._live -= 1
                if not self._live:
                    self._become_idle(before)
        return answer.judgement()

    def _become_idle(self, beats_before: int) -> None:
        """Nobody waits for the engine any more. One that was left without a word, as by clients that give up before
        `stall_s`, is asked something, so that it counts as busy until it answers.
        """
        if self._watch.beats == beats_before and self.died is None:
            self._probe = self._loop.create_task(self._probe_silent())
        else:
            self._watch.idle()

    async def _probe_silent(self) -> None:
        self._ids += 1
        with contextlib.suppress(Exception):  # whoever comes next hears of it
            async for _ in self._engine.generate(*self._requests.free_request(), f"probe-{self._ids}"):
                self._watch.alive()
        if not self._live:
            self._watch.idle()

    async def _attempt(
        self, image: NDArray[np.uint8], answer: Generation, sampling: Any, listener: Listener | None, origin: Origin
    ) -> None:
        from vllm.v1.engine.exceptions import EngineDeadError

        try:
            await self._generate(image, answer, sampling, listener, origin)
        except EngineDeadError as error:
            raise EngineDiedError(str(error) or "the engine's process ended") from error
        except Exception as error:
            if self.died is not None or isinstance(error, MemoryError):
                raise EngineDiedError(self.died or "out of memory") from error
            answer.refuse(refused(error))

    async def _generate(
        self, image: NDArray[np.uint8], answer: Generation, sampling: Any, listener: Listener | None, origin: Origin
    ) -> None:
        self._ids += 1
        engine_input = self._requests.input(image)
        # Closing the generator early aborts the request in the engine; so does cancelling.
        traced = {"trace_headers": headers} if (headers := origin.trace_headers) else {}
        generating = self._engine.generate(engine_input, sampling, origin.request_name(self._ids), **traced)
        async with contextlib.aclosing(generating) as outputs:
            async for output in outputs:
                self._watch.alive()
                step = answer.take(output.outputs[0])
                if listener is not None and step is Next.MORE:
                    listener(answer.judgement())
                if step is not Next.MORE:
                    break
