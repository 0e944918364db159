"""The settings of a file as --help lists them: names, defaults and meanings, those of parts after their part."""

from typing import get_args

from pydantic import BaseModel

from fakescan.cli.options.defaults import default_in_words, help_and_default
from fakescan.storage.store import Store


def settings_rows(model: type[BaseModel], prefix: str = "") -> list[tuple[str, str]]:
    """A row for every setting: its name with points, as `--set` takes it, and its meaning and default."""
    rows = []
    for name, field in model.model_fields.items():
        words, unset = help_and_default(field)
        part = _part(field.annotation)
        if part is Store:
            words = f"{words.rstrip('.')}: {', '.join(Store.model_fields)}."
        default = "required" if field.is_required() else f"default: {unset or default_in_words(field) or 'none'}"
        rows.append((f"{prefix}{name}", words if part and not unset else f"{words} [{default}]".strip()))
        if part and part is not Store:
            rows += settings_rows(part, f"{prefix}{name}.")
    return rows


def _part(annotation: object) -> type[BaseModel] | None:
    """The class of a setting that has settings of its own."""
    for kind in (annotation, *get_args(annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None
