"""`fakescan train export`: the model of a checkpoint of a run, without training on; it reads ZeRO's shards as well."""

import tempfile
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from fakescan.engine.model import open_model
from fakescan.storage.bound_settings import read_settings
from fakescan.storage.preflight import check_readable, check_writable, exists
from fakescan.storage.store import Store
from fakescan.storage.url import redact, scheme_of
from fakescan.train.config import TrainConfig
from fakescan.train.feed import with_prompt
from fakescan.train.folder import SETTINGS, is_listed
from fakescan.train.metrics_actor import LOG, TrainResult, read_log
from fakescan.train.model import load
from fakescan.train.plan import Plan
from fakescan.train.result.export import trained_weights, upload, write_model
from fakevlm.errors import UserError

_TORCH, _DEEPSPEED = "torch.pt", "deepspeed"
"""What plain torch writes into a checkpoint, and the folder of what DeepSpeed writes."""


class ExportedModel(NamedTuple):
    """A model that was made from a checkpoint."""

    url: str
    result: TrainResult


class _Whole:
    """A model whose weights are all in memory."""

    def __init__(self, model: Any) -> None:
        self.base = model

    def whole(self, parameters: list[Any]) -> AbstractContextManager[Any]:
        """Nothing to gather."""
        return nullcontext()


def export_checkpoint(checkpoint_url: str, output: str | None, store: Store) -> ExportedModel:
    """Write the model of a checkpoint of a run to `output`; None: into the run's folder, beside `model`.

    `store` is that of the run and of the output. The model that the run began with must still be there. Raises
    UserError, one line that names what is missing.
    """
    check_readable(checkpoint_url, store)
    run_url, _, name = checkpoint_url.rstrip("/").rpartition("/")
    fs, run = store.filesystem(run_url)
    settings = read_settings(fs, f"{run}/{SETTINGS}", "checkpoint", "one") if run_url else None
    if settings is None:
        raise UserError(
            f"checkpoint: {redact(checkpoint_url)} is not in the folder of a training: {redact(run_url)}/{SETTINGS} is "
            "missing; name a folder such as RUN/checkpoint_0000500"
        )
    if not is_listed(fs, run, name):
        raise UserError(
            f"checkpoint: {redact(checkpoint_url)} is not whole: its upload goes on, or was cut short; name another one"
        )
    config = _config(settings, store)
    start = with_prompt(open_model(config.model, config.model_store, show_progress=True), config)
    if start.weights_sha256 != settings.get("weights_sha256"):
        raise UserError(f"model: {redact(config.model)} holds other weights than those that the run began with")
    with tempfile.TemporaryDirectory(prefix="fakescan-") as temporary:
        source, target = Path(temporary, "checkpoint"), Path(temporary, "model")
        target.mkdir()
        fs.get(f"{run}/{name}/", f"{source}/", recursive=True)
        weights = _weights(source, redact(checkpoint_url))
        result = _result(source, settings, config)
        url = (output or f"{run_url}/model-{result.exported_step}").rstrip("/")
        if exists(f"{url}/config.json", store):
            raise UserError(f"output: {redact(url)} holds a model already; name another folder with --output")
        check_writable(url, store)
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()
        model = load(config, start, bf16=settings.get("precision") == "bf16", gpu=False)
        if unknown := model.load_state_dict(weights, strict=False).unexpected_keys:
            raise UserError(f"checkpoint: the model has no weight {unknown[0]}, of {len(unknown)} in the checkpoint")
        del weights
        knows = bool(settings.get("knows_generators", start.knows_generators))
        checkpoint = replace(start, knows_generators=knows)
        write_model(target, trained_weights(_Whole(model), config), config, checkpoint, result)
        upload(target, store, url)
    return ExportedModel(url, result)


def _config(settings: dict[str, Any], store: Store) -> TrainConfig:
    """The settings of the run. Secrets are not in its folder: a model in a store is read with those for the run."""
    own = {name: value for name, value in settings.items() if name in TrainConfig.model_fields}
    for name in ("data_store", "model_store", "storage_store"):
        own.pop(name, None)
    config = TrainConfig.model_validate(own)
    if scheme_of(config.model) in ("file", "http"):
        return config
    return config.model_copy(update={"model_store": store})


def _weights(folder: Path, shown: str) -> dict[str, Any]:
    """The trained weights, by their names in the model."""
    import torch

    if (folder / _TORCH).is_file():
        content: dict[str, Any] = torch.load(folder / _TORCH, map_location="cpu", weights_only=False)["model"]
        return content
    if not (folder / _DEEPSPEED).is_dir():
        raise UserError(f"checkpoint: {shown} holds neither {_TORCH} nor {_DEEPSPEED}/; it is no checkpoint of a run")
    from fakescan.train.stepper import prepare_environment

    prepare_environment(gpu=False)
    from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint

    state: dict[str, Any] = get_fp32_state_dict_from_zero_checkpoint(
        str(folder), tag=_DEEPSPEED, exclude_frozen_parameters=True
    )
    return state


def _result(folder: Path, settings: dict[str, Any], config: TrainConfig) -> TrainResult:
    log = read_log((folder / LOG).read_bytes())
    samples = settings.get("epoch_samples", settings["samples"])
    plan = Plan(samples, config.batch_size, config.epochs, config.max_steps, config.seed)
    return TrainResult(
        steps=log[-1].step,
        steps_per_epoch=plan.steps_per_epoch,
        samples=settings["samples"],
        left_out=len(config.exclude),
        bad_images=len(settings.get("bad_images", ())),
        exported_step=log[-1].step,
        held_out=settings.get("held_out"),
        metrics=log[-1].metrics,
    )
