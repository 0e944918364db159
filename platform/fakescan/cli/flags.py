"""What flags that several commands share mean as settings."""

from typing import Any

from pydantic import ValidationError

from fakescan.settings.yaml_file import one_line
from fakescan.storage.store import Store
from fakevlm.errors import UserError

_STORE_FIELDS = {"endpoint": "endpoint_url", "profile": "profile", "region": "region", "anon": "anon"}


def store_from_flags(name: str, flags: dict[str, Any]) -> Store:
    """The store that the flags `--NAME-…` describe."""
    try:
        return Store.model_validate(store_settings(name, flags))
    except ValidationError as error:
        raise UserError(f"{name} store: {one_line(error)}") from None


def split_extensions(text: str | None) -> tuple[str, ...] | None:
    """`jpg,png` as a tuple; None when not given."""
    return tuple(part.strip() for part in text.split(",") if part.strip()) if text else None


def store_settings(name: str, flags: dict[str, Any]) -> dict[str, Any]:
    """What the flags `--NAME-…` say, by the names that `Store` has for it."""
    found = {field: flags.get(f"{name}_{flag}") for flag, field in _STORE_FIELDS.items()}
    settings: dict[str, Any] = {field: value for field, value in found.items() if value}
    options = {}
    for option in flags.get(f"{name}_option") or ():
        key, equals, value = option.partition("=")
        if not equals or not key:
            raise UserError(f"--{name}-option: {option!r} is not KEY=VALUE")
        options[key] = value
    return {**settings, "options": options} if options else settings


def joined_store(from_file: Any, given: dict[str, Any]) -> Any:
    """A store of the file with what flags say in place of its settings; options are replaced one by one."""
    if not isinstance(from_file, dict):
        return from_file or given
    options = from_file.get("options")
    if isinstance(options, dict) and "options" in given:
        given = {**given, "options": {**options, **given["options"]}}
    return {**from_file, **given}


def engine_setting(from_file: Any, flag: str | None) -> Any:
    """`--engine fake` chooses the kind; the file's further settings of the same kind stay."""
    if isinstance(from_file, str):
        from_file = {"kind": from_file}
    if isinstance(from_file, dict):
        from_file = {"kind": "vllm", **from_file}
    if flag is None:
        return from_file
    if isinstance(from_file, dict) and from_file["kind"] == flag:
        return from_file
    return {"kind": flag}
