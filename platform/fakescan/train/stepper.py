"""Two ways to make an optimizer step, plain torch and DeepSpeed, behind one interface."""

import os
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from fakescan.train.config import TrainConfig
from fakescan.train.model import Group, parameter_groups

_SMALL_BUCKETS = {"reduce_bucket_size": 20_000_000, "allgather_bucket_size": 20_000_000}
"""Sizes in elements; DeepSpeed's own default takes 2 GB for each buffer, which a CPU has no use for."""


class Stepper(ABC):
    """A model that is trained, and its optimizer."""

    def __init__(self, model: Any, config: TrainConfig, device: Any) -> None:
        self.base = model
        """The model itself, without wrappers."""
        self.device = device
        self._config = config
        self._groups = parameter_groups(model, config)
        self._optimizer = _adamw(self._groups)

    @abstractmethod
    def forward(self, *, last: bool = True, **inputs: Any) -> Any:
        """Call the model; `last` for the last micro-batch of a step."""

    @abstractmethod
    def backward(self, loss: Any, *, last: bool) -> None:
        """Add the gradients of `loss`, a scalar; `last` for the last micro-batch of a step.

        Over the workers and micro-batches the gradients are summed.
        """

    def step(self, factor: float) -> float:
        """Make the optimizer step with the peak learning rates times `factor`; the norm of the gradient before it."""
        for settings, group in zip(self._optimizer.param_groups, self._groups, strict=True):
            settings["lr"] = group.lr * factor
        return self._step()

    @abstractmethod
    def _step(self) -> float:
        """Clip the gradient and make the optimizer step; the norm before it."""

    @abstractmethod
    def save(self, folder: Path, state: dict[str, Any]) -> None:
        """Write this worker's share of the checkpoint. Every worker calls it, each with a folder of its own."""

    @abstractmethod
    def load(self, folder: Path) -> dict[str, Any]:
        """Restore what `save` wrote; returns its `state`."""

    @abstractmethod
    def wanted(self, name: str, rank: int) -> bool:
        """Whether the worker of this rank needs the file of a checkpoint to load it."""

    def whole(self, parameters: list[Any]) -> AbstractContextManager[Any]:
        """A context in which all of these weights are in memory."""
        return nullcontext()


def _adamw(groups: list[Group]) -> Any:
    import torch

    return torch.optim.AdamW(
        [{"params": group.parameters, "lr": group.lr, "weight_decay": group.weight_decay} for group in groups],
        betas=(0.9, 0.999),
        eps=1e-8,
    )


class TorchStepper(Stepper):
    """torch's DistributedDataParallel and AdamW; bf16 by autocast over float32 weights."""

    def __init__(self, model: Any, config: TrainConfig, device: Any, *, bf16: bool) -> None:
        import torch

        super().__init__(model.to(device), config, device)
        self._bf16 = bf16
        self._model = self.base
        if config.workers > 1:
            ids = [device.index] if device.type == "cuda" else None
            self._model = torch.nn.parallel.DistributedDataParallel(self.base, device_ids=ids)

    def forward(self, *, last: bool = True, **inputs: Any) -> Any:
        import torch

        if self._model is not self.base:
            self._model.require_backward_grad_sync = last
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self._bf16):
            return self._model(**inputs)

    def backward(self, loss: Any, *, last: bool) -> None:
        # DistributedDataParallel averages over the workers.
        (loss * self._config.workers).backward()

    def _step(self) -> float:
        import torch

        parameters = [parameter for group in self._groups for parameter in group.parameters]
        norm = float(torch.nn.utils.clip_grad_norm_(parameters, self._config.clip))
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
        import torch

        content = torch.load(folder / "torch.pt", map_location="cpu", weights_only=False)
        self.base.load_state_dict(content["model"], strict=False)
        self._optimizer.load_state_dict(content["optimizer"])
        state: dict[str, Any] = content["state"]
        return state

    def wanted(self, name: str, rank: int) -> bool:
        return name == "torch.pt"


class DeepSpeedStepper(Stepper):
    """DeepSpeed's ZeRO stages 2 and 3 with torch's AdamW, whose CPU twin would be compiled at run time."""

    def __init__(self, model: Any, config: TrainConfig, device: Any, *, bf16: bool) -> None:
        gpu = device.type == "cuda"
        deepspeed = import_deepspeed(gpu)
        super().__init__(model, config, device)
        self._engine, self._optimizer, _, _ = deepspeed.initialize(
            model=model,
            optimizer=self._optimizer,
            config=deepspeed_config(config, bf16=bf16, gpu=gpu),
            dist_init_required=False,
        )

    def forward(self, *, last: bool = True, **inputs: Any) -> Any:
        return self._engine(**inputs)

    def backward(self, loss: Any, *, last: bool) -> None:
        # DeepSpeed averages over the workers. It would also divide by the micro-batches, at every output of the model:
        # LLaVA returns its image features beside the logits, and their gradients would be divided twice.
        self._engine.backward(loss * self._config.workers, scale_wrt_gas=False)
        if not last:
            self._engine.step()  # only counts the micro-batch

    def _step(self) -> float:
        self._engine.step()
        norm = self._engine.get_global_grad_norm()
        return float(norm) if norm is not None else float("nan")

    def save(self, folder: Path, state: dict[str, Any]) -> None:
        self._engine.save_checkpoint(str(folder), tag="deepspeed", client_state=state, exclude_frozen_parameters=True)

    def load(self, folder: Path) -> dict[str, Any]:
        path, state = self._engine.load_checkpoint(str(folder), tag="deepspeed", load_module_strict=False)
        if path is None:
            raise RuntimeError(f"DeepSpeed found no checkpoint in {folder}")
        return dict(state)

    def wanted(self, name: str, rank: int) -> bool:
        """See Stepper. Shards of other workers are not needed, except those of the weights."""
        if name.startswith("random_"):
            return False
        if "optim_states" in name or (self._config.zero == 3 and "model_states" in name):
            return f"_rank_{rank}_" in name
        return True

    def whole(self, parameters: list[Any]) -> AbstractContextManager[Any]:
        import deepspeed

        return super().whole(parameters) if self._config.zero != 3 else deepspeed.zero.GatheredParameters(parameters)


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


def import_deepspeed(gpu: bool) -> Any:
    """The module. On CPUs without the kernel that it would compile for most of a minute: only inference uses it."""
    import deepspeed

    if not gpu:
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    return deepspeed


def prepare_environment(gpu: bool) -> None:
    """Set what deepspeed reads when it is first imported."""
    if not gpu:
        os.environ["DS_ACCELERATOR"] = "cpu"
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
