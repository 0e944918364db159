"""vLLM in a process of its own, driven from an event loop: the GPU engine."""

import asyncio
import contextlib
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fakescan.engine.config import Device, VllmConfig
from fakescan.engine.contract import EngineDiedError, EngineStats, Judgement, Listener
from fakescan.engine.generation import Generation, Next
from fakescan.engine.judging_options import JudgingOptions
from fakescan.engine.start.arguments import engine_args
from fakescan.engine.start.start_up import PLAIN_START, StartUp
from fakescan.engine.vllm_setup import SELF_TEST, Requests, engine_arguments, loading, prepare_environment
from fakevlm.checkpoint.checkpoint import Checkpoint


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
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="vllm-async", daemon=True)
        self._thread.start()
        arguments = engine_arguments(config, checkpoint, options, device, start)
        start.report(loading(config, checkpoint, device))
        self._engine = asyncio.run_coroutine_threadsafe(self._start(arguments, config.arguments), self._loop).result()
        self.max_num_seqs: int = self._engine.vllm_config.scheduler_config.max_num_seqs
        start.report(SELF_TEST)
        self._requests = Requests(self._engine.renderer, checkpoint, options)
        self._live = 0
        self._ids = 0
        self._places = asyncio.Semaphore(2 * self.max_num_seqs)
        asyncio.run_coroutine_threadsafe(self._self_test(), self._loop).result()

    def judge(self, pixels: Sequence[NDArray[np.uint8]]) -> list[Judgement]:
        """Judge images of shape [height, width, 3]; see `Engine.judge`."""
        return asyncio.run_coroutine_threadsafe(self._judge_all(pixels), self._loop).result()

    def submit(
        self, pixels: NDArray[np.uint8], options: JudgingOptions | None = None, listener: Listener | None = None
    ) -> Future[Judgement]:
        """Judge one image of shape [height, width, 3]; see `Engine.submit`."""
        return asyncio.run_coroutine_threadsafe(self._judge_one(pixels, options, listener), self._loop)

    def close(self) -> None:
        """End the engine's process and the event loop."""
        self._loop.call_soon_threadsafe(self._engine.shutdown)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    @staticmethod
    async def _start(arguments: dict[str, Any], given: dict[str, Any]) -> Any:
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.usage.usage_lib import UsageContext
        from vllm.v1.engine.async_llm import AsyncLLM

        # LLM_CLASS restores the batch sizes that fit the GPU; AsyncLLM's own default is for small ones.
        made = engine_args(AsyncEngineArgs, arguments, given)
        return AsyncLLM.from_engine_args(made, usage_context=UsageContext.LLM_CLASS)

    async def _self_test(self) -> None:
        answer = None
        async for output in self._engine.generate(*self._requests.free_request(), "self-test"):
            answer = output.outputs[0]
        self._requests.check_free_answer(answer)

    async def _judge_all(self, pixels: Sequence[NDArray[np.uint8]]) -> list[Judgement]:
        return await asyncio.gather(*(self._judge_one(image) for image in pixels))

    async def _judge_one(
        self, image: NDArray[np.uint8], options: JudgingOptions | None = None, listener: Listener | None = None
    ) -> Judgement:
        from vllm.v1.engine.exceptions import EngineDeadError

        answer = self._requests.answer(options)
        sampling = self._requests.sampling(options, streams=listener is not None)
        async with self._places:
            self._live += 1
            try:
                step = await self._generate(image, answer, sampling, listener)
                if step is Next.FORCE:
                    await self._generate(image, answer, sampling, listener)
            except ValueError as error:
                answer.fail(f"the engine refused the image: {error}")
            except EngineDeadError as error:
                raise EngineDiedError(str(error) or "the engine's process ended") from error
            finally:
                # One sample for each finished request: how many were in the engine then.
                self.stats.count(self._live, self.max_num_seqs)
                self._live -= 1
        return answer.judgement()

    async def _generate(
        self, image: NDArray[np.uint8], answer: Generation, sampling: Any, listener: Listener | None
    ) -> Next:
        self._ids += 1
        engine_input = self._requests.input(image, answer.forced_word)
        step = Next.DONE
        # Closing the generator early aborts the request in the engine; so does cancelling.
        async with contextlib.aclosing(self._engine.generate(engine_input, sampling, str(self._ids))) as outputs:
            async for output in outputs:
                step = answer.take(output.outputs[0])
                if listener is not None and step in (Next.MORE, Next.FORCE):
                    listener(answer.judgement())
                if step is not Next.MORE:
                    break
        return step
