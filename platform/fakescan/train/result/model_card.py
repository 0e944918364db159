"""The model card of a trained model: what it was made from, how, and how good it was on held-out images."""

from datetime import UTC, datetime

from fakescan.storage.url import redact
from fakescan.train.config import TrainConfig
from fakescan.train.metrics_actor import TrainResult
from fakevlm.checkpoint.card import CARD
from fakevlm.checkpoint.model_card import calibration_lines
from fakevlm.verdict import Calibration

_NAMES = {
    "eval_accuracy": "accuracy at score 0.5",
    "eval_f1_fake": "F1 of class fake",
    "eval_f1_real": "F1 of class real",
    "eval_auroc": "AUROC",
    "eval_log_loss": "log loss of the verdict (nats)",
}


def model_card(config: TrainConfig, result: TrainResult) -> str:
    """The text of the card."""
    parts = ", ".join(f"{name} {mode}" for name, mode in config.modes.items())
    lines = [
        f"- trained parts: {parts}",
        f"- {work_done(config, result)}",
        f"- {config.batch_size} samples a step, peak learning rate {config.lr:g}, seed {config.seed}",
        f"- {_data(result)}",
        f"- prompt and prompt format: in `{CARD}`, which `fakescan scan` reads",
    ]
    return f"""---
tags: [fakevlm, synthetic-image-detection]
base_model: {redact(config.model)}
---
# {config.name}

A LLaVA that says whether an image is real or fake, and why. Made by `fakescan train` on
{datetime.now(UTC):%Y-%m-%d} from `{redact(config.model)}` with the data at `{redact(config.data)}`.

{chr(10).join(lines)}

## Held-out figures

{_figures(config, result)}

## Calibration

{calibration_lines(Calibration())}
"""


def work_done(config: TrainConfig, result: TrainResult) -> str:
    """Steps and epochs that the weights have really seen, and why there were no more."""
    step = result.exported_step
    text = f"{step:,} optimizer steps, {step / result.steps_per_epoch:.4g} epochs"
    if step != result.steps:
        text += f" (the best of {result.steps:,} steps by {config.best_by})"
    if result.stopped_early:
        text += f"; ended after {config.patience} evaluations without a better {config.best_by}"
    return text


def _data(result: TrainResult) -> str:
    gone = {"left out by name": result.left_out, "left out because their image cannot be read": result.bad_images}
    said = "".join(f", {count:,} {why}" for why, count in gone.items() if count)
    return f"{result.samples:,} records{said}"


def _figures(config: TrainConfig, result: TrainResult) -> str:
    metrics = dict(result.metrics)
    count = metrics.pop("eval_samples", None)
    if not metrics or count is None:
        return "None: nothing was held out."
    rows = "\n".join(
        f"| {_NAMES.get(name, name.removeprefix('eval_'))} | {value:.4f} |" for name, value in metrics.items()
    )
    chosen = " They chose the checkpoint, so that they are a little too good." if config.best_by else ""
    return (
        f"On {int(count):,} images of the split `{result.held_out}` at step {result.exported_step:,}:\n\n"
        f"| | |\n|---|---|\n{rows}\n\nThey say nothing about images of other origins.{chosen}"
    )
