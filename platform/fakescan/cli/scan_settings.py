"""From a YAML file and flags to a checked configuration; every mistake is one line that names the setting."""

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fakescan.cli.flags import engine_setting, joined_store, split_extensions, store_settings
from fakescan.scan.config import ScanConfig
from fakescan.settings.yaml_file import check_job_output, one_line, read_yaml
from fakevlm.errors import UserError


def scan_config(file: Path | None, flags: dict[str, Any]) -> ScanConfig:
    """The scan that a YAML file describes, with the flags that were given in place of its settings."""
    settings = read_yaml(file) if file is not None else {}
    for name in ("input", "output", "model"):
        given = store_settings(name, flags)
        if given:
            settings[f"{name}_store"] = joined_store(settings.get(f"{name}_store"), given)
    plain = {key: value for key, value in flags.items() if key in ScanConfig.model_fields}
    plain["extensions"] = split_extensions(flags.get("extensions"))
    plain["engine"] = engine_setting(settings.get("engine"), flags.get("engine"))
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
