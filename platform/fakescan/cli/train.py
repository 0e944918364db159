"""`fakescan train`: parse, build the configuration, run."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fakescan.cli.options.command import SettingsFileCommand
from fakescan.cli.options.option import option, ray_address
from fakevlm.errors import UserError

if TYPE_CHECKING:
    from fakescan.train.config import TrainConfig
    from fakescan.train.driver import TrainOutcome


@click.command(
    cls=SettingsFileCommand,
    settings="fakescan.train.config:TrainConfig",
    examples=[
        ("Train, or resume", "fakescan train train.yaml"),
        ("Train low-rank additions", "fakescan train train.yaml --set llm.mode=lora --set lora.rank=8"),
        ("Train on a cluster", "fakescan train train.yaml --set workers=8 --ray-address HEAD:6379"),
    ],
)
@click.argument("config", type=click.Path(path_type=Path))
@option("--set", "changes", multiple=True, metavar="NAME=VALUE", unset="none", help="Change a setting of CONFIG.")
@ray_address()
@click.pass_obj
def train(verbose: bool, /, config: Path, changes: tuple[str, ...], ray_address: str | None) -> None:
    """Fine-tune a LLaVA as the YAML file CONFIG says; the same command again resumes.

    Settings of parts are written with a point: --set llm.mode=lora --set lora.rank=8.
    """
    settings = train_config(config, changes)
    from fakescan.train.driver import run_train

    _report(run_train(settings, ray_address=ray_address, verbose=verbose))


def train_config(file: Path, changes: tuple[str, ...] = ()) -> "TrainConfig":
    """The training that a YAML file describes, with the changes NAME=VALUE in place of its settings."""
    from fakescan.cli.options.flags import settings_of
    from fakescan.settings.yaml_document import YamlMistakeError, parse_yaml
    from fakescan.settings.yaml_file import check_job_output, read_yaml
    from fakescan.train.config import TrainConfig

    settings = read_yaml(file, "CONFIG")
    for change in changes:
        name, equals, value = change.partition("=")
        if not equals or not name:
            raise UserError(f"--set: {change!r} is not NAME=VALUE")
        try:
            parsed = parse_yaml(value)
        except YamlMistakeError as error:
            raise UserError(f"--set: {change!r}: the value is not YAML: {error}") from None
        _put(settings, name.split("."), parsed, change)
    is_misspelt = bool(settings.keys() - TrainConfig.model_fields.keys())  # which is then what is wrong
    for required in ("model", "data", "storage_path"):
        if not settings.get(required) and not is_misspelt:
            raise UserError(f"{required}: missing in {file}; add it, or --set {required}=…")
    if settings.get("storage_path"):
        check_job_output("storage_path", str(settings["storage_path"]))
    return settings_of(TrainConfig, {}, command="train", file=settings)


def _put(settings: dict[str, Any], path: list[str], value: Any, change: str) -> None:
    place = settings
    for name in path[:-1]:
        inner = place.setdefault(name, {})
        if not isinstance(inner, dict):
            raise UserError(f"--set: {change!r}: {name} has no settings of its own")
        place = inner
    place[path[-1]] = value


def _report(outcome: "TrainOutcome") -> None:
    from fakescan.train.folder import PLOT, TENSORBOARD
    from fakescan.train.metrics_actor import LOG

    log = outcome.log
    if not log:
        raise UserError(f"name: the run {outcome.url} has nothing left to do; use another name to train again")
    losses = [entry.loss for entry in log if entry.loss is not None]
    print(f"model: {outcome.model}")
    print(f"log: {outcome.url}/{LOG}, {PLOT}, {TENSORBOARD}/")
    print(f"steps: {log[-1].step:,}   loss {losses[0]:.4f} at first, {losses[-1]:.4f} at the end")
    last = next((entry.metrics for entry in reversed(log) if entry.metrics), None)
    if last is not None:
        words = [f"{name.removeprefix('eval_')} {value:.3f}" for name, value in last.items() if name != "eval_samples"]
        print(f"held out: {int(last['eval_samples']):,} samples   {'   '.join(words)}")
