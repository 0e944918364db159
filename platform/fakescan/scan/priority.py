"""Who goes first where the stages of a scan share cores: an engine that loads, then the feed, then an engine at work.

A feed stops by itself when enough is waiting, while an engine that goes first starves itself of work. But as long as
the engine loads, what the feed does is not needed yet.
"""

import os
from contextlib import suppress

FEED = 15
"""Niceness of fetch, decode and write. Ray's own default for every worker."""
CPU_ENGINE = 19
"""Niceness of an engine that computes on the cores that feed it, once it is loaded."""


def yield_to(niceness: int) -> None:
    """Let all threads of this process go after those of a lower niceness, for good: only root could take it back."""
    if os.getpriority(os.PRIO_PROCESS, 0) >= niceness:
        return
    for thread in os.listdir("/proc/self/task"):  # on Linux each thread has its own; new ones take over their parent's
        with suppress(ProcessLookupError):
            os.setpriority(os.PRIO_PROCESS, int(thread), niceness)
