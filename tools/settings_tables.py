"""Writes the tables of settings in docs/ from the fields of the settings classes: `make docs`.

A table stands between `<!-- settings: MODULE:CLASS -->` and `<!-- end of settings -->`; `MODULE:CLASS own` is without
the fields that the class inherits.
"""

import re
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

ROOT = Path(__file__).resolve().parents[1]
_TABLE = re.compile(
    r"(<!-- settings: (?P<module>[\w.]+):(?P<name>\w+)(?P<own> own)? -->\n).*?(<!-- end of settings -->)", re.DOTALL
)


def main() -> None:
    """Bring every page up to date, and name those that were not."""
    sys.path[:0] = [str(ROOT), str(ROOT / "platform")]
    for page in sorted((ROOT / "docs").glob("*.md")):
        text = page.read_text(encoding="utf-8")
        if (fresh := with_tables(text)) != text:
            page.write_text(fresh, encoding="utf-8")
            print(f"{page.relative_to(ROOT)} is up to date now")


def with_tables(page: str) -> str:
    """A page with each of its tables written anew."""

    def table(match: re.Match[str]) -> str:
        model = getattr(import_module(match["module"]), match["name"])
        return f"{match[1]}{settings_table(model, own=bool(match['own']))}{match[5]}"

    return _TABLE.sub(table, page)


def settings_table(model: type[BaseModel], *, own: bool = False) -> str:
    """A Markdown table with a row for each field: the class's own first, then inherited ones unless `own`."""
    from fakescan.settings.flag import Flag

    names = [name for name in model.model_fields if name in model.__annotations__]
    names += [] if own else [name for name in model.model_fields if name not in names]
    flags = {name: _flag(model.model_fields[name], Flag, name) for name in names}
    with_flags = any(flags.values())  # a training has none: its command reads a file and changes
    if with_flags:
        flags |= {name: f"`--{name.removesuffix('_store')}-…`" for name in names if name.endswith("_store")}
    head = ["setting", *(["flag"] if with_flags else []), "default", "meaning"]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for name in names:
        field = model.model_fields[name]
        meaning = " ".join((field.description or "").split()).replace("|", "\\|")
        assert meaning, f"{model.__name__}.{name} has no docstring"
        cells = [f"`{name}`", *([flags[name]] if with_flags else []), _default(field), meaning]
        lines.append(f"| {' | '.join(cells)} |".replace("|  |", "| |").replace("|  |", "| |"))
    return "\n".join(["", *lines, "", ""])


def _flag(field: FieldInfo, kind: Any, name: str) -> str:
    for flag in field.metadata:
        if isinstance(flag, kind):
            if field.annotation is bool and field.default is True:  # as `fakescan.cli.options.flags` makes it
                return f"`--no-{name.replace('_', '-')}`"
            return f"`{(flag.name or '--' + name.replace('_', '-')).replace('/', '`, `')}`"
    return ""


def _default(field: FieldInfo) -> str:
    from fakescan.settings.replicas import Replicas

    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "needed"
    if isinstance(value, Replicas):
        return str(value)
    if value is None or value in ((), {}) or isinstance(value, BaseModel):
        return f"`{value.kind}`" if hasattr(value, "kind") else ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"`{key}={item:g}`" for key, item in value.items())
    if isinstance(value, tuple):
        return ", ".join(f"`{item}`" for item in value)
    return f"`{value}`" if isinstance(value, str) else f"{value:,}" if isinstance(value, int) else f"{value:g}"


if __name__ == "__main__":
    main()
