"""CPU time of a replica, by what its threads do."""

import threading
import time

import psutil
import pytest

from benchmarks.serve_cpu import THREADS, _thread_times
from fakescan.telemetry.thread_name import show_thread_as

pytestmark = pytest.mark.unit

_BUSY_S = 0.2


@pytest.mark.parametrize("name", list(THREADS))
def test_what_a_named_thread_takes_is_a_part_of_its_own(name: str) -> None:
    done, go = threading.Event(), threading.Event()

    def work() -> None:
        show_thread_as(name)
        while time.thread_time() < _BUSY_S:
            pass
        done.set()
        go.wait(60)

    before = dict(_thread_times(psutil.Process()))
    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert done.wait(60)
        took = {part: seconds - before[part] for part, seconds in _thread_times(psutil.Process())}
    finally:
        go.set()
        thread.join()
    assert took.pop(THREADS[name]) == pytest.approx(_BUSY_S, abs=0.05)
    assert list(took.values()) == [pytest.approx(0, abs=0.05)]
