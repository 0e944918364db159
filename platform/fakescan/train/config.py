"""What a training run is told: the one model behind the YAML file, the command line and the job."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from fakescan.storage.store import Store
from fakevlm.prompt import PromptSpec


class ModuleConfig(BaseModel):
    """How one part of the model is trained."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mode: Literal["full", "lora", "frozen"] = "full"
    """Train all weights, low-rank additions to its linear layers, or nothing."""
    lr: Annotated[float, Field(gt=0)] | None = None
    """Peak learning rate of this part. Default: `lr` of the run."""


class LoraSettings(BaseModel):
    """Low-rank additions, for the parts whose mode is lora."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rank: Annotated[int, Field(ge=1)] = 16
    """Inner dimension of the additions."""
    alpha: Annotated[int, Field(ge=1)] = 32
    """The additions are multiplied by alpha / rank."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the inputs of the additions that is dropped."""


class TrainConfig(BaseModel):
    """One training run. The defaults are FakeVLM's published recipe, but for the batch of its eight GPUs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    """Checkpoint to start from: local path, hub id or object-storage URL of a LLaVA."""
    data: str
    """Dataset folder in FakeClue's layout, or a .json, .jsonl or .parquet file of records."""
    split: str | None = None
    """File of records below the folder's data_json. Default: train where there are several."""
    eval_split: str | None = None
    """File of records to evaluate on while training. Default: val or test where the folder has one, else none."""
    storage_path: str
    """Folder or URL under which the run's folder is made."""
    name: str = "train"
    """Name of the run's folder. The same name and settings resume."""
    prompt: PromptSpec | None = None
    """Prompt to train with, stored with the result. Default: the checkpoint's."""

    workers: Annotated[int, Field(ge=1)] = 1
    """Processes that train together."""
    gpus_per_worker: Annotated[float, Field(ge=0)] | None = None
    """Default: 1 where the cluster has GPUs, else 0."""
    cpus_per_worker: Annotated[float, Field(gt=0)] = 1.0
    """CPUs that Ray sets aside for a worker."""
    zero: Literal[0, 2, 3] = 2
    """DeepSpeed's ZeRO stage: 2 shards gradients and optimizer states, 3 the weights too; 0 is plain torch."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Number type of the computation. auto: bf16 on GPUs, fp32 on CPUs."""
    gradient_checkpointing: bool = False
    """Compute activations twice instead of keeping them."""
    quantize: Literal["nf4"] | None = None
    """QLoRA: hold frozen weights in 4 bits. GPUs only; every part must be lora or frozen."""

    epochs: Annotated[int, Field(ge=1)] = 2
    """How often every sample is seen."""
    max_steps: Annotated[int, Field(ge=1)] | None = None
    """End after this many optimizer steps; the schedule ends with them."""
    batch_size: Annotated[int, Field(ge=1)] = 32
    """Samples of one optimizer step, over all workers."""
    micro_batch: Annotated[int, Field(ge=1)] = 4
    """Samples that a worker computes at once; gradients are accumulated up to batch_size."""
    lr: Annotated[float, Field(gt=0)] = 2e-5
    """Peak learning rate."""
    warmup_ratio: Annotated[float, Field(ge=0, lt=1)] = 0.03
    """Share of the steps in which the learning rate rises linearly; a half cosine to zero follows."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Of AdamW, on matrices only."""
    clip: Annotated[float, Field(gt=0)] = 1.0
    """Largest norm of the gradient."""
    seed: int = 0
    """Of the order of the data and of everything random."""
    max_length: Annotated[int, Field(ge=16)] = 1024
    """Most tokens of a sample, image tokens included; a longer sample is an error."""
    llm: ModuleConfig = ModuleConfig()
    """The language model."""
    vision: ModuleConfig = ModuleConfig()
    """The vision tower."""
    projector: ModuleConfig = ModuleConfig()
    """The two layers between them."""
    lora: LoraSettings = LoraSettings()
    """Settings of the parts whose mode is lora."""

    checkpoint_every: Annotated[int, Field(ge=1)] = 500
    """Steps between two checkpoints; one is made at the end in any case."""
    keep: Annotated[int, Field(ge=1)] = 2
    """Checkpoints that are kept."""
    eval_every: Annotated[int, Field(ge=1)] | None = None
    """Steps between two evaluations. Default: checkpoint_every."""
    eval_limit: Annotated[int, Field(ge=1)] | None = None
    """Evaluate on at most this many samples, drawn by the seed."""
    max_failures: Annotated[int, Field(ge=-1)] = 3
    """How often a run starts again from its last checkpoint after a worker died; -1: always."""

    data_store: Store = Field(default_factory=Store)
    """Endpoint and credentials of the data."""
    model_store: Store = Field(default_factory=Store)
    """Endpoint and credentials of the checkpoint to start from."""
    storage_store: Store = Field(default_factory=Store)
    """Endpoint and credentials of storage_path."""

    @property
    def accumulate(self) -> int:
        """Micro-batches of one worker in one optimizer step."""
        return self.batch_size // (self.workers * self.micro_batch)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.batch_size % (self.workers * self.micro_batch):
            raise ValueError(
                f"batch_size {self.batch_size} is not a multiple of workers {self.workers} x micro_batch "
                f"{self.micro_batch}"
            )
        modes = {name: getattr(self, name).mode for name in ("llm", "vision", "projector")}
        if set(modes.values()) == {"frozen"}:
            raise ValueError("llm, vision and projector are all frozen: nothing would be trained")
        if self.quantize and (full := [name for name, mode in modes.items() if mode == "full"]):
            raise ValueError(f"quantize holds weights in 4 bits, which cannot be trained: set {full[0]}.mode to lora")
        if self.quantize and self.zero == 3:
            raise ValueError("quantize and zero 3 exclude each other; set zero to 2")
        if "/" in self.name or self.name in ("", ".", ".."):
            raise ValueError(f"name {self.name!r} must be the name of a folder")
        return self


UNBOUND = frozenset(
    {
        "workers", "gpus_per_worker", "cpus_per_worker", "checkpoint_every", "keep", "eval_every", "eval_limit",
        "max_failures", "data_store", "model_store", "storage_store", "micro_batch", "gradient_checkpointing",
        "storage_path", "name",
    }
)  # fmt: skip
"""Settings that may change when a run is resumed: they change no result, but for rounding."""
