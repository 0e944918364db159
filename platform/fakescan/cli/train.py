"""`fakescan train`: parse, build the configuration, run; `fakescan train export` makes a model of a checkpoint."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fakescan.cli.options.command import Command, SettingsFileCommand
from fakescan.cli.options.help_page import write_rows
from fakescan.cli.options.option import option, ray_address
from fakescan.cli.options.store_flags import with_store
from fakescan.cli.options.value_type import Text
from fakevlm.errors import UserError

if TYPE_CHECKING:
    from fakescan.train.config import TrainConfig
    from fakescan.train.driver import DryRun, TrainOutcome
    from fakescan.train.metrics_actor import TrainResult
    from fakescan.train.preflight.reading_cost import ReadingCost


class TrainCommand(SettingsFileCommand):
    """A command of its own that has commands below it as well: a first word that names one of them is that command."""

    commands: dict[str, click.Command] = {}  # noqa: RUF012 - one `train` is made

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """The context of the command below where one is named, else this one's."""
        if args and args[0] in self.commands:
            return self.commands[args[0]].make_context(f"{info_name} {args[0]}", args[1:], parent=parent, **extra)
        return super().make_context(info_name, args, parent=parent, **extra)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands below, then what every command with a file of settings writes."""
        with formatter.section("Commands"):
            write_rows(
                [(f"{name} …", command.get_short_help_str(100)) for name, command in self.commands.items()], formatter
            )
        super().format_options(ctx, formatter)


@click.command(
    cls=TrainCommand,
    settings="fakescan.train.config:TrainConfig",
    examples=[
        ("Train, or resume", "fakescan train train.yaml"),
        ("See what it would take", "fakescan train train.yaml --dry-run"),
        ("Train low-rank additions", "fakescan train train.yaml --set llm.mode=lora --set lora.rank=8"),
        ("Extend a finished run", "fakescan train train.yaml --set max_steps=2000"),
        ("Train on a cluster", "fakescan train train.yaml --set workers=8 --ray-address HEAD:6379"),
    ],
)
@click.argument("config", type=click.Path(path_type=Path))
@option("--set", "changes", multiple=True, metavar="NAME=VALUE", unset="none", help="Change a setting of CONFIG.")
@option("--dry-run", is_flag=True, help="Check everything and say what the run would take; nothing is written.")
@ray_address()
@click.pass_obj
def train(verbose: bool, /, config: Path, changes: tuple[str, ...], dry_run: bool, ray_address: str | None) -> None:
    """Fine-tune a LLaVA as the YAML file CONFIG says; the same command again resumes.

    Settings of parts are written with a point: --set llm.mode=lora --set lora.rank=8.
    """
    settings = train_config(config, changes)
    from fakescan.train import driver

    if dry_run:
        _report_dry_run(settings, driver.dry_run(settings))
    else:
        _report(settings, driver.run_train(settings, ray_address=ray_address, verbose=verbose))


@click.command(
    cls=Command,
    examples=[("The model as it was after 500 steps", "fakescan train export runs/train/checkpoint_0000500 -o early")],
)
@click.argument("checkpoint", type=Text(path="dir"))
@option("-o", "--output", metavar="URL", unset="RUN/model-STEP", help="Folder or URL prefix of the model.")
@with_store("storage", "the run and the output")
def export(checkpoint: str, output: str | None, **flags: Any) -> None:
    """Write the model of CHECKPOINT, a folder of a run such as RUN/checkpoint_0000500, without training on."""
    from fakescan.cli.options.flags import store_from_flags
    from fakescan.train.result.from_checkpoint import export_checkpoint

    made = export_checkpoint(checkpoint, output, store_from_flags("storage", flags))
    print(f"model: {made.url}")
    print(_steps_line(made.result))
    _print_held_out(made.result)


TrainCommand.commands["export"] = export


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


def _report(config: "TrainConfig", outcome: "TrainOutcome") -> None:
    from fakescan.train.folder import PLOT, TENSORBOARD
    from fakescan.train.metrics_actor import LOG

    log, result = outcome.log, outcome.result
    if not outcome.is_new:
        print(f"finished already: {outcome.model}; nothing was written")
        print(f"{_steps_line(result)}; to train on, raise {_longer(config)}, or name another run")
        _print_held_out(result)
        return
    losses = [entry.loss for entry in log if entry.loss is not None]
    print(f"model: {outcome.model}")
    print(f"log: {outcome.url}/{LOG}, {PLOT}, {TENSORBOARD}/")
    at_first = f"   loss {losses[0]:.4f} at first, {losses[-1]:.4f} at the end" if losses else ""
    print(f"steps: {result.steps:,}{at_first}")
    if result.stopped_early:
        print(f"ended early: {config.patience} evaluations without a better {config.best_by}")
    if result.exported_step != result.steps:
        print(f"the model is the best by {config.best_by}: that of step {result.exported_step:,}")
    _print_held_out(result)
    if result.left_out or result.bad_images:
        print(f"left out: {result.left_out:,} records by name, {result.bad_images:,} whose image cannot be read")
    for place in outcome.tracked_at:
        print(f"tracked by {place}")
    if outcome.restarts:
        print(f"restarts after a worker's death or failure: {outcome.restarts}")


def _longer(config: "TrainConfig") -> str:
    return "max_steps" if config.max_steps is not None else "epochs"


def _steps_line(result: "TrainResult") -> str:
    epochs = f"{result.exported_step / result.steps_per_epoch:.4g} epochs"
    of = f" of {result.steps:,}" if result.exported_step != result.steps else ""
    return f"step {result.exported_step:,}{of}, {epochs}"


def _print_held_out(result: "TrainResult") -> None:
    if "eval_samples" not in result.metrics:
        return
    values = {name: value for name, value in result.metrics.items() if name != "eval_samples"}
    words = [f"{name.removeprefix('eval_')} {value:.3f}" for name, value in values.items()]
    print(f"held out: {int(result.metrics['eval_samples']):,} samples   {'   '.join(words)}")


def _report_dry_run(config: "TrainConfig", found: "DryRun") -> None:
    from fakescan.storage.url import file_path, scheme_of
    from fakescan.train.checkpoints.room import free_bytes
    from fakescan.train.driver import needs_line, sampling_lines

    needed = found.needs
    print(needs_line(config, found.inputs, found.preflight, needed))
    for line in sampling_lines(config, found.inputs):
        print(line)
    if found.reading is not None:
        print(f"reading an image takes about {found.reading.plain_ms:.1f} ms of a core, {_augmented(found.reading)}")
    bf16 = config.uses_bf16(gpu=bool(config.gpus_per_worker))
    print(f"memory: about {needed.memory / 1e9:.2f} GB for each of {config.workers} workers, in {_kind(bf16)}")
    room = ""
    if scheme_of(config.storage_path) == "file":
        place, free = free_bytes(Path(file_path(config.storage_path)).absolute())
        room = f"; {free / 1e9:.1f} GB are free at {place}"
    print(
        f"disk: up to {needed.storage / 1e9:.2f} GB in the run's folder{room}; up to {needed.staging / 1e9:.2f} GB of "
        "temporary files of each worker"
    )
    if found.preflight.bad_images:
        print(f"left out: {len(found.preflight.bad_images):,} images that cannot be read")
    if found.finished is not None:
        print(f"finished already ({_steps_line(found.finished)}): the same command without --dry-run writes nothing")
    print("ok: everything that can be checked before Ray starts is sound; nothing was written")


def _augmented(reading: "ReadingCost") -> str:
    size = f"of {reading.pixels / 1e6:.2g} megapixels on average"
    return f"augmented {reading.augmented_ms:.1f} ms (measured on {reading.images} images {size})"


def _kind(bf16: bool) -> str:
    return "bf16" if bf16 else "fp32"
