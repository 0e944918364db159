"""Settings from YAML files, and their mistakes in one line."""

import os
import re
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fakevlm.errors import UserError


def read_yaml(file: Path) -> dict[str, Any]:
    """The settings of a YAML file. Raises UserError naming it."""
    import yaml

    try:
        settings = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"--config: cannot read {file}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"--config: {file} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(settings, dict):
        raise UserError(f"--config: {file} must hold settings as `name: value` lines")
    return {str(key): value for key, value in settings.items()}


def check_job_output(setting: str, output: str) -> None:
    """Raise UserError for a relative path inside a Ray job, which runs in a copy of its folder that is deleted."""
    if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ and "://" not in output and not Path(output).is_absolute():
        raise UserError(
            f"{setting}: {output} would be lost with the job's copy of its folder; give a URL or a full path"
        )


def first_mistake(error: ValidationError, *, command: str | None = "scan", noun: str = "setting") -> str:
    """A pydantic error as `setting: what is wrong (got value)`, the first one and the number of others.

    `command` is whose help an unknown setting is looked up in; None for what came in a request, where `noun` says what
    the parts of one are called.
    """
    first, *others = error.errors(include_url=False)
    message = first["msg"].removeprefix("Value error, ")
    where = ".".join(str(part) for part in first["loc"])
    if not where:  # of several settings together; the message names them, perhaps as `setting: what is wrong`
        whole = "settings" if command else "request"
        where, _, message = message.partition(": ") if re.match(r"[a-z_]+: ", message) else (whole, "", message)
    got = first.get("input")
    shown = f" (got {got!r})" if isinstance(got, str | int | float) and "store" not in where else ""
    more = f"; and {len(others)} more" if others else ""
    if first["type"] == "extra_forbidden":
        help_ = f"; see fakescan {command} --help" if command else ""
        return f"{where}: unknown {noun}{help_}{more}"
    return f"{where}: {message}{shown}{more}"
