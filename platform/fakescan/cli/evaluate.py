"""`fakescan evaluate` and `fakescan calibrate`: parse, build the configuration, run, print."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from fakescan.cli.store_flags import store_options


def _judging(command: Callable[..., Any]) -> Callable[..., Any]:
    """The flags that say which images are judged, by what and where to."""
    for option in reversed(
        (
            click.option(
                "--benchmark",
                default="fakeclue",
                show_default=True,
                metavar="fakeclue|loki|dd-vqa|folder",
                help="Layout of the data; folder is any tree with folders named real and fake.",
            ),
            click.option("--data", metavar="PATH", help="Dataset folder, file of records, or root of the tree."),
            click.option("--split", metavar="NAME", help="File of records in a dataset folder (default: test)."),
            click.option("-o", "--output", metavar="URL", help="Folder or prefix of what comes out; resumed if begun."),
            click.option("--model", metavar="M", help="Checkpoint: local path, hub id or URL."),
            click.option("--sample", type=int, metavar="N", help="Only N images, drawn at random from both classes."),
            click.option("--retry-errors", is_flag=True, help="Judge images again that ended in an error."),
            click.option(
                "--engine", metavar="vllm|fake", help="fake simulates: verdicts mean nothing (default: vllm)."
            ),
            click.option("--replicas", metavar="N|N-M", help="Engines that judge at once (default: 1)."),
            click.option("--gpus-per-replica", type=float, metavar="N", help="Default: 1 where there are GPUs."),
            click.option("--ray-address", metavar="ADDR", help="Ray cluster (default: RAY_ADDRESS, else a local one)."),
            store_options("data", "the data"),
            store_options("output", "the output"),
            store_options("model", "the checkpoint"),
            click.pass_obj,
        )
    ):
        command = option(command)
    return command


@click.command()
@click.option(
    "--calibration", metavar="FILE", help="What `fakescan calibrate` wrote, in place of the checkpoint's own."
)
@click.option("--no-explain", is_flag=True, help="Score only: no explanations, no ROUGE_L and CSS.")
@click.option("--robustness", metavar="paper|wide|NAME,…", help="Judge distorted images too.")
@click.option("--training", metavar="DATA", help="What the checkpoint was trained on, to count near-duplicates.")
@click.option("--training-split", metavar="NAME", help="File of records in it (default: train).")
@click.option("--exclude-duplicates", is_flag=True, help="Leave near-duplicates of the training set out.")
@click.option("--max-new-tokens", type=int, metavar="N", help="Longest explanation, in tokens.")
@click.option("--compare", nargs=2, metavar="RUN_A RUN_B", help="Compare two finished evaluations; needs nothing else.")
@click.option(
    "--answers",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Count the answers in a JSON, JSONL, CSV or Parquet file; without a model.",
)
@_judging
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
    if compare is not None:
        from fakescan.cli.flags import store_from_flags
        from fakescan.evaluate.compare import compare as difference
        from fakescan.evaluate.compare import print_comparison

        print_comparison(difference(*compare, store_from_flags("output", flags)))
        return
    if answers is not None:
        from fakescan.evaluate.answers import print_answers, run_answers
        from fakescan.evaluate.settings import answers_config

        print_answers(run_answers(answers, answers_config(flags)))
        return
    from fakescan.evaluate.settings import evaluate_config

    config = evaluate_config(flags)
    from fakescan.evaluate.driver import run_evaluation
    from fakescan.evaluate.results import METRICS, REPORT
    from fakescan.evaluate.table import print_results

    done = run_evaluation(config, ray_address=ray_address, verbose=verbose)
    print_results(done.results)
    click.echo(f"report: {done.url}/{REPORT}   numbers: {done.url}/{METRICS}")


@click.command()
@click.option("--fpr", type=float, metavar="SHARE", help="Real images that may be called fake (default: 0.01).")
@click.option("--missed", type=float, metavar="SHARE", help="Fakes that may be called real (default: 0.05).")
@click.option("--robustness", metavar="paper|wide|NAME,…", help="Fit to distorted copies of the images too.")
@_judging
def calibrate(verbose: bool, /, ray_address: str | None, **flags: Any) -> None:
    """Fit temperature, bias, threshold and the uncertain band to labelled images that the model was not trained on.

    A checkpoint in a local folder gets the calibration; `scan --calibration` uses it with any other.
    """
    from fakescan.evaluate.settings import calibrate_config

    config = calibrate_config(flags)
    from fakescan.evaluate.calibrate import print_calibrated, run_calibration

    print_calibrated(run_calibration(config, ray_address=ray_address, verbose=verbose))
