"""Gates to send requests to, and keys for them."""

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fakescan.serve.config import Limits
from fakescan.serve.gate import access_log, body_reader, request_context
from fakescan.serve.keys import KeyEdit, KeyFile, KeyRing
from tests.gated import Gated, Keys, StubControl


@pytest.fixture(autouse=True)
def heard(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """pytest hears the gate's logs, even where Ray and Serve are in this process for other tests."""
    monkeypatch.setattr(access_log, "_serve_logs", lambda: None)  # the place of the access log on a cluster
    logger = logging.getLogger("ray.serve.fakescan")
    logger.addHandler(caplog.handler)
    propagates, logger.propagate = logger.propagate, False
    yield
    logger.removeHandler(caplog.handler)
    logger.propagate = propagates


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Gated]]:
    """Starts gates with these limits, or with these keys, and with the fast path to a replica or without."""
    monkeypatch.setattr(request_context, "_LINGER_S", 0.1)
    monkeypatch.setattr(request_context, "_LINGER_PAUSE_S", 0.0)
    monkeypatch.setattr(body_reader, "_FULL_SHARE_S", 0.02)
    running: list[Gated] = []

    def begin(ring: KeyRing | None = None, *, fast: bool = False, **limits: Any) -> Gated:
        running.append(Gated(StubControl(Limits(**limits), ring), fast=fast))
        return running[-1]

    yield begin
    for gated in running:
        gated.close()


@pytest.fixture(scope="module")
def keys() -> Keys:
    edit = KeyEdit(KeyFile())
    judge, off = edit.add("judge", per_minute=1, burst=3), edit.add("off")
    scanner, both = edit.add("scanner", scopes=("scans",)), edit.add("both", scopes=("detect", "scans", "metrics"))
    edit.disable("off")
    many = edit.add("many", per_minute=1, burst=40)
    return Keys(KeyRing(KeyFile(keys=tuple(edit.keys))), judge, scanner, both, off, many)
