"""What a run takes: memory of a worker, bytes of a checkpoint, room on disks."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fakescan.storage.url import file_path, scheme_of
from fakescan.train.checkpoints.room import free_bytes
from fakescan.train.config import TrainConfig
from fakevlm.checkpoint.checkpoint import Checkpoint
from fakevlm.checkpoint.config_files import feature_tokens, read_config, text_config, vision_config
from fakevlm.errors import UserError

_LAYER_VALUES = 34
"""Numbers that a transformer's layer keeps for its backward pass, for each token and each of its hidden size: bytes at
two per number, with attention that keeps no matrix of scores (Korthikanti et al. 2022, arXiv 2205.05198)."""


@dataclass(frozen=True)
class Needs:
    """Estimates in bytes."""

    states: int
    """Weights, gradients and optimizer states of one worker."""
    activations: int
    """What one worker's micro-batch keeps for the backward pass; the longest sample in every row."""
    checkpoint: int
    """One checkpoint, over all workers."""
    storage: int
    """What the run's folder will hold at most: the checkpoints to keep and one more, and the model."""
    share: int
    """What a worker writes to its own disk of a checkpoint before it uploads it."""
    staging: int
    """What a worker writes there at most: that, or the model."""

    @property
    def memory(self) -> int:
        """States and activations of one worker."""
        return self.states + self.activations

    def staging_room(self, sharers: int) -> int:
        """What is written to a disk that this many workers share, at most: only one of them writes the model."""
        return max(self.share * sharers, self.staging)


def needs(
    config: TrainConfig, checkpoint: Checkpoint, parameters: dict[str, int], *, longest: int, bf16: bool
) -> Needs:
    """What a run will take. `longest`: tokens of its longest sample."""
    model = sum(parameters.values()) * (2 if bf16 and config.zero else 4)
    one = checkpoint_bytes(config, parameters, bf16=bf16)
    share = one // (config.workers if config.zero else 1)
    kept = config.keep + (2 if config.best_by else 1)  # beside the best ones Ray keeps the last one
    return Needs(
        states=memory_per_worker(config, parameters, bf16=bf16),
        activations=activation_bytes(config, read_config(checkpoint.path), longest=longest, bf16=bf16),
        checkpoint=one,
        storage=one * kept + model,
        share=share,
        staging=max(share, model),
    )


def trained_weights(config: TrainConfig, parameters: dict[str, int]) -> int:
    """About how many weights have a gradient."""
    count = 0
    for part, mode in config.modes.items():
        size = parameters[part]
        # A low-rank addition to a square matrix of side s has 2 r s of its s^2 weights; s is about 4096 for the 7B.
        count += size if mode == "full" else int(size * 2 * config.lora.rank / 4096) if mode == "lora" else 0
    return count


def memory_per_worker(config: TrainConfig, parameters: dict[str, int], *, bf16: bool) -> int:
    """Bytes for weights, gradients and optimizer states of one worker; activations come on top.

    AdamW holds two float32 numbers for each trained weight, mixed precision a float32 copy besides.
    """
    trained = trained_weights(config, parameters)
    wide = 2 if bf16 and config.zero else 4
    weights = sum(parameters.values()) * (0.5 if config.quantize else wide)
    gradients_and_states = trained * (wide + (12 if wide == 2 else 8))
    return int(
        weights / (config.workers if config.zero == 3 else 1)
        + gradients_and_states / (config.workers if config.zero else 1)
    )


def activation_bytes(config: TrainConfig, model: dict[str, Any], *, longest: int, bf16: bool) -> int:
    """About what the backward pass of a micro-batch needs kept, of the towers through which a gradient flows.

    With gradient checkpointing that is the input of each layer, and one layer whole. The logits, in float32 with their
    gradient, are of as many positions as an answer has.
    """
    size = 2 if bf16 else 4
    text, vision = text_config(model), vision_config(model)
    image_tokens = feature_tokens(model)
    towers = [(text, longest)]
    if config.vision.mode != "frozen":
        towers.append((vision, image_tokens + 1))
    total = 0
    for tower, tokens in towers:
        values = tokens * tower["hidden_size"]
        layers = tower["num_hidden_layers"]
        whole = values * _LAYER_VALUES // 2
        total += (layers * values + whole if config.gradient_checkpointing else layers * whole) * size
    logits = max(1, longest - image_tokens) * int(text.get("vocab_size", 32_000)) * 4 * 3
    return config.micro_batch * (total + logits)


def checkpoint_bytes(config: TrainConfig, parameters: dict[str, int], *, bf16: bool) -> int:
    """Bytes of one checkpoint: trained weights and optimizer states; of weights in bf16 with float32 copies."""
    return trained_weights(config, parameters) * (16 if bf16 and config.zero else 12)


def check_disk(config: TrainConfig, needed: Needs) -> None:
    """Raise UserError where a local disk has no room for what the run's folder will hold."""
    if scheme_of(config.storage_path) != "file":
        return
    folder = Path(file_path(config.storage_path)).absolute()
    there = sum(file.stat().st_size for file in (folder / config.name).rglob("*") if file.is_file())
    place, free = free_bytes(folder)
    if needed.storage - there > free:
        raise UserError(
            f"storage_path: {config.keep + 1} checkpoints and the result need about {needed.storage / 1e9:.1f} GB, "
            f"{place} has {free / 1e9:.1f} GB free; lower keep or name another folder"
        )
