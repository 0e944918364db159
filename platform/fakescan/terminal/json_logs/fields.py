"""What log lines say beside their message: fields of the whole process, and those of what a thread or task is doing."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

FIELDS = (
    "command", "run_id", "run", "shard", "uri", "request_id", "trace_id", "deployment", "replica", "component_name",
    "host", "node", "actor", "task", "rank", "exit_status", "via",
)  # fmt: skip
"""Names of fields, in the order in which a line has them. Others, as libraries attach to records, are left out."""

_of_process: dict[str, Any] = {}
_of_context: ContextVar[Mapping[str, Any]] = ContextVar("log fields", default={})  # noqa: B039 - it is never changed
_listeners: list[Callable[[Mapping[str, Any]], None]] = []


def set_process_fields(**fields: Any) -> None:
    """Have every later line of this process say so; None takes a field away."""
    changed = {name: value for name, value in fields.items() if _of_process.get(name) != value}
    if not changed:
        return
    for name, value in changed.items():
        if value is None:
            _of_process.pop(name, None)
        else:
            _of_process[name] = value
    for listener in _listeners:
        listener(process_fields())


@contextmanager
def log_fields(**fields: Any) -> Iterator[None]:
    """The lines that this thread or task logs within say so too."""
    token = _of_context.set({**_of_context.get(), **fields})
    try:
        yield
    finally:
        _of_context.reset(token)


def process_fields() -> dict[str, Any]:
    """The fields of all lines of this process."""
    return dict(_of_process)


def context_fields() -> Mapping[str, Any]:
    """The fields of this thread's or task's lines alone."""
    return _of_context.get()


def on_process_fields(listener: Callable[[Mapping[str, Any]], None]) -> None:
    """Have `listener` hear the fields of the process whenever they change."""
    _listeners.append(listener)


def forget_listener(listener: Callable[[Mapping[str, Any]], None]) -> None:
    """The opposite of `on_process_fields`."""
    _listeners.remove(listener)
