"""The detector behind the server, with the simulated engine: whose images come first, and what is told of them."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from fakescan.engine.config import SimulatedConfig
from fakescan.serve.config import ServeConfig
from fakescan.serve.decoding.upload import Upload
from fakescan.serve.detector import Detector
from tests.serve_process import PAIRS

pytestmark = pytest.mark.unit

PLACES = 4


@pytest.fixture(scope="module")
def detector() -> Iterator[Detector]:
    engine = SimulatedConfig(max_num_seqs=PLACES, step_s=0.02, tokens=2)
    detector = Detector(ServeConfig(no_auth=True, engine=engine))
    yield detector
    detector.close()


def run(scene: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await scene()

    with ThreadPoolExecutor(1) as pool:  # the browser of other tests keeps a loop running in this thread
        pool.submit(asyncio.run, bounded()).result()


def images(count: int) -> list[Upload]:
    return [Upload(index, None, PAIRS[index % len(PAIRS)].read_bytes()) for index in range(count)]


def test_who_sends_much_waits_for_himself(detector: Detector) -> None:
    options = detector.options("none", None)

    async def scene() -> None:
        many = [asyncio.ensure_future(detector.judge(one, options)) for one in await detector.admit(images(80), "many")]
        await asyncio.wait(many, return_when=asyncio.FIRST_COMPLETED)
        (single,) = await detector.admit(images(1), "single")
        done = sum(task.done() for task in many)
        judged = await detector.judge(single, options)
        assert judged.result.verdict is not None
        assert sum(task.done() for task in many) - done <= 4 * PLACES
        for task in await asyncio.gather(*many):
            assert task.result.verdict is not None
        assert PLACES / 2 <= judged.batch <= PLACES

    run(scene)


def test_clients_that_leave_while_they_wait_leave_nothing_behind(detector: Detector) -> None:
    options = detector.options("all", None)

    async def scene() -> None:
        for moment in range(12):
            tasks = [
                asyncio.ensure_future(detector.judge(one, options)) for one in await detector.admit(images(20), "x")
            ]
            for _ in range(moment * 3):
                await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        (single,) = await detector.admit(images(1), "y")
        judged = await detector.judge(single, options)
        assert judged.result.explanation is not None
        while detector.waiting:
            await asyncio.sleep(0.01)
        assert (detector.waiting, detector.judging) == (0, 0)

    run(scene)
