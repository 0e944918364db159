"""The bound of bytes in flight: kept, by images of known and unknown size, and never a deadlock."""

import asyncio
import gzip
import threading

import pytest

from fakescan.sources.fetch import Fetcher
from fakescan.storage.store import Store
from fakescan.storage.transport import patient
from fakescan.storage.transport.bytes_in_flight import BytesInFlight
from tests.fakescan.storage.weather.test_store_weather import rows
from tests.web_server import Answer, Seen, WebServer

pytestmark = [pytest.mark.unit, pytest.mark.timeout(60)]


async def _growing(bound: BytesInFlight, size: int, step: int, most: list[int]) -> int:
    with bound.room() as room:
        async with asyncio.timeout(5) as limit:
            with room.timed_by(limit):
                for held in range(step, size + 1, step):
                    await room.reserve(held)
                    most.append(bound.held)
                    await asyncio.sleep(0)
    return size


def test_reads_that_grow_together_all_come_to_their_end() -> None:
    bound, most = BytesInFlight(100), [0]

    async def read_all() -> list[int]:
        return await asyncio.gather(*(_growing(bound, 60, 10, most) for _ in range(20)))

    assert asyncio.run(read_all()) == [60] * 20
    assert max(most) <= 100 + 60  # the oldest may go beyond
    assert bound.held == 0
    assert not bound.rooms


def test_one_read_that_is_larger_than_the_bound_is_read() -> None:
    bound, most = BytesInFlight(100), [0]
    assert asyncio.run(_growing(bound, 1000, 50, most)) == 1000
    assert bound.held == 0


def test_waiting_for_room_is_no_time_out_and_may_be_cancelled() -> None:
    bound = BytesInFlight(100)

    async def wait() -> None:
        with bound.room() as first:
            await first.reserve(90)

            async def second() -> str:
                with bound.room() as room:
                    async with asyncio.timeout(0.05) as limit:
                        with room.timed_by(limit):
                            await room.reserve(50)
                    return "read"

            waiting, cancelled = asyncio.create_task(second()), asyncio.create_task(second())
            await asyncio.sleep(0.2)
            assert not waiting.done()
            cancelled.cancel()
            await asyncio.sleep(0)
        assert await waiting == "read"
        assert cancelled.cancelled()

    asyncio.run(wait())
    assert (bound.held, bound.rooms) == (0, {})


@pytest.mark.parametrize("is_packed", [False, True])
def test_images_of_unknown_size_are_read_within_the_bound(
    web: WebServer, monkeypatch: pytest.MonkeyPatch, is_packed: bool
) -> None:
    """Sixteen of 3 MB, of which 8 MB may be in flight; also if they come as a thousandth of it."""
    bound = BytesInFlight(8 * 2**20)
    monkeypatch.setattr(patient, "_bytes_in_flight", lambda: bound)
    most = [0]
    grow = bound.grow

    def growing(room: object, size: int) -> None:
        grow(room, size)  # type: ignore[arg-type]
        most.append(bound.held)

    monkeypatch.setattr(bound, "grow", growing)
    body = b"x" * 3 * 2**20
    together = threading.Barrier(4)

    def answer(seen: Seen) -> Answer:
        together.wait(10)
        if is_packed:
            return Answer(gzip.compress(body), headers={"Content-Encoding": "gzip"})
        return Answer(body, length=False)

    web.answers["/a"] = answer
    results = Fetcher(Store(), concurrency=16).fetch(rows(*[f"{web.url}/a"] * 16))
    assert [result.num_bytes for result in results] == [len(body)] * 16
    assert 4 * 2**20 < max(most) <= 12 * 2**20
    assert bound.held == 0
