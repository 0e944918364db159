"""Two ways to make an optimizer step, plain torch and DeepSpeed, behind one interface."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Protocol

from fakescan.train.config import TrainConfig
from fakescan.train.model import Group, parameter_groups

_SMALL_BUCKETS = {"reduce_bucket_size": 20_000_000, "allgather_bucket_size": 20_000_000}
"""Sizes in elements; DeepSpeed's own default takes 2 GB for each buffer, which a CPU has no use for."""


class Stepper(Protocol):
    """A model that is trained, and its optimizer."""

    base: Any
    """The model itself, without wrappers."""
    device: Any

    def forward(self, *, last: bool = True, **inputs: Any) -> Any:
        """Call the model; `last` for the last micro-batch of a step."""

    def backward(self, loss: Any, *, last: bool) -> None:
        """Add the gradients of `loss`, a scalar; `last` for the last micro-batch of a step.

        Over the workers and micro-batches the gradients are summed.
        """

    def step(self, factor: float) -> float:
        """Make the optimizer step with the peak learning rates times `factor`; the norm of the gradient before it."""

    def save(self, folder: Path, state: dict[str, Any]) -> None:
        """Write this worker's share of the checkpoint. Every worker calls it, each with a folder of its own."""

    def load(self, folder: Path) -> dict[str, Any]:
        """Restore what `save` wrote; returns its `state`."""

    def wanted(self, name: str, rank: int) -> bool:
        """Whether the worker of this rank needs the file of a checkpoint to load it."""

    def whole(self, parameters: list[Any]) -> Any:
        """A context in which all of these weights are in memory."""


def _optimizer(groups: list[Group]) -> Any:
    import torch

    return torch.optim.AdamW(
        [{"params": group.parameters, "lr": group.lr, "weight_decay": group.weight_decay} for group in groups],
        betas=(0.9, 0.999),
        eps=1e-8,
    )


class TorchStepper:
    """torch's DistributedDataParallel and AdamW; bf16 by autocast over float32 weights."""

    def __init__(self, model: Any, config: TrainConfig, device: Any, *, bf16: bool) -> None:
        import torch

        self.base = model.to(device)
        self.device = device
        self._clip = config.clip
        self._groups = parameter_groups(self.base, config)
        self._optimizer = _optimizer(self._groups)
        self._autocast = bf16
        self._workers = config.workers
        self._model = self.base
        if config.workers > 1:
            ids = [device.index] if device.type == "cuda" else None
            self._model = torch.nn.parallel.DistributedDataParallel(self.base, device_ids=ids)

    def forward(self, *, last: bool = True, **inputs: Any) -> Any:
        """See Stepper."""
        import torch

        if self._model is not self.base:
            self._model.require_backward_grad_sync = last
        if not self._autocast:
            return self._model(**inputs)
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            return self._model(**inputs)

    def backward(self, loss: Any, *, last: bool) -> None:
        """See Stepper."""
        # DistributedDataParallel averages over the workers.
        (loss * self._workers).backward()

    def step(self, factor: float) -> float:
        """See Stepper."""
        import torch

        parameters = [parameter for group in self._groups for parameter in group.parameters]
        norm = float(torch.nn.utils.clip_grad_norm_(parameters, self._clip))
        for settings, group in zip(self._optimizer.param_groups, self._groups, strict=True):
            settings["lr"] = group.lr * factor
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return norm

    def save(self, folder: Path, state: dict[str, Any]) -> None:
        """See Stepper. The first worker's weights and states are everyone's."""
        import torch

        if torch.distributed.is_initialized() and torch.distributed.get_rank() != 0:
            return
        trained = {name: value for name, value in self.base.named_parameters() if value.requires_grad}
        content = {"model": trained, "optimizer": self._optimizer.state_dict(), "state": state}
        torch.save(content, folder / "torch.pt")

    def load(self, folder: Path) -> dict[str, Any]:
        """See Stepper."""
        import torch

        content = torch.load(folder / "torch.pt", map_location="cpu", weights_only=False)
        self.base.load_state_dict(content["model"], strict=False)
        self._optimizer.load_state_dict(content["optimizer"])
        state: dict[str, Any] = content["state"]
        return state

    def wanted(self, name: str, rank: int) -> bool:
        """See Stepper."""
        return name == "torch.pt"

    @contextmanager
    def whole(self, parameters: list[Any]) -> Iterator[None]:
        """See Stepper."""
        yield


class DeepSpeedStepper:
    """DeepSpeed's ZeRO stages 2 and 3 with torch's AdamW, whose CPU twin would be compiled at run time."""

    def __init__(self, model: Any, config: TrainConfig, device: Any, *, bf16: bool) -> None:
        import deepspeed

        self.device = device
        self.base = model
        self._zero = config.zero
        self._workers = config.workers
        self._groups = parameter_groups(model, config)
        self._engine, self._optimizer, _, _ = deepspeed.initialize(
            model=model,
            optimizer=_optimizer(self._groups),
            config=deepspeed_config(config, bf16=bf16, gpu=device.type == "cuda"),
            dist_init_required=False,
        )

    def forward(self, *, last: bool = True, **inputs: Any) -> Any:
        """See Stepper."""
        return self._engine(**inputs)

    def backward(self, loss: Any, *, last: bool) -> None:
        """See Stepper."""
        # DeepSpeed averages over the workers. It would also divide by the micro-batches, at every output of the model:
        # LLaVA returns its image features beside the logits, and their gradients would be divided twice.
        self._engine.backward(loss * self._workers, scale_wrt_gas=False)
        if not last:
            self._engine.step()  # only counts the micro-batch

    def step(self, factor: float) -> float:
        """See Stepper."""
        for settings, group in zip(self._optimizer.param_groups, self._groups, strict=True):
            settings["lr"] = group.lr * factor
        self._engine.step()
        norm = self._engine.get_global_grad_norm()
        return float(norm) if norm is not None else float("nan")

    def save(self, folder: Path, state: dict[str, Any]) -> None:
        """See Stepper."""
        self._engine.save_checkpoint(str(folder), tag="deepspeed", client_state=state, exclude_frozen_parameters=True)

    def load(self, folder: Path) -> dict[str, Any]:
        """See Stepper."""
        path, state = self._engine.load_checkpoint(str(folder), tag="deepspeed", load_module_strict=False)
        if path is None:
            raise RuntimeError(f"DeepSpeed found no checkpoint in {folder}")
        return dict(state)

    def wanted(self, name: str, rank: int) -> bool:
        """See Stepper. Shards of other workers are not needed, except those of the weights."""
        if name.startswith("random_"):
            return False
        if "optim_states" in name or (self._zero == 3 and "model_states" in name):
            return f"_rank_{rank}_" in name
        return True

    def whole(self, parameters: list[Any]) -> Any:
        """See Stepper."""
        import deepspeed

        return deepspeed.zero.GatheredParameters(parameters) if self._zero == 3 else nullcontext()


def deepspeed_config(config: TrainConfig, *, bf16: bool, gpu: bool) -> dict[str, Any]:
    """DeepSpeed's settings for a run. The size of the whole batch follows from the others."""
    return {
        "train_micro_batch_size_per_gpu": config.micro_batch,
        "gradient_accumulation_steps": config.accumulate,
        "gradient_clipping": config.clip,
        "bf16": {"enabled": bf16},
        "zero_optimization": {"stage": config.zero, "overlap_comm": gpu, **({} if gpu else _SMALL_BUCKETS)},
        "steps_per_print": 1_000_000_000,
        "wall_clock_breakdown": False,
    }


def prepare_environment(gpu: bool) -> None:
    """Set what deepspeed reads when it is first imported."""
    if not gpu:
        os.environ["DS_ACCELERATOR"] = "cpu"
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
