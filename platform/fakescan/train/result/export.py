"""The trained model in the layout of llava-1.5-7b-hf, as vLLM, transformers and a scan load it."""

import json
import shutil
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from fakescan.storage.objects import list_names, patiently, put_file
from fakescan.storage.store import Store
from fakescan.storage.url import redact
from fakescan.train.checkpoints.room import staging_folder
from fakescan.train.config import TrainConfig
from fakescan.train.folder import ADAPTER, MODEL
from fakescan.train.metrics_actor import TrainResult
from fakescan.train.result.model_card import model_card, work_done
from fakescan.train.stepper import Stepper
from fakevlm.checkpoint.card import CARD, Card, write_card
from fakevlm.checkpoint.checkpoint import Checkpoint
from fakevlm.checkpoint.export import write_weights
from fakevlm.checkpoint.model_card import MODEL_CARD
from fakevlm.checkpoint.weights_hash import SMALL_FILES
from fakevlm.data.record import Record

_CARRIED = frozenset(
    {*SMALL_FILES, "generation_config.json", "chat_template.jinja", "chat_template.json", "vocab.json", "merges.txt"}
)
"""Files beside the weights that are the new model's as well. Any other, such as metrics, results and the states of a
trainer, is of the model that it began as."""
_LICENCES = ("license", "licence", "notice")
"""Beginnings of the names, in lower case, of files that go wherever the weights go."""


def export(stepper: Stepper, config: TrainConfig, checkpoint: Checkpoint, result: TrainResult, rank: int) -> None:
    """Write the model into the run's folder. All workers call it; the first one writes."""
    weights = trained_weights(stepper, config)
    if "full" not in config.modes.values():
        _export_adapter(stepper, config, rank)
    if rank != 0:
        for _ in weights:
            pass
        return
    with staging_folder() as folder:
        write_model(folder, weights, config, checkpoint, result)
        upload(folder, config.storage_store, f"{config.storage_path.rstrip('/')}/{config.name}/{MODEL}")


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
    with stepper.whole(added), staging_folder() as folder:
        if rank != 0:
            return
        for settings in stepper.base.peft_config.values():
            settings.base_model_name_or_path = redact(config.model)
        stepper.base.save_pretrained(str(folder))
        upload(folder, config.storage_store, f"{config.storage_path.rstrip('/')}/{config.name}/{ADAPTER}")


def write_model(folder: Path, weights: Any, config: TrainConfig, checkpoint: Checkpoint, result: TrainResult) -> None:
    """Write weights, configuration, tokenizer, processor, card and model card into `folder`."""
    for path in sorted(checkpoint.path.iterdir()):
        if path.is_file() and (path.name in _CARRIED or path.name.lower().startswith(_LICENCES)):
            shutil.copyfile(path, folder / path.name)
    kind = write_weights(folder, weights)
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    for part in (settings, settings.get("text_config", {}), settings.get("vision_config", {})):
        part.pop("_name_or_path", None)
        for name in ("dtype", "torch_dtype"):
            if name in part:
                part[name] = kind
    settings.setdefault("torch_dtype", kind)
    (folder / "config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    card = Card(
        prompt=checkpoint.prompt,
        knows_generators=checkpoint.knows_generators,
        description=f"Trained as {config.name}: {work_done(config, result)}.",
    )
    write_card(folder, card)
    (folder / MODEL_CARD).write_text(model_card(config, result), encoding="utf-8")


class TrainedModel(Protocol):
    """A model with its weights, which may be spread over workers; a `Stepper` is one."""

    base: Any

    def whole(self, parameters: list[Any]) -> AbstractContextManager[Any]:
        """A context in which all of these weights are in memory."""


def trained_weights(stepper: TrainedModel, config: TrainConfig) -> Iterator[tuple[str, Any]]:
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


def upload(folder: Path, store: Store, url: str) -> None:
    """Put the files of a folder at `url`, and delete those that an earlier model has left there.

    The card comes first: should the upload break off, no calibration of other weights stands beside the new ones.
    """
    fs, path = store.filesystem(url)
    patiently(lambda: fs.makedirs(path, exist_ok=True), f"making {redact(path)}")
    before = {name for name, _ in list_names(fs, path)}
    names = {file.name for file in folder.iterdir()}
    for name in sorted(names, key=lambda name: (name != CARD, name)):
        put_file(fs, f"{path}/{name}", folder / name)
    for name in sorted(before - names):
        patiently(partial(fs.rm_file, f"{path}/{name}"), f"deleting {redact(path)}/{name}")
