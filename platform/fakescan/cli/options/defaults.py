"""Defaults of settings in words, for --help."""

import re

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

_DEFAULT = re.compile(r"\s*Default: (?P<words>.+?)\.(?=\s|$)")


def help_and_default(field: FieldInfo) -> tuple[str, str]:
    """A field's docstring without its sentence `Default: …`, and what that sentence says; empty where it has none."""
    text = " ".join((field.description or "").split())
    found = _DEFAULT.search(text)
    if found is None:
        return text, ""
    return f"{text[: found.start()]}{text[found.end() :]}", found["words"]


def default_in_words(field: FieldInfo) -> str:
    """A field's default as one would write it; empty for none."""
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined or value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple | list):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{name}={item}" for name, item in value.items())
    if hasattr(value, "kind"):  # an engine is chosen by its name
        return str(value.kind)
    if isinstance(value, BaseModel) and type(value).__str__ is BaseModel.__str__:
        return ""  # its parts have defaults of their own
    return str(value)
