"""An output is bound to the settings that it was started with: it is resumed with the same ones, and with no others."""

import json
from itertools import takewhile
from typing import Any

from fsspec import AbstractFileSystem

from fakescan.storage.objects import put_atomic, read_bytes
from fakescan.storage.url import redact, redact_text
from fakevlm.errors import UserError

_MAX_SHOWN = 60
"""Characters of a value that a message shows whole."""


def changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Each setting that differs as `name was X, now Y`, sorted; nested names are joined with points.

    >>> changes({"edge": 48, "engine": {"kind": "vllm"}}, {"edge": 64, "engine": {"kind": "vllm"}})
    ['edge was 48, now 64']
    """
    return sorted(_changes(before, now, ""))


def _changes(before: Any, now: Any, name: str) -> list[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        keys = before.keys() | now.keys()
        return [
            line
            for key in keys
            for line in _changes(before.get(key), now.get(key), f"{name}.{key}" if name else str(key))
        ]
    if before == now:
        return []
    old, new = _text(before), _text(now)
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(old, new, strict=False)))
    return [f"{name} was {_shown(old, same)}, now {_shown(new, same)}"]


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        value = ",".join(str(item) for item in value) or None
    return "not set" if value is None else redact_text(str(value))


def _shown(text: str, same: int) -> str:
    """The text, or of a long one the place where it begins to differ from the other."""
    if len(text) <= _MAX_SHOWN:
        return text
    start, end = max(0, same - 8), same + 12
    return f"{'…' if start else ''}{text[start:end]}{'…' if end < len(text) else ''}"


def refuse_changes(setting: str, url: str, changed: list[str], another: str) -> None:
    """Raise UserError where something has changed. `setting` names the output, `another` how to name another one."""
    if changed:
        raise UserError(
            f"{setting}: {redact(url)} was started with different settings ({'; '.join(changed)}); "
            f"use another {another}, or the earlier settings"
        )


def read_settings(fs: AbstractFileSystem, path: str, setting: str, another: str) -> dict[str, Any] | None:
    """The settings in a JSON file of the output; None where there is no such file yet. Raises UserError."""
    try:
        found = json.loads(read_bytes(fs, path))
    except FileNotFoundError:
        return None
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise UserError(f"{setting}: {redact(path)} is damaged; use another {another}")
    return found


def put_settings(fs: AbstractFileSystem, path: str, settings: dict[str, Any]) -> None:
    """Write what `read_settings` reads."""
    put_atomic(fs, path, (json.dumps(settings, indent=1) + "\n").encode())
