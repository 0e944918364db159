"""Which engine judges the images, and how it is set up."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from fakescan.settings.flag import Flag, FlagGroup
from fakescan.settings.strict_model import StrictModel

Device = Literal["cpu", "cuda"]

_GPU_SEQS = 1024
"""Requests that vLLM runs at once on a large GPU, to size the work in flight before an engine has started."""


class VllmConfig(StrictModel):
    """vLLM on the checkpoint: in the actor's own process on a CPU, in a process of its own on a GPU."""

    kind: Literal["vllm"] = "vllm"
    """The engine: `vllm`, or `fake` for a simulated one."""
    dtype: str = "auto"
    """Number type of the weights in the engine: auto (as stored, but float16 on a CPU), float32, bfloat16, float16."""
    max_num_seqs: Annotated[int, Field(ge=1)] | None = None
    """Requests the engine runs at once. Default: 32 on a CPU, vLLM's own choice for the GPU at hand."""
    max_num_batched_tokens: Annotated[int, Field(ge=64)] | None = None
    """Tokens per engine step. Default: vLLM's own choice; on a GPU it bounds the images per step (about 620 each)."""
    gpu_memory_utilization: Annotated[float, Field(gt=0, le=1)] = 0.90
    """Share of the GPU's memory that engines may take; one that has a fraction of the GPU takes its part of that."""
    kv_cache_gib: Annotated[int, Field(ge=1)] = 1
    """Most memory for the KV cache on a CPU, in GiB; it gets less where all requests at once cannot need as much."""
    cpu_threads: Annotated[int, Field(ge=1)] | None = None
    """Threads of one CPU engine. Default: one for a model of a few million parameters, else all cores."""
    enforce_eager: bool | None = None
    """Run without compiled graphs. Default: yes on a CPU (starts in seconds), no on a GPU (faster)."""
    stall_s: Annotated[float, Field(gt=0)] | None = 300.0
    """Seconds without an output, with images in the engine, after which it counts as dead; null: it is waited for."""
    start_timeout_s: Annotated[float, Field(gt=0)] | None = 1800.0
    """Seconds in which the engine must load, from the checkpoint on its node to its self-test; null: no limit."""
    arguments: Annotated[
        dict[str, Any], Flag("NAME=VALUE", "--engine-argument", multiple=True, group=FlagGroup.ENGINES)
    ] = Field(default_factory=dict)
    """Further arguments for vLLM, by the names of its EngineArgs, like quantization: fp8_per_tensor. Default: none."""

    is_simulated: ClassVar[bool] = False
    package: ClassVar[str | None] = "vllm"
    """Package that must be installed."""
    default_gpus: ClassVar[float] = 1.0
    """GPUs of an engine where the cluster has some and the settings name no number."""

    def computes_on(self, device: Device) -> bool:
        """Whether the engine is at work on the device itself."""
        return True

    def reserved_cpus(self, device: Device) -> float:
        """CPUs that Ray sets aside: on a GPU for the front end and the engine's own process, if its node has as many.

        On a CPU the engine's threads use all that the feed leaves: see `small_machine`.
        """
        return 0.5 if device == "cpu" else 2.0

    def requests_at_once(self, device: Device) -> int:
        """Requests that the engine runs at once, as far as is known before it has started."""
        return self.max_num_seqs or (32 if device == "cpu" else _GPU_SEQS)


class SimulatedConfig(StrictModel):
    """A deterministic simulation without a model. It is never chosen silently and is named in every result.

    It runs at most `max_num_seqs` requests at once in steps, as a continuous-batching engine does, and sleeps instead
    of computing: its ideal throughput is `max_num_seqs / (step_s * (1 + tokens))` images a second.
    """

    kind: Literal["fake"] = "fake"
    """The engine: `fake`."""
    max_num_seqs: Annotated[int, Field(ge=1)] = 32
    """Requests that run at once."""
    step_s: Annotated[float, Field(ge=0)] = 0.0
    """Seconds that one step sleeps; 0 answers at once."""
    tokens: Annotated[int, Field(ge=0)] = 0
    """Steps that an explanation takes after the first token."""
    start_s: Annotated[float, Field(ge=0)] = 0.0
    """Seconds that the engine takes to start."""
    die_on_rgb: tuple[int, int, int] | None = None
    """Kill the engine's process when an image's top left pixel has this colour: a poison image, for fault drills."""
    hang_on_rgb: tuple[int, int, int] | None = None
    """Give no answer any more once an image's top left pixel has this colour, for fault drills."""
    fail_on_rgb: tuple[int, int, int] | None = None
    """Refuse an image whose top left pixel has this colour, for fault drills."""
    start_slots: str | None = None
    """Folder whose files are places for engines: each takes one for its life, and does not start where none is free.
    Environment variables such as `$NODE` are those of the node. For fault drills."""
    stall_s: Annotated[float, Field(gt=0)] | None = 300.0
    """Seconds without an output, with images in the engine, after which it counts as dead; null: it is waited for."""
    start_timeout_s: Annotated[float, Field(gt=0)] | None = 1800.0
    """Seconds in which the engine must load, from the checkpoint on its node to its self-test; null: no limit."""

    is_simulated: ClassVar[bool] = True
    package: ClassVar[str | None] = None
    default_gpus: ClassVar[float] = 0.0
    dtype: ClassVar[str | None] = None
    arguments: ClassVar[dict[str, Any]] = {}

    def computes_on(self, device: Device) -> bool:
        """Never: it sleeps."""
        return False

    def reserved_cpus(self, device: Device) -> float:
        """It sleeps: four of them and a feed fit on two cores."""
        return 0.25

    def requests_at_once(self, device: Device) -> int:
        """Requests that run at once."""
        return self.max_num_seqs


EngineConfig = Annotated[VllmConfig | SimulatedConfig, Field(discriminator="kind")]


def parse_engine(value: Any) -> Any:
    """`"fake"` means the kind with its defaults; settings without a kind are those of vLLM."""
    if isinstance(value, str):
        return {"kind": value}
    if isinstance(value, dict):
        return {"kind": "vllm", **value}
    return value
