"""How a Ray of this process's own is started: reached from this machine only, beside other Rays of the machine."""

import contextlib
import functools
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Set to 0, Ray's own switch for a cluster of one machine: all its ports listen at 127.0.0.1."""


def prepare_environment() -> None:
    """Sets what Ray reads as it is imported, unless it is set, or Ray has read it: all of it must think the same."""
    if "ray" not in sys.modules:
        os.environ.setdefault(_LOOPBACK, "0")


@contextlib.contextmanager
def chosen_parameters(*, dashboard: bool, workers_logs: bool) -> Iterator[None]:
    """Has the Ray that starts within choose a free port for its agent, and start no process that has nothing to do.

    The agent of every Ray listens at 52365 unless it is told, and `ray.init` has no setting for it. Where another Ray
    of the machine has that port, the agent goes on without, and jobs, which are started through it, never start.

    The autoscaler's monitor has no nodes to add here, and the log monitor is for drivers that show what their workers
    print (`workers_logs`): each is a Python process more. With a `dashboard` both are started: other drivers come.
    """
    from ray._private.parameter import RayParams

    original = RayParams.__init__
    chosen: dict[str, Any] = {"dashboard_agent_listen_port": 0}
    if not dashboard:
        chosen |= {"no_monitor": True, "include_log_monitor": workers_logs}

    @functools.wraps(original)
    def with_ours(self: Any, *arguments: Any, **options: Any) -> None:
        original(self, *arguments, **{**chosen, **options})

    RayParams.__init__ = with_ours  # type: ignore[method-assign]
    try:
        yield
    finally:
        RayParams.__init__ = original  # type: ignore[method-assign]


def protect_token() -> None:
    """Makes the token of this user's local Rays unreadable for others; Ray creates it readable for everybody.

    Whoever has it may run code as this user. A token that RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH names is left alone.
    Where there is none and the home cannot be written to, as in a container, the Ray that this process starts has one
    of its own, which is in no file.
    """
    from ray._private.authentication.authentication_token_generator import generate_new_authentication_token
    from ray._raylet import AuthenticationTokenLoader  # type: ignore[attr-defined]

    if os.environ.get("RAY_AUTH_MODE", "token").lower() != "token":
        return
    file = Path.home() / ".ray" / "auth_token"
    loader = AuthenticationTokenLoader.instance()
    if not loader.has_token(ignore_auth_mode=True):
        token = generate_new_authentication_token()
        try:
            _write_private(file, token)
        except OSError:
            os.environ["RAY_AUTH_TOKEN"] = token  # what this process starts inherits it, and nobody else needs it
        loader.reset_cache()
    with contextlib.suppress(OSError):  # it does not exist, or belongs to somebody else
        if file.stat().st_mode & 0o077:
            file.chmod(0o600)


def _write_private(file: Path, text: str) -> None:
    """Writes a file that nobody else may read, unless another process has just written it."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = file.with_name(f"{file.name}.{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        part.unlink()
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(text)
    try:
        os.link(part, file)  # whole, or not at all
    except FileExistsError:
        pass
    except OSError:  # a file system without links
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
