"""From a YAML file and `--set` flags to a checked training configuration; every mistake is one line."""

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from fakescan.settings.yaml_file import check_job_output, one_line, read_yaml
from fakescan.train.config import TrainConfig
from fakevlm.errors import UserError


def train_config(file: Path, changes: tuple[str, ...] = ()) -> TrainConfig:
    """The training that a YAML file describes, with the changes NAME=VALUE in place of its settings."""
    settings = read_yaml(file)
    for change in changes:
        name, equals, value = change.partition("=")
        if not equals or not name:
            raise UserError(f"--set: {change!r} is not NAME=VALUE")
        _put(settings, name.split("."), yaml.safe_load(value), change)
    for required in ("model", "data", "storage_path"):
        if not settings.get(required):
            raise UserError(f"{required}: missing in {file}; add it, or --set {required}=…")
    check_job_output("storage_path", str(settings["storage_path"]))
    try:
        return TrainConfig.model_validate(settings)
    except ValidationError as error:
        raise UserError(one_line(error, command="train")) from None


def _put(settings: dict[str, Any], path: list[str], value: Any, change: str) -> None:
    place = settings
    for name in path[:-1]:
        inner = place.setdefault(name, {})
        if not isinstance(inner, dict):
            raise UserError(f"--set: {change!r}: {name} has no settings of its own")
        place = inner
    place[path[-1]] = value
