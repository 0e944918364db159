"""Keeps libraries that talk off the terminal."""

import contextlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from fakescan.terminal.json_logs.output import json_output


@contextmanager
def quiet(*, show: bool = False) -> Iterator[None]:
    """Whatever this process writes to stdout and stderr meanwhile goes nowhere, that of libraries in C included.

    With `show` it goes to stderr: stdout is for results.
    """
    _flush()
    kept = {}
    for stream in (1, 2):
        with contextlib.suppress(OSError):  # closed by whoever started us
            kept[stream] = os.dup(stream)
    with open(os.devnull, "wb") as nothing:
        for stream in kept:
            os.dup2(kept.get(2, nothing.fileno()) if show else nothing.fileno(), stream)
    output = json_output()
    try:
        with output.silence() if output is not None and not show else contextlib.nullcontext():
            yield
    finally:
        _flush()  # what libraries printed and Python still holds does not belong to what comes next
        for stream, copy in kept.items():
            os.dup2(copy, stream)
            os.close(copy)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
