"""How the program ends: its exit statuses, and a failure in one line."""

import sys
from typing import NoReturn

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


def fail(message: str, status: int) -> NoReturn:
    """Say on stderr in one line what is wrong, and exit."""
    from fakescan.terminal.messages import print_error

    print_error(" ".join(message.split()))
    sys.exit(status)
