"""What users build on, read off the code: `python -m tests.surface > tests/surface.json` after a change on purpose.

Commands, flags and defaults; YAML keys; columns; error codes; HTTP paths, codes and metrics; names in a run folder.
"""

import contextlib
import io
import json
import signal
from typing import Any

import click
from pydantic import BaseModel


def surface() -> dict[str, Any]:
    """All of it, ready for JSON."""
    return {
        "commands": _commands(),
        "exit statuses": _exit_statuses(),
        "settings": _settings(),
        "run folder": _run_folder(),
        "error codes": _error_codes(),
        "http": _http(),
        "entry points": _entry_points(),
    }


def _commands() -> dict[str, Any]:
    from fakescan.cli.main import cli

    found: dict[str, Any] = {}

    def walk(name: str, command: click.Command) -> None:
        every = command.get_params(click.Context(command))
        parameters = [parameter for parameter in every if "--help" not in parameter.opts]
        found[name] = {_spelling(parameter): json.dumps(_parameter(parameter)) for parameter in parameters}
        for child in getattr(command, "commands", {}).values():
            walk(f"{name} {child.name}", child)

    walk("fakescan", cli)
    return found


def _spelling(parameter: click.Parameter) -> str:
    is_argument = isinstance(parameter, click.Argument)
    return parameter.make_metavar(click.Context(click.Command("x"))) if is_argument else ", ".join(parameter.opts)


def _parameter(parameter: click.Parameter) -> dict[str, Any]:
    default = parameter.to_info_dict().get("default")
    facts = {
        "type": parameter.type.name,
        "default": None if callable(default) or repr(default).startswith("Sentinel") else default,
        "required": parameter.required,
        "multiple": parameter.multiple,
        "nargs": parameter.nargs,
        "is flag": getattr(parameter, "is_flag", False),
        "metavar": parameter.metavar,
    }
    return {name: value for name, value in facts.items() if value not in (None, False, 1, [], ())}


def _exit_statuses() -> dict[str, int]:
    """Of commands that end at once, and of the three ways in which any may fail."""
    from fakescan.cli.exit_status import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE

    found = {"failed": EXIT_FAILED, "usage": EXIT_USAGE, "interrupted": EXIT_INTERRUPTED}
    return found | {f"fakescan {line}".strip(): _status(line.split()) for line in _COMMAND_LINES}


_COMMAND_LINES = (
    "--version", "--help", "nonsense", "scan", "scan /nowhere --output /tmp/nowhere", "scan --limit 0",
    "index /nowhere", "verify /nowhere", "compact /nowhere", "train /nowhere.yaml", "evaluate", "calibrate",
    "check", "check /", "check --engine fake /nowhere", "summary", "summary /nowhere", "serve --port 0 --no-auth",
    "serve", "keys list --file /nowhere", "data validate /nowhere", "data stats /nowhere", "data forge /nowhere",
)  # fmt: skip


def _status(arguments: list[str]) -> int:
    from fakescan.cli.main import main

    on_sigterm = signal.getsignal(signal.SIGTERM)
    quiet = io.StringIO()
    try:
        with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
            main(arguments)
    except SystemExit as ended:
        return int(ended.code or 0)
    finally:
        signal.signal(signal.SIGTERM, on_sigterm)


def _settings() -> dict[str, Any]:
    from fakescan.check.config import CheckConfig
    from fakescan.evaluate.config import CalibrateConfig, EvaluateConfig
    from fakescan.forge.config import ForgeConfig
    from fakescan.scan.config import ScanConfig
    from fakescan.serve.api.uploads import DetectOptions
    from fakescan.serve.config import ServeConfig
    from fakescan.serve.scans.state import ScanRequest
    from fakescan.train.config import TrainConfig

    models = {
        "scan": ScanConfig,
        "check": CheckConfig,
        "train": TrainConfig,
        "evaluate": EvaluateConfig,
        "calibrate": CalibrateConfig,
        "forge": ForgeConfig,
        "serve": ServeConfig,
        "POST /v1/scans": ScanRequest,
        "POST /v1/detect": DetectOptions,
    }
    return {name: _keys(model) for name, model in models.items()}


def _keys(model: type[BaseModel]) -> dict[str, Any]:
    """Every key below a model as `part.key`, with type, bounds and default."""
    schema = model.model_json_schema()
    definitions = schema.get("$defs", {})
    found: dict[str, Any] = {}

    def walk(part: dict[str, Any], prefix: str) -> None:
        for name, field in part.get("properties", {}).items():
            found[f"{prefix}{name}"] = json.dumps(_plain(field))
            for inner in _references(field):
                kind = definitions[inner].get("properties", {}).get("kind", {}).get("const")
                walk(definitions[inner], f"{prefix}{name}{f'={kind}' if kind else ''}.")

    walk(schema, "")
    return dict(sorted(found.items()))


def _references(field: Any) -> list[str]:
    if isinstance(field, dict):
        own = [field["$ref"].rpartition("/")[2]] if "$ref" in field else []
        return own + [name for key, value in field.items() if key != "discriminator" for name in _references(value)]
    return [name for value in field for name in _references(value)] if isinstance(field, list) else []


def _plain(field: Any) -> Any:
    """A field's schema without words and class names."""
    if isinstance(field, dict):
        if "$ref" in field:
            return {"default": _plain(field["default"])} if "default" in field else "settings of its own"
        left_out = ("title", "description", "discriminator")
        return {name: _plain(value) for name, value in field.items() if name not in left_out}
    return [_plain(value) for value in field] if isinstance(field, list) else field


def _run_folder() -> dict[str, Any]:
    from fakescan.run.compact import CompactIndex
    from fakescan.run.counts import COUNTS_KEY, Counts
    from fakescan.run.parts import part_name
    from fakescan.run.run_file import RunFile
    from fakescan.run.schema import RESULT_SCHEMA
    from fakescan.run.stability.columns import STRIP_FIELDS
    from fakescan.sources.manifest import MANIFEST_SCHEMA, ManifestInfo
    from fakescan.train.metrics_actor import StepMetrics

    return {
        "parts": [f"parts/{part_name(7)}"],
        "results": [f"{field.name}: {field.type}{'' if field.nullable else ', never null'}" for field in RESULT_SCHEMA],
        "results with a stability strip": [f"{field.name}: {field.type}" for field in STRIP_FIELDS],
        "metadata of a part": {key.decode(): value.decode() for key, value in RESULT_SCHEMA.metadata.items()},
        "counts of a part": {COUNTS_KEY.decode(): json.loads(Counts().to_json())},
        "manifest": [f"{field.name}: {field.type}" for field in MANIFEST_SCHEMA],
        "manifest.json": _keys(ManifestInfo),
        "run.json": _keys(RunFile),
        "compact/index.json": _keys(CompactIndex),
        "metrics.jsonl": _keys(StepMetrics),
    }


def _error_codes() -> list[str]:
    from fakevlm.errors import ErrorCode

    return [str(code) for code in ErrorCode]


def _http() -> dict[str, Any]:
    from fastapi import FastAPI

    from fakescan.engine.config import SimulatedConfig
    from fakescan.serve.api.routes import make_app
    from fakescan.serve.config import ServeConfig
    from fakescan.serve.detector import Detector
    from fakescan.serve.gate.auth import PUBLIC, ROUTES
    from fakescan.serve.gate.metrics import GateMetrics, Levels
    from fakescan.serve.gate.own.answers import page_files
    from fakescan.serve.problem import STATUS

    async def admit(mark: str) -> bool:
        return True

    detector = Detector(ServeConfig(no_auth=True, engine=SimulatedConfig()))
    inner: Any = make_app(detector, _NoScans(), admit)  # type: ignore[arg-type]
    while not isinstance(inner, FastAPI):
        inner = inner._app
    routes = {f"{' '.join(sorted(route.methods))} {route.path}" for route in inner.routes if hasattr(route, "methods")}
    metrics = GateMetrics(lambda: Levels(0, 0, 0, {})).text().decode()
    schemas = inner.openapi()["components"]["schemas"]
    detector.close()
    bodies = ("Detection", "ProblemBody", "ScanList", "ScanState")
    return {
        "routes": sorted(routes),
        "answered by the gate": sorted({path for path, route in ROUTES.items() if route.is_own} | set(page_files())),
        "without a key": sorted(PUBLIC),
        "problems": dict(sorted(STATUS.items())),
        "metrics": sorted({line.split()[2] for line in metrics.splitlines() if line.startswith("# TYPE")}),
        "answers": {name: sorted(schemas[name]["properties"]) for name in bodies},
    }


class _NoScans:
    """Routes are declared, never called."""


def _entry_points() -> dict[str, Any]:
    from importlib import import_module

    from fakescan.serve.app import CONFIG_VARIABLE
    from fakescan.serve.gate.control_client import APP_VARIABLE
    from fakescan.serve.serve_file import GATE, GATE_VARIABLE, IMPORT_PATH

    found = []
    for path in (IMPORT_PATH, GATE):
        module, _, name = path.partition(":")
        assert callable(getattr(import_module(module), name))
        found.append(path)
    return {"import paths": found, "variables": sorted([GATE_VARIABLE, CONFIG_VARIABLE, APP_VARIABLE, "FAKEVLM_CACHE"])}


if __name__ == "__main__":
    print(json.dumps(surface(), indent=1, default=str))
