"""From flags to a checked configuration; every mistake is one line that names the setting."""

from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import ValidationError

from fakescan.cli.flags import store_from_flags
from fakescan.evaluate.config import CalibrateConfig, EvaluateConfig
from fakescan.settings.yaml_file import check_job_output, one_line
from fakevlm.errors import UserError
from fakevlm.metrics.distortion import parse_conditions

Config = TypeVar("Config", bound=EvaluateConfig)


def evaluate_config(flags: dict[str, Any]) -> EvaluateConfig:
    """The evaluation that the flags of `fakescan evaluate` describe. Raises UserError."""
    return _config(EvaluateConfig, "evaluate", flags)


def answers_config(flags: dict[str, Any]) -> EvaluateConfig | None:
    """Where the labels of `fakescan evaluate --answers` are; None without --data: in the file itself."""
    return _config(EvaluateConfig, "evaluate", flags, needed=("data",)) if flags.get("data") else None


def calibrate_config(flags: dict[str, Any]) -> CalibrateConfig:
    """The calibration that the flags of `fakescan calibrate` describe. Raises UserError."""
    return _config(CalibrateConfig, "calibrate", flags)


def _config(
    kind: type[Config], command: str, flags: dict[str, Any], needed: Sequence[str] = ("data", "output")
) -> Config:
    given = {name: value for name, value in flags.items() if name in kind.model_fields and value is not None}
    for name in needed:
        if not given.get(name):
            raise UserError(f"{name}: missing; name it with --{name}")
    if output := given.setdefault("output", ""):
        check_job_output("output", str(output))
    if flags.get("engine"):
        given["engine"] = {"kind": flags["engine"]}
    given["explain"] = not flags.get("no_explain")
    try:
        given["conditions"] = parse_conditions(flags.get("robustness") or "none")
    except UserError as error:
        raise UserError(f"robustness: {error}") from None
    stores = {f"{name}_store": store_from_flags(name, flags) for name in ("data", "output", "model")}
    try:
        return kind.model_validate({**given, **stores})
    except ValidationError as error:
        raise UserError(one_line(error, command=command)) from None
