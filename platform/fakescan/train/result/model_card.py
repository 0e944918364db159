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
        *_shown(config),
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
    fakes = "" if result.fakes is None else f", {result.fakes:,} of them fake"
    return f"{result.samples:,} records{fakes}{said}"


def _shown(config: TrainConfig) -> list[str]:
    """What was shown of the records but as they are, and what it means for scores."""
    lines = []
    if config.augment is not None:
        lines.append(
            f"- images changed at random while training: {config.augment.augmentation(config.seed)}, real and fake "
            "ones alike; held-out images as they are"
        )
    if config.balance == "sampling":
        lines.append("- both classes shown equally often: the rarer one's records several times an epoch")
    if config.balance == "weights":
        lines.append("- both classes count alike in the loss: the rarer one's answers weigh more")
    weights = config.class_weights
    if weights is not None:
        lines.append(f"- weights in the loss: fake {weights.fake:g}, real {weights.real:g}")
    if config.balance is not None or weights is not None:
        lines.append("- so a score, until it is calibrated, is not that of the data's own share of fakes")
    return lines


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
