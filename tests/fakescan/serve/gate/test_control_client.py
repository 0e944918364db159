"""The control actor as a proxy sees it: an idle proxy uses no old state, a busy one waits for none."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from fakescan.serve.config import Limits
from fakescan.serve.gate import control_client
from fakescan.serve.gate.control_client import ControlClient
from fakescan.serve.gate.gate_state import GateState
from fakescan.serve.keys import KeyFile, KeyRing

pytestmark = pytest.mark.unit

STALE_S = 0.2
WAIT_S = 0.1


class Actor:
    """In the place of Serve's handle: answers with one more replica each time, after a pause."""

    def __init__(self) -> None:
        self.calls = 0
        self.pause_s = 0.0
        self.state = self

    async def remote(self) -> GateState:
        self.calls += 1
        number = self.calls
        await asyncio.sleep(self.pause_s)
        return GateState(Limits(), no_auth=True, ring=KeyRing(KeyFile()), gate_token="", replicas=number)


@pytest.fixture
def actor() -> Actor:
    return Actor()


@pytest.fixture
def client(actor: Actor, monkeypatch: pytest.MonkeyPatch) -> ControlClient:
    for name, value in (
        ("_REFRESH_S", STALE_S / 2),
        ("_STALE_S", STALE_S),
        ("_WAIT_S", WAIT_S),
        ("_TIMEOUT_S", STALE_S),
    ):
        monkeypatch.setattr(control_client, name, value)
    client = ControlClient()
    handle: Callable[[], Any] = lambda: actor  # noqa: E731
    monkeypatch.setattr(client, "_handle", handle)
    return client


async def seconds_for(client: ControlClient) -> tuple[int, float]:
    """The state that a request gets, and how long it waits for it."""
    started = time.monotonic()
    state = await client.state()
    return state.replicas, time.monotonic() - started


def test_an_old_state_is_waited_for_and_asked_for_once(client: ControlClient, actor: Actor) -> None:
    async def run() -> None:
        assert (await client.state()).replicas == 1
        await asyncio.sleep(STALE_S * 1.2)
        actor.pause_s = 0.02
        states = await asyncio.gather(*(client.state() for _ in range(20)))
        assert {state.replicas for state in states} == {2}

    asyncio.run(run())
    assert actor.calls == 2


def test_a_busy_proxy_waits_for_nothing(client: ControlClient, actor: Actor) -> None:
    async def run() -> None:
        await client.state()
        actor.pause_s = 0.05
        waited = []
        for _ in range(60):
            waited.append((await seconds_for(client))[1])
            await asyncio.sleep(0.01)
        assert max(waited) < 0.04
        assert (await client.state()).replicas > 2, "it is refreshed all the same"

    asyncio.run(run())


def test_a_silent_control_actor_costs_a_short_wait_now_and_then(client: ControlClient, actor: Actor) -> None:
    async def run() -> None:
        await client.state()
        actor.pause_s = 60.0
        await asyncio.sleep(STALE_S * 1.2)
        state, waited = await seconds_for(client)
        assert state == 1, "the last state stays in force"
        assert WAIT_S * 0.9 <= waited < STALE_S
        for _ in range(100):  # for several time-outs
            state, waited = await seconds_for(client)
            assert (state, waited < WAIT_S / 2) == (1, True)
            await asyncio.sleep(0.01)
        actor.pause_s = 0.0
        await asyncio.sleep(STALE_S * 3)
        assert (await seconds_for(client))[0] > 1, "it is asked again"

    asyncio.run(run())
