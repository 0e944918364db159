"""Names an engine's process, and where it is."""

import os
import socket
from typing import NamedTuple

from fakescan.engine.health.processes import started_at


class EngineLife(NamedTuple):
    """An engine's process. Ray starts an actor whose process died anew, under the same id."""

    actor: str
    process: str


class Place(NamedTuple):
    """Where an engine's process is."""

    node: str
    """Ray's id of the node."""
    name: str
    """The node as a person knows it."""
    pid: int
    started: int | None
    """When the process was started, in clock ticks of its machine."""
    stall_s: float | None
    """Seconds for which its engine may be silent; None: forever."""
    is_restarted: bool
    """Whether the actor had another process before."""


def this_place(stall_s: float | None) -> Place:
    """The place of this process, which is connected to Ray."""
    import ray
    from ray.util import get_node_ip_address

    node = ray.get_runtime_context().get_node_id()
    # Several nodes may be on one machine: only Ray's ids tell them apart.
    name = f"{socket.gethostname()} ({get_node_ip_address()}, {node[:8]})"  # type: ignore[no-untyped-call]
    return Place(node, name, os.getpid(), started_at(os.getpid()), stall_s, _is_restarted())


def _is_restarted() -> bool:
    import ray

    context = ray.get_runtime_context()
    return context.get_actor_id() is not None and bool(context.was_current_actor_reconstructed)
