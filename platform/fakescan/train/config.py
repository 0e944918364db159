"""The settings of a training: the one model behind the YAML file, the command line and the job."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from fakescan.settings.strict_model import StrictModel
from fakescan.storage.store import Store
from fakescan.train.sampling.augment import AugmentSettings
from fakescan.train.sampling.classes import Balance, ClassWeights
from fakevlm.prompt import PromptSpec


class ModuleConfig(StrictModel):
    """How one part of the model is trained."""

    mode: Literal["full", "lora", "frozen"] = "full"
    """Weights that are trained: all (full), low-rank additions to the linear layers (lora), or none (frozen)."""
    lr: Annotated[float, Field(gt=0)] | None = None
    """Peak learning rate of this part. Default: the run's `lr`."""


class LoraSettings(StrictModel):
    """Low-rank additions, for the parts whose mode is lora."""

    rank: Annotated[int, Field(ge=1)] = 16
    """Inner dimension of the additions."""
    alpha: Annotated[int, Field(ge=1)] = 32
    """The additions are multiplied by alpha / rank."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the additions' inputs that is set to zero at random while training."""


class TrainConfig(StrictModel):
    """One training run. The defaults are FakeVLM's published recipe, but for the batch of its eight GPUs."""

    model: str
    """Checkpoint to start from: local path, hub id or object-storage URL of a LLaVA."""
    data: str
    """Dataset folder in FakeClue's layout, or a .json, .jsonl or .parquet file of records; a path or a URL."""
    split: str | None = None
    """File of records of a dataset folder to train on. Default: train where there are several, else the only one."""
    eval_split: str | None = None
    """File of records to evaluate on while training. Default: val, else test, where the folder has one; else none."""
    storage_path: str
    """Folder or URL prefix in which the run's folder is made."""
    name: str = "train"
    """Name of the run's folder. The same name and settings resume."""
    exclude: tuple[str, ...] = ()
    """Images, as the records name them, that are left out; a run that is resumed may leave out others."""
    decode_images: bool = True
    """Whether every image is decoded before a worker starts; each once, until it changes."""
    max_bad_images: Annotated[int, Field(ge=0)] = 0
    """Images that may turn out not to decode: they are named and left out. One more ends the run."""
    prompt: PromptSpec | None = None
    """Prompt to train with (`prompt_format` and `question`), stored with the result. Default: the checkpoint's."""

    workers: Annotated[int, Field(ge=1)] = 1
    """Processes that train together."""
    gpus_per_worker: Annotated[float, Field(ge=0)] | None = None
    """GPUs of each worker. Default: 1 where the cluster has or could add GPUs, else 0."""
    cpus_per_worker: Annotated[float, Field(gt=0)] = 1.0
    """CPUs that Ray sets aside for each worker."""
    zero: Literal[0, 2, 3] = 2
    """DeepSpeed's ZeRO stage: 2 shards gradients and optimizer states, 3 the weights too; 0 is plain torch."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Number type of the computation; auto is bf16 on GPUs and fp32 on CPUs. A CPU gains by bf16 with AVX512-BF16."""
    gradient_checkpointing: bool = False
    """Compute activations twice instead of keeping them: less memory, more time."""
    quantize: Literal["nf4"] | None = None
    """`nf4` holds frozen weights in 4 bits (QLoRA), on GPUs only; every part must be lora or frozen. Default: no."""

    epochs: Annotated[int, Field(ge=1)] = 2
    """Times that every sample is seen."""
    max_steps: Annotated[int, Field(ge=1)] | None = None
    """Optimizer steps after which the run ends; raise it to extend one. Default: as many as the epochs take."""
    schedule_steps: Annotated[int, Field(ge=1)] | None = None
    """Optimizer steps after which the learning rate is zero. Default: the run's; set it in a run to be extended."""
    batch_size: Annotated[int, Field(ge=1)] = 32
    """Samples of one optimizer step, over all workers."""
    micro_batch: Annotated[int, Field(ge=1)] = 4
    """Samples that a worker computes at once; gradients are accumulated up to batch_size."""
    lr: Annotated[float, Field(gt=0)] = 2e-5
    """Peak learning rate of AdamW."""
    warmup_ratio: Annotated[float, Field(ge=0, lt=1)] = 0.03
    """Share of the steps in which the learning rate rises linearly; a half cosine to zero follows."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Weight decay of AdamW, on matrices only."""
    clip: Annotated[float, Field(gt=0)] = 1.0
    """Largest norm of the gradient."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the data's order and of everything random."""
    max_length: Annotated[int, Field(ge=16)] = 1024
    """Longest sample in tokens, image tokens included; a longer one is an error before anything starts."""
    augment: AugmentSettings | None = None
    """Changes images at random before they are learnt from; `augment: {}` is all defaults. Default: as they are."""
    balance: Balance | None = None
    """Makes both classes count alike: `sampling` shows the rarer more often, `weights` weighs it more in the loss."""
    class_weights: ClassWeights | None = None
    """Weight of each class in the loss, instead of `balance: weights`. Default: all answer tokens count alike."""
    llm: ModuleConfig = ModuleConfig()
    """How the language model is trained."""
    vision: ModuleConfig = ModuleConfig()
    """How the vision tower is trained."""
    projector: ModuleConfig = ModuleConfig()
    """How the two layers between them are trained."""
    lora: LoraSettings = LoraSettings()
    """Low-rank additions, for the parts whose mode is lora."""

    checkpoint_every: Annotated[int, Field(ge=1)] = 500
    """Steps between two checkpoints; one is made at the end in any case."""
    keep: Annotated[int, Field(ge=1)] = 2
    """Checkpoints to keep; older ones are deleted."""
    eval_every: Annotated[int, Field(ge=1)] | None = None
    """Steps between two evaluations. Default: as `checkpoint_every`."""
    eval_limit: Annotated[int, Field(ge=1)] | None = None
    """Evaluate on at most this many samples, drawn by the seed. Default: all of them."""
    best_by: Literal["accuracy", "f1_fake", "f1_real", "auroc", "log_loss"] | None = None
    """Result of the evaluations by which the best checkpoint becomes the model. Default: the last one does."""
    patience: Annotated[int, Field(ge=1)] | None = None
    """Evaluations in a row without a better `best_by` after which the run ends. Default: it makes all its steps."""
    max_failures: Annotated[int, Field(ge=-1)] = 3
    """Times that a run starts again from its last checkpoint after a worker died; -1 is without limit."""
    trackers: tuple[Literal["wandb", "mlflow"], ...] = ()
    """Services that are shown the run while it goes on, `wandb` and `mlflow`, set up by their own variables."""

    data_store: Store = Field(default_factory=Store)
    """Credentials and endpoint of the data."""
    model_store: Store = Field(default_factory=Store)
    """Credentials and endpoint of the checkpoint to start from."""
    storage_store: Store = Field(default_factory=Store)
    """Credentials and endpoint of the run's folder."""

    @property
    def modes(self) -> dict[str, str]:
        """How each part of the model is trained: full, lora or frozen."""
        return {"llm": self.llm.mode, "vision": self.vision.mode, "projector": self.projector.mode}

    @property
    def accumulate(self) -> int:
        """Micro-batches of one worker in one optimizer step."""
        return self.batch_size // (self.workers * self.micro_batch)

    def uses_bf16(self, *, gpu: bool) -> bool:
        """Whether the computation is in bf16, on GPUs or on CPUs."""
        return self.precision == "bf16" or (self.precision == "auto" and gpu)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.batch_size % (self.workers * self.micro_batch):
            raise ValueError(
                f"batch_size {self.batch_size} is not a multiple of workers {self.workers} x micro_batch "
                f"{self.micro_batch}"
            )
        if self.patience is not None and self.best_by is None:
            raise ValueError("patience waits for a better best_by, which is not set; set it, such as to log_loss")
        if set(self.modes.values()) == {"frozen"}:
            raise ValueError("llm, vision and projector are all frozen: nothing would be trained")
        if self.quantize and (full := [name for name, mode in self.modes.items() if mode == "full"]):
            raise ValueError(f"quantize holds weights in 4 bits, which cannot be trained: set {full[0]}.mode to lora")
        if self.quantize and self.zero == 3:
            raise ValueError("quantize and zero 3 exclude each other; set zero to 2")
        if self.balance == "weights" and self.class_weights is not None:
            raise ValueError("class_weights: balance: weights sets them by the data; leave one of the two out")
        if "/" in self.name or self.name in ("", ".", ".."):
            raise ValueError(f"name {self.name!r} must be the name of a folder")
        return self


UNBOUND = frozenset(
    {
        "workers", "gpus_per_worker", "cpus_per_worker", "checkpoint_every", "keep", "eval_every", "eval_limit",
        "max_failures", "data_store", "model_store", "storage_store", "micro_batch", "gradient_checkpointing",
        "trackers", "storage_path", "name", "decode_images",
        # These change what is learnt, or how long: within the limits that TrainFolder.claim knows.
        "epochs", "max_steps", "patience", "exclude", "max_bad_images",
    }
)  # fmt: skip
"""Settings that may change when a run is resumed; most change no result, but for rounding."""
