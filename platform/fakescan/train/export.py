"""The trained model in the layout of llava-1.5-7b-hf, as vLLM, transformers and a scan load it."""

import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fakescan.storage.url import redact
from fakescan.train.config import TrainConfig
from fakescan.train.stepper import Stepper
from fakevlm.checkpoint.card import CARD, Card, write_card
from fakevlm.checkpoint.checkpoint import Checkpoint
from fakevlm.checkpoint.export import write_weights
from fakevlm.data.record import Record

FOLDER = "model"
"""Folder of the result in the run's folder."""
ADAPTER = "adapter"
"""Folder of LoRA's own weights in the run's folder, where no part was trained in full."""


def export(stepper: Stepper, config: TrainConfig, checkpoint: Checkpoint, rank: int) -> None:
    """Write the model into the run's folder. All workers call it; the first one writes."""
    weights = _weights(stepper, config)
    if "full" not in config.modes.values():
        _export_adapter(stepper, config, rank)
    if rank != 0:
        for _ in weights:
            pass
        return
    with tempfile.TemporaryDirectory(prefix="fakescan-") as temporary:
        folder = Path(temporary)
        write_model(folder, weights, config, checkpoint)
        _upload(folder, config, FOLDER)


def knows_generators(start: Checkpoint, records: Iterable[Record]) -> bool:
    """Whether a model that starts as `start` and learns these records knows generated images.

    Fakes of a `family` are forged photographs, as `fakescan data forge` makes them: of those alone nobody learns what
    a generator's pictures look like.
    """
    return (start.trained and start.knows_generators) or any(
        record.is_fake and record.family is None for record in records
    )


def _export_adapter(stepper: Stepper, config: TrainConfig, rank: int) -> None:
    added = [parameter for name, parameter in stepper.base.named_parameters() if "lora_" in name]
    with stepper.whole(added), tempfile.TemporaryDirectory(prefix="fakescan-") as temporary:
        if rank != 0:
            return
        for settings in stepper.base.peft_config.values():
            settings.base_model_name_or_path = redact(config.model)
        stepper.base.save_pretrained(temporary)
        _upload(Path(temporary), config, ADAPTER)


def write_model(folder: Path, weights: Any, config: TrainConfig, checkpoint: Checkpoint) -> None:
    """Write weights, configuration, tokenizer, processor, card and model card into `folder`."""
    for path in sorted(checkpoint.path.iterdir()):
        if path.suffix in (".json", ".jinja", ".txt", ".model") and not path.name.endswith(".index.json"):
            shutil.copyfile(path, folder / path.name)
    (folder / CARD).unlink(missing_ok=True)
    kind = write_weights(folder, weights)
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    for part in (settings, settings.get("text_config", {}), settings.get("vision_config", {})):
        for name in ("dtype", "torch_dtype"):
            if name in part:
                part[name] = kind
    settings.setdefault("torch_dtype", kind)
    (folder / "config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    card = Card(
        prompt=checkpoint.prompt,
        knows_generators=checkpoint.knows_generators,
        description=f"Trained as {config.name}; not calibrated.",
    )
    write_card(folder, card)
    (folder / "README.md").write_text(model_card(config), encoding="utf-8")


def model_card(config: TrainConfig) -> str:
    """The model card: what the model was made from, and how."""
    parts = ", ".join(f"{name} {mode}" for name, mode in config.modes.items())
    return f"""---
tags: [fakevlm, synthetic-image-detection]
base_model: {redact(config.model)}
---
# {config.name}

A LLaVA that says whether an image is real or fake, and why. Made by `fakescan train` on
{datetime.now(UTC):%Y-%m-%d} from `{redact(config.model)}` with the data at `{redact(config.data)}`.

- trained parts: {parts}
- {config.epochs} epochs, {config.batch_size} samples a step, peak learning rate {config.lr:g}, seed {config.seed}
- prompt and prompt format: in `{CARD}`, which `fakescan scan` reads
- calibration: none yet; a score is the model's own opinion until `{CARD}` holds a fitted temperature and threshold

How good it is was measured only on the data it was held out from; it says nothing about images of other origins.
"""


def _weights(stepper: Stepper, config: TrainConfig) -> Iterator[tuple[str, Any]]:
    """Name and value of each weight, one at a time, on the CPU, with LoRA's additions added where there are any."""
    layers = {name: module for name, module in stepper.base.named_modules() if hasattr(module, "lora_A")}
    for name, parameter in stepper.base.named_parameters():
        if "lora_" in name:
            continue
        owner, _, kind = name.rpartition(".base_layer.")
        layer = layers.get(owner) if kind == "weight" else None
        added = [*layer.lora_A.parameters(), *layer.lora_B.parameters()] if layer is not None else []
        with stepper.whole([parameter, *added]):
            value = parameter.detach()
            if layer is not None:
                value = _dequantized(parameter)
                for adapter in layer.active_adapters:
                    delta = layer.get_delta_weight(adapter).detach()
                    value = (value.float() + delta.float()).to(value.dtype)
            bare = name.removeprefix("base_model.model.").replace(".base_layer.", ".")
            if config.quantize and value.is_floating_point():
                value = value.bfloat16()  # PEFT has made some of them wider to train more steadily
            yield bare, value.cpu().clone()


def _dequantized(parameter: Any) -> Any:
    """A weight that QLoRA holds in four bits, in bfloat16; any other as it is."""
    state = getattr(parameter, "quant_state", None)
    if state is None:
        return parameter.detach()
    from bitsandbytes.functional import dequantize_4bit

    return dequantize_4bit(parameter.data, state).bfloat16()


def _upload(folder: Path, config: TrainConfig, name: str) -> None:
    fs, path = config.storage_store.filesystem(f"{config.storage_path.rstrip('/')}/{config.name}/{name}")
    fs.makedirs(path, exist_ok=True)
    for file in sorted(folder.iterdir()):
        fs.put_file(str(file), f"{path}/{file.name}")
