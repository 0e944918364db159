"""Calls to servers that may never answer: a limit of time for them, and what to say of their clients."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from fsspec.registry import known_implementations, register_implementation

from fakevlm.errors import UserError, one_line

T = TypeVar("T")

ANSWER_S = 20.0
"""Seconds that a server has for its first answer, and for every next byte of what it sends."""

_EXTRAS = {"gs": "gcs", "gcs": "gcs", "az": "azure", "abfs": "azure", "abfss": "azure"}
"""Schemes whose client comes with an extra of this project."""

_TALKATIVE = ("azure", "gcsfs", "google.auth")
"""Loggers of clients that print every failed attempt, some of them with its traceback."""

_MAX_REASON = 300
"""Characters of a client's own words; some put a whole web page into them."""


class NoAnswerError(TimeoutError):
    """A server was silent for longer than it may be; the message says for how long."""


def within(seconds: float, call: Callable[[], T]) -> T:
    """The result of `call`, or its error. Raises `NoAnswerError` when it takes longer than `seconds`.

    The call runs on a thread of its own, which is left behind where it does not end: clients that look up names, ask
    for credentials or try again for minutes can be stopped in no other way.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001 - raised again where the result is asked for
            future.set_exception(error)

    threading.Thread(target=run, name="fakevlm-call", daemon=True).start()
    try:
        return future.result(seconds)
    except TimeoutError:
        if future.done():
            return future.result()
        raise NoAnswerError(f"no answer within {seconds:.0f} s") from None


def reason(error: BaseException) -> str:
    """Why a call failed, on one line of bounded length."""
    status = getattr(error, "status", None)
    if type(error).__module__.startswith("aiohttp") and isinstance(status, int):
        return f"HTTP {status} {getattr(error, 'message', '')}".rstrip()
    if isinstance(error, OSError) and error.errno is not None and error.strerror:
        return error.strerror
    if isinstance(error, TimeoutError) and not isinstance(error, NoAnswerError):
        return "timed out"
    return shortened(one_line(error))


def shortened(text: str) -> str:
    """The text, cut where it is longer than a line may be."""
    return text if len(text) <= _MAX_REASON else f"{text[:_MAX_REASON]}…"


def missing_package(scheme: str, error: ImportError) -> UserError:
    """What to install for addresses of a scheme whose client cannot be imported."""
    if scheme in _EXTRAS:
        hint = f"install fakescan[{_EXTRAS[scheme]}]"
    else:
        hint = str(known_implementations.get(scheme, {}).get("err") or one_line(error))
    return UserError(f"{scheme}:// needs a package that is not installed: {hint}")


def quiet_clients(scheme: str) -> None:
    """Keeps the client of a scheme from printing what is raised anyway; where details are logged it goes on."""
    if scheme == "ftp":
        register_implementation("ftp", _ftp(), clobber=True)
    if logging.getLogger().isEnabledFor(logging.INFO):
        return
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _ftp() -> type[Any]:
    """fsspec's client without its complaint about a connection that was never made."""
    from fsspec.implementations.ftp import FTPFileSystem

    class Ftp(FTPFileSystem):  # type: ignore[misc]
        def __del__(self) -> None:
            if "ftp" in vars(self):
                super().__del__()

    return Ftp
