"""What a piece of work takes of this process."""

import time
import tracemalloc
from collections.abc import Callable


def seconds(work: Callable[[], object]) -> float:
    """CPU time of this thread."""
    start = time.thread_time()
    work()
    return time.thread_time() - start


def peak(work: Callable[[], object]) -> int:
    """Bytes that Python holds at most beyond those before."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
