"""A scan as a Ray job: its settings, the command that runs it, and the environment the command finds."""

import os
import shlex
import sys
import sysconfig
from pathlib import Path
from typing import Any

import ray
import yaml
from pydantic import JsonValue

import fakevlm
from fakescan.storage.store import Store
from fakevlm.errors import UserError

_END = "END_OF_SETTINGS"
_ENVIRONMENT = ("working_dir", "py_modules", "pip", "uv", "conda", "image_uri", "py_executable", "env_vars")
"""The parts of this process's runtime environment that bring code and variables."""


def command(settings: dict[str, Any]) -> str:
    """The shell command that scans with these settings, those of a `fakescan scan --config` file.

    The job runs on another machine, where there is no such file, so the command contains it. Everybody who sees the
    dashboard can read it there, and run it again to resume a scan that has stopped. It runs the Python that runs this
    process, by its path, which the head has when both were started from one environment or image; else, as in
    docs/jobs.md, the first `python` on the head's PATH. `exec` lets Ray's signals reach it.
    """
    # ASCII, without folded lines: no value can end the document, and no shell or locale changes it.
    text = yaml.safe_dump(settings, sort_keys=False, width=float("inf"))
    python = f'"$(command -v {shlex.quote(sys.executable)} || echo python)"'
    return f"exec {python} -m fakescan.cli scan --config /dev/stdin <<'{_END}'\n{text}{_END}\n"


def environment(*, inherit: bool) -> dict[str, Any]:
    """The job's runtime environment, in which `fakescan` can be imported as it can be here.

    With `inherit`, for a job on the same cluster, it is this process's own: the packages and variables that the
    server's job brought. Packages that lie anywhere but among the installed ones are found through PYTHONPATH.
    """
    runtime_env: dict[str, Any] = {}
    if inherit and ray.is_initialized():
        own = dict(ray.get_runtime_context().runtime_env)
        runtime_env = {name: own[name] for name in _ENVIRONMENT if name in own}
    variables = dict(runtime_env.get("env_vars") or {})
    paths = [*_source_folders(), variables.get("PYTHONPATH") or os.environ.get("PYTHONPATH", "")]
    if any(paths):
        runtime_env["env_vars"] = {**variables, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}
    return runtime_env


def _source_folders() -> list[str]:
    """Where the packages were imported from, unless they are installed."""
    installed = {Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib")}
    folders = (Path(__file__).resolve().parents[3], Path(fakevlm.__file__).resolve().parents[1])
    return [str(folder) for folder in dict.fromkeys(folders) if folder not in installed]


def store_settings(setting: str, store: Store) -> dict[str, Any]:
    """A store as the job's settings have it. Raises UserError, naming `setting`, for a secret that would be shown."""
    plain: dict[str, Any] = store.model_dump(mode="json", exclude={"options"}, exclude_defaults=True)
    options = {name: secret.get_secret_value() for name, secret in store.options.items()}
    for name, value in options.items():
        if _may_be_secret(value):
            raise UserError(
                f"{setting}.options.{name}: the settings of a job can be read in Ray's dashboard; write env:NAME, and "
                "set that variable for the head and for the server"
            )
    return {**plain, "options": options} if options else plain


def _may_be_secret(value: JsonValue) -> bool:
    if isinstance(value, dict):
        return any(_may_be_secret(item) for item in value.values())
    if isinstance(value, list):
        return any(_may_be_secret(item) for item in value)
    return isinstance(value, str) and not value.startswith("env:")
