"""Names of threads as the system shows them."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fakescan.telemetry.thread_name import show_thread_as

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(("name", "shown"), [("vllm-step", "vllm-step"), ("decode-large-images", "decode-large-im")])
def test_the_system_shows_the_name_of_the_thread_and_of_no_other(name: str, shown: str) -> None:
    def comm() -> str:
        return Path(f"/proc/self/task/{threading.get_native_id()}/comm").read_text().strip()

    before = comm()
    with ThreadPoolExecutor(1, initializer=show_thread_as, initargs=(name,)) as pool:
        assert pool.submit(comm).result() == shown
    assert comm() == before
