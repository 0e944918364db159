"""`fakescan evaluate` and `fakescan calibrate`: parse, build the configuration, run, print."""

from pathlib import Path
from typing import Any

import click

from fakescan.cli.options.command import SettingsCommand
from fakescan.cli.options.option import option, ray_address
from fakescan.settings.flag import FlagGroup

_NEEDED = {"data": "--data", "output": "--output"}
_ROBUSTNESS: dict[str, Any] = {"metavar": "paper|wide|strip|NAME,…", "group": FlagGroup.MEASURES, "unset": "none"}


@click.command(
    cls=SettingsCommand,
    settings="fakescan.evaluate.config:EvaluateConfig",
    examples=[
        ("Measure a checkpoint", "fakescan evaluate --data FakeClue -o eval --model lingcco/fakeVLM"),
        ("Compare two evaluations", "fakescan evaluate --compare eval eval-new"),
        ("Count answers that exist", "fakescan evaluate --answers answers.json"),
    ],
)
@option("--no-explain", is_flag=True, group=FlagGroup.MEASURES, help="Score only: no explanations, no ROUGE_L and CSS.")
@option("--robustness", **_ROBUSTNESS, help="Judge distorted images too.")
@option(
    "--compare",
    nargs=2,
    metavar="RUN_A RUN_B",
    group=FlagGroup.MEASURES,
    unset="none",
    help="Compare two finished evaluations; needs nothing else, and writes a report with -o.",
)
@option(
    "--answers",
    type=click.Path(path_type=Path),
    metavar="FILE",
    group=FlagGroup.MEASURES,
    unset="none",
    help="Count the answers in a JSON, JSONL, CSV or Parquet file; without a model.",
)
@ray_address()
@click.pass_obj
def evaluate(
    verbose: bool,
    /,
    ray_address: str | None,
    compare: tuple[str, str] | None,
    answers: Path | None,
    **flags: Any,
) -> None:
    """Measure a checkpoint on labelled images: the paper's tables, controls, robustness.

    Runs the scan's own pipeline, so that its numbers are those of production. The same command again resumes.
    """
    from fakescan.cli.options.flags import settings_of, store_from_flags

    if compare is not None:
        from fakescan.evaluate.compare import compare as difference
        from fakescan.evaluate.compare import print_comparison, write_comparison

        store = store_from_flags("output", flags)
        found = difference(*compare, store)
        print_comparison(found)
        if flags["output"]:
            page, numbers = write_comparison(found, flags["output"], store)
            click.echo(f"report: {page}   numbers: {numbers}")
        return
    from fakescan.evaluate.config import EvaluateConfig

    if answers is not None:
        from fakescan.evaluate.answers import print_answers, run_answers

        data = None  # the labels are in the file
        if flags["data"]:
            # --output is where the numbers go, and need not be given.
            data = settings_of(EvaluateConfig, flags, command="evaluate", file={"output": "", **_derived(flags)})
        print_answers(run_answers(answers, data, flags["threshold"]))
        return
    config = settings_of(EvaluateConfig, flags, command="evaluate", file=_derived(flags), required=_NEEDED)
    from fakescan.evaluate.driver import run_evaluation
    from fakescan.evaluate.results import METRICS, REPORT
    from fakescan.evaluate.table import print_results

    done = run_evaluation(config, ray_address=ray_address, verbose=verbose)
    print_results(done.results)
    click.echo(f"report: {done.url}/{REPORT}   numbers: {done.url}/{METRICS}")


@click.command(
    cls=SettingsCommand,
    settings="fakescan.evaluate.config:CalibrateConfig",
    without=("calibration", "threshold", "max_new_tokens", "training", "training_split", "exclude_duplicates"),
    examples=[
        ("At most 1 % of the real images called fake", "fakescan calibrate --data val -o calibration --fpr 0.01"),
        ("For images that were sent around", "fakescan calibrate --data val -o calibration --robustness wide"),
        ("From labels of a run's own images", "fakescan calibrate --run audit --labels labels.jsonl -o calibration"),
        ("Use it with another checkpoint", "fakescan scan photos -o audit --calibration calibration/calibration.json"),
    ],
)
@option("--robustness", **_ROBUSTNESS, help="Fit to distorted copies of the images too.")
@option(
    "--run",
    metavar="RUN",
    group=FlagGroup.DATA,
    unset="none",
    help="Instead of --data: a run whose sample was reviewed (docs/review.md).",
)
@option(
    "--labels",
    multiple=True,
    metavar="FILE",
    group=FlagGroup.DATA,
    unset="RUN/labels",
    help="With --run: file of labels (.jsonl), or folder with such files.",
)
@option(
    "--design",
    default="estimate",
    metavar="estimate|threshold",
    group=FlagGroup.DATA,
    help="With --run: the sample that the labels are of.",
)
@ray_address()
@click.pass_obj
def calibrate(
    verbose: bool,
    /,
    ray_address: str | None,
    run: str | None,
    labels: tuple[str, ...],
    design: str,
    **flags: Any,
) -> None:
    """Fit temperature, bias, threshold and the uncertain band to labelled images that the model was not trained on.

    A checkpoint in a local folder gets the calibration; `scan --calibration` uses it with any other. With --run nothing
    is judged: the logits are the run's, and each label counts as many times as the images that it stands for.
    """
    if run is not None or labels:
        from fakescan.cli.audit.calibrate_labels import calibrate_run

        calibrate_run(run, labels, design, flags)
        return
    from fakescan.cli.options.flags import settings_of
    from fakescan.evaluate.config import CalibrateConfig

    config = settings_of(CalibrateConfig, flags, command="calibrate", file=_derived(flags), required=_NEEDED)
    from fakescan.evaluate.calibrate import print_calibration, run_calibration

    print_calibration(run_calibration(config, ray_address=ray_address, verbose=verbose))


def _derived(flags: dict[str, Any]) -> dict[str, Any]:
    """The settings that --robustness and --no-explain stand for. Raises UserError."""
    from fakevlm.errors import UserError
    from fakevlm.metrics.distortion import parse_conditions

    try:
        conditions = parse_conditions(flags.get("robustness") or "none")
    except UserError as error:
        raise UserError(f"robustness: {error}") from None
    return {"conditions": conditions, "explain": not flags.get("no_explain")}
