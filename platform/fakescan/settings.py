"""From a YAML file and flags to a checked configuration; every mistake is one line that names the setting."""

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fakescan.scan.config import ScanConfig
from fakescan.storage import Store
from fakescan.yaml_settings import check_job_output, one_line, read_yaml
from fakevlm.errors import UserError

_STORE_FIELDS = {"endpoint": "endpoint_url", "profile": "profile", "region": "region", "anon": "anon"}


def scan_config(file: Path | None, flags: dict[str, Any]) -> ScanConfig:
    """The scan that a YAML file describes, with the flags that were given in place of its settings."""
    settings = read_yaml(file) if file is not None else {}
    for name in ("input", "output", "model"):
        given = _store_settings(name, flags)
        if given:
            settings[f"{name}_store"] = _joined(settings.get(f"{name}_store"), given)
    plain = {key: value for key, value in flags.items() if key in ScanConfig.model_fields}
    plain["extensions"] = split_extensions(flags.get("extensions"))
    plain["engine"] = _engine(settings.get("engine"), flags.get("engine"))
    # Not `in`: 0 equals False, and `--limit 0` must be refused, not ignored.
    settings |= {key: value for key, value in plain.items() if value is not None and value is not False and value != ()}
    for required in ("source", "output"):
        if not settings.get(required):
            flag = "SOURCE" if required == "source" else "--output"
            raise UserError(f"{required}: missing; name it with {flag} or in the --config file")
    check_job_output("output", str(settings["output"]))
    try:
        return ScanConfig.model_validate(settings)
    except ValidationError as error:
        raise UserError(one_line(error)) from None


def store_from_flags(name: str, flags: dict[str, Any]) -> Store:
    """The store that the flags `--NAME-…` describe."""
    try:
        return Store.model_validate(_store_settings(name, flags))
    except ValidationError as error:
        raise UserError(f"{name} store: {one_line(error)}") from None


def split_extensions(text: str | None) -> tuple[str, ...] | None:
    """`jpg,png` as a tuple; None when not given."""
    return tuple(part.strip() for part in text.split(",") if part.strip()) if text else None


def _store_settings(name: str, flags: dict[str, Any]) -> dict[str, Any]:
    found = {field: flags.get(f"{name}_{flag}") for flag, field in _STORE_FIELDS.items()}
    settings: dict[str, Any] = {field: value for field, value in found.items() if value}
    options = {}
    for option in flags.get(f"{name}_option") or ():
        key, equals, value = option.partition("=")
        if not equals or not key:
            raise UserError(f"--{name}-option: {option!r} is not KEY=VALUE")
        options[key] = value
    return {**settings, "options": options} if options else settings


def _joined(from_file: Any, given: dict[str, Any]) -> Any:
    """A store of the file with what flags say in place of its settings; options are replaced one by one."""
    if not isinstance(from_file, dict):
        return from_file or given
    options = from_file.get("options")
    if isinstance(options, dict) and "options" in given:
        given = {**given, "options": {**options, **given["options"]}}
    return {**from_file, **given}


def _engine(from_file: Any, flag: str | None) -> Any:
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
