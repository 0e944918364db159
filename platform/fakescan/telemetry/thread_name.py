"""Names of threads in the system, for `top -H` and `/proc`. Before Python 3.14 only Python knows them."""

import ctypes
from contextlib import suppress

_PR_SET_NAME = 15  # linux/prctl.h
_MAX_BYTES = 15


def show_thread_as(name: str) -> None:
    """Gives the calling thread this name for the system, cut to 15 bytes; does nothing where that is not Linux."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_NAME, ctypes.c_char_p(name.encode()[:_MAX_BYTES]), 0, 0, 0)
