"""`fakescan train`: parse, build the configuration, run."""

from pathlib import Path
from typing import Any

import click

from fakevlm.errors import UserError


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--set", "changes", multiple=True, metavar="NAME=VALUE", help="Change a setting of CONFIG. Repeatable.")
@click.option("--ray-address", metavar="ADDR", help="Ray cluster (default: RAY_ADDRESS, else a local one).")
@click.pass_obj
def train(verbose: bool, /, config: Path, changes: tuple[str, ...], ray_address: str | None) -> None:
    """Fine-tune a LLaVA as the YAML file CONFIG says; the same command again resumes.

    Settings of parts are written with a point: --set llm.mode=lora --set lora.rank=8.
    """
    from fakescan.train.settings import train_config

    settings = train_config(config, changes)
    from fakescan.train.driver import run_train

    _report(run_train(settings, ray_address=ray_address, verbose=verbose))


def _report(done: Any) -> None:
    from fakescan.train.folder import PLOT, TENSORBOARD
    from fakescan.train.metrics_actor import LOG

    notes = done.notes
    if not notes:
        raise UserError(f"name: the run {done.url} has nothing left to do; use another name to train again")
    losses = [note.loss for note in notes if note.loss is not None]
    print(f"model: {done.model}")
    print(f"log: {done.url}/{LOG}, {PLOT}, {TENSORBOARD}/")
    print(f"steps: {notes[-1].step:,}   loss {losses[0]:.4f} at first, {losses[-1]:.4f} at the end")
    last = next((note.metrics for note in reversed(notes) if note.metrics), None)
    if last is not None:
        words = [f"{name.removeprefix('eval_')} {value:.3f}" for name, value in last.items() if name != "eval_samples"]
        print(f"held out: {int(last['eval_samples']):,} samples   {'   '.join(words)}")
