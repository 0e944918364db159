"""The number types that an engine computes in, which its logits depend on: decided once, and the same everywhere."""

import logging
import re
from pathlib import Path

from fakescan.engine.config import Device, EngineConfig, VllmConfig
from fakescan.settings.strict_model import StrictModel
from fakevlm.checkpoint.checkpoint import Checkpoint
from fakevlm.checkpoint.progress import in_bytes
from fakevlm.errors import UserError

logger = logging.getLogger(__name__)

AUTO = "auto"
"""Not decided yet: float16 weights, which a GPU runs as they are and a CPU does not."""

_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
_ALIASES = {"float": "float32", "half": "float16"}
_BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16"}
"""What Linux calls the instructions, on x86 and on ARM. Without them bfloat16 takes five times as long as float32."""
_CPU_INFO = Path("/proc/cpuinfo")
_MEMORY_INFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")


class NumberTypes(StrictModel):
    """What an engine computes in."""

    weights: str
    """Type of the weights and of all that is computed with them: float32, bfloat16 or float16; `auto`: not decided."""
    head: str
    """Type of the last layer, which makes the logits: float32, or `model` for that of the weights."""

    @property
    def overrides(self) -> dict[str, object]:
        """vLLM's `hf_overrides` for the head.

        Logits of 16 to 32 come in steps of 0.125 out of a bfloat16 head. vLLM 0.32 makes LLaVA's head with the
        configuration of its language model, and asks the outer one elsewhere.
        """
        if self.head == "model" or self.weights == "float32":
            return {}
        return {"head_dtype": self.head, "text_config": {"head_dtype": self.head}}


def first_types(config: EngineConfig, checkpoint: Checkpoint) -> NumberTypes | None:
    """Those of a run that begins, as far as they are known before its device is; None for a simulated engine."""
    if not isinstance(config, VllmConfig):
        return None
    named = config.dtype != AUTO
    weights = _named(config.dtype) if named else checkpoint.dtype
    return NumberTypes(weights=AUTO if weights == "float16" and not named else weights, head=_head(config))


def earlier_types(config: EngineConfig, checkpoint: Checkpoint) -> NumberTypes | None:
    """Those of a run that was begun before they were written down: the stored ones, for the head as well."""
    if not isinstance(config, VllmConfig):
        return None
    return NumberTypes(weights=checkpoint.dtype if config.dtype == AUTO else _named(config.dtype), head="model")


def decided(types: NumberTypes, device: Device) -> NumberTypes:
    """The same with a type for the weights, by the CPU of this process's node where they are to run on CPUs."""
    if types.weights != AUTO:
        return types
    weights = "float16" if device == "cuda" else "bfloat16" if has_bfloat16() else "float32"
    return types.model_copy(update={"weights": weights})


def types_here(config: EngineConfig, checkpoint: Checkpoint, device: Device) -> NumberTypes | None:
    """Those of an engine whose judgements belong to no run; says so where they are not the stored ones."""
    first = first_types(config, checkpoint)
    if first is None:
        return None
    types = decided(first, device)
    if first.weights == AUTO and (line := conversion(types, device)):
        logger.warning("%s", line)
    return types


def conversion(types: NumberTypes, device: Device) -> str:
    """One line about float16 weights that run in another type; empty where they run as they are stored."""
    if device == "cuda" or types.weights == "float16":
        return ""
    why = "" if types.weights == "bfloat16" else ", which has no instructions for bfloat16"
    return f"float16 weights run in {types.weights} on this CPU{why}"


def has_bfloat16() -> bool:
    """Whether the CPU computes in bfloat16 itself."""
    try:
        text = _CPU_INFO.read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    found = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    return found is not None and not _BFLOAT16.isdisjoint(found[1].split())


def bytes_of(weights: str) -> int:
    """Bytes of a number of this type."""
    return _BYTES.get(weights, 4)


def require_memory(cache_bytes: int, checkpoint: Checkpoint, types: NumberTypes) -> None:
    """Raise UserError where the weights and the cache are larger than the memory that a CPU engine can have here."""
    needed = checkpoint.parameters * bytes_of(types.weights) + cache_bytes
    free = free_memory()
    if free is None or needed <= free:
        return
    remedy = "use a machine with more memory, or a GPU"
    if types.weights == "float32" and checkpoint.dtype != "float32":
        remedy += "; or set engine.dtype to bfloat16, which is slow on a CPU without instructions for it"
    raise UserError(
        f"model: its weights in {types.weights} and the cache take {in_bytes(needed)} of memory, "
        f"and {in_bytes(free)} are free; {remedy}"
    )


def free_memory() -> int | None:
    """Bytes that this process may still take, by the machine and by its container; None where nobody says."""
    try:
        lines = dict(line.split(":", 1) for line in _MEMORY_INFO.read_text(encoding="ascii").splitlines())
        free = sum(int(lines[name].split()[0]) * 1024 for name in ("MemAvailable", "SwapFree"))
    except (OSError, ValueError, KeyError):
        return None
    limit, used = _number(_CGROUP / "memory.max"), _number(_CGROUP / "memory.current")
    if limit is not None and used is not None:
        free = min(free, limit - used + _reclaimable())
    return free


def _reclaimable() -> int:
    """Bytes of files in the container's memory, which it gives back."""
    try:
        text = (_CGROUP / "memory.stat").read_text(encoding="ascii")
    except OSError:
        return 0
    found = re.findall(r"^(?:in)?active_file (\d+)$", text, re.MULTILINE)
    return sum(map(int, found))


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text(encoding="ascii"))
    except (OSError, ValueError):  # `max`
        return None


def _named(dtype: str) -> str:
    return _ALIASES.get(dtype, dtype)


def _head(config: VllmConfig) -> str:
    """The user's own choice, as vLLM takes it, else float32."""
    overrides = config.arguments.get("hf_overrides")
    chosen = overrides.get("head_dtype") if isinstance(overrides, dict) else None
    return str(chosen) if chosen else "float32"
