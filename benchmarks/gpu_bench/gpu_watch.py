"""The GPU as its driver sees it, by NVML: its name, how busy it is, and who else uses it."""

import importlib
import os
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import ModuleType
from typing import Any

EVERY_S = 0.5
"""Seconds between two looks."""
_SLOWDOWNS = {
    0x04: "power cap", 0x08: "hardware slowdown", 0x20: "heat (software)", 0x40: "heat (hardware)", 0x80: "power brake",
}  # fmt: skip
"""NVML's reasons for a lower clock, as far as they say something of a measurement."""


@dataclass(frozen=True)
class Look:
    """One look at the GPU; None for what it does not tell."""

    at: float
    """Unix time."""
    busy: float | None = None
    """Share of the last moments in which a kernel ran."""
    memory: int | None = None
    """Bytes in use, by whomever."""
    power_w: float | None = None
    clock_mhz: float | None = None
    """Of the multiprocessors."""
    heat_c: float | None = None
    slowed_by: tuple[str, ...] = ()


@dataclass(frozen=True)
class Gpu:
    """A GPU that is there."""

    name: str
    memory: int | None
    """Bytes in all."""
    driver: str | None = None
    cuda: str | None = None
    """The newest CUDA that the driver knows."""
    power_limit_w: float | None = None
    max_clock_mhz: float | None = None


class Nvml:
    """One GPU, asked through pynvml, of which Ray brings a copy."""

    def __init__(self, nvml: ModuleType, handle: Any) -> None:
        self._nvml = nvml
        self._handle = handle

    @classmethod
    def open(cls, visible: str) -> "Nvml | None":
        """The GPU that CUDA_VISIBLE_DEVICES names by its number or UUID; None without NVML, or without such a GPU."""
        nvml = _pynvml() if visible else None
        if nvml is None:
            return None
        try:
            nvml.nvmlInit()
            if visible.isdigit():
                return cls(nvml, nvml.nvmlDeviceGetHandleByIndex(int(visible)))
            return cls(nvml, nvml.nvmlDeviceGetHandleByUUID(visible.encode()))
        except nvml.NVMLError:
            return None

    def gpu(self) -> Gpu:
        """What does not change."""
        memory = self._ask("nvmlDeviceGetMemoryInfo")
        limit = self._ask("nvmlDeviceGetEnforcedPowerLimit")
        cuda = self._ask_system("nvmlSystemGetCudaDriverVersion")
        return Gpu(
            name=_text(self._ask("nvmlDeviceGetName")) or "unknown GPU",
            memory=None if memory is None else int(memory.total),
            driver=_text(self._ask_system("nvmlSystemGetDriverVersion")),
            cuda=None if cuda is None else f"{cuda // 1000}.{cuda % 1000 // 10}",
            power_limit_w=None if limit is None else limit / 1e3,
            max_clock_mhz=self._ask("nvmlDeviceGetMaxClockInfo", self._nvml.NVML_CLOCK_SM),
        )

    def look(self) -> Look:
        """What it does now."""
        busy, memory = self._ask("nvmlDeviceGetUtilizationRates"), self._ask("nvmlDeviceGetMemoryInfo")
        power = self._ask("nvmlDeviceGetPowerUsage")
        reasons = self._ask("nvmlDeviceGetCurrentClocksThrottleReasons") or 0
        return Look(
            at=time.time(),
            busy=None if busy is None else busy.gpu / 100,
            memory=None if memory is None else int(memory.used),
            power_w=None if power is None else power / 1e3,
            clock_mhz=self._ask("nvmlDeviceGetClockInfo", self._nvml.NVML_CLOCK_SM),
            heat_c=self._ask("nvmlDeviceGetTemperature", self._nvml.NVML_TEMPERATURE_GPU),
            slowed_by=tuple(word for bit, word in _SLOWDOWNS.items() if reasons & bit),
        )

    def _ask(self, question: str, *more: Any) -> Any:
        return self._ask_system(question, self._handle, *more)

    def _ask_system(self, question: str, *arguments: Any) -> Any:
        try:
            return getattr(self._nvml, question)(*arguments)
        except (self._nvml.NVMLError, AttributeError):
            return None  # a slice of a GPU has no power of its own, and an old driver not every function


def visible_gpu() -> str:
    """The one GPU that is measured: the first of CUDA_VISIBLE_DEVICES, by default the first of the machine.

    Empty where that is empty: CUDA sees no GPU then.
    """
    return os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip()


@contextmanager
def watching(nvml: Nvml | None) -> Iterator[list[Look]]:
    """A list that grows by a look every half second; it stays empty without NVML."""
    looks: list[Look] = []
    if nvml is None:
        yield looks
        return
    done = threading.Event()

    def watch() -> None:
        while not done.wait(EVERY_S):
            looks.append(nvml.look())

    thread = threading.Thread(target=watch, name="gpu-watch", daemon=True)
    thread.start()
    try:
        yield looks
    finally:
        done.set()
        thread.join()


@dataclass(frozen=True)
class Use:
    """The GPU in some stretches of time: means, but the most of memory and heat."""

    busy: float | None
    memory: int | None
    power_w: float | None
    clock_mhz: float | None
    heat_c: float | None
    slowed_by: tuple[str, ...]
    """Reasons for a lower clock in at least a tenth of the looks."""


def use_in(looks: Sequence[Look], stretches: Sequence[tuple[float, float]]) -> Use | None:
    """The use of the GPU in these stretches, of Unix times; None where nobody looked."""
    inside = [look for look in looks if any(began <= look.at <= ended for began, ended in stretches)]
    if not inside:
        return None
    reasons = [word for look in inside for word in look.slowed_by]
    return Use(
        busy=_mean([look.busy for look in inside]),
        memory=max((look.memory for look in inside if look.memory is not None), default=None),
        power_w=_mean([look.power_w for look in inside]),
        clock_mhz=_mean([look.clock_mhz for look in inside]),
        heat_c=max((look.heat_c for look in inside if look.heat_c is not None), default=None),
        slowed_by=tuple(word for word in _SLOWDOWNS.values() if reasons.count(word) >= 0.1 * len(inside)),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def _text(value: Any) -> str | None:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _pynvml() -> ModuleType | None:
    for name in ("pynvml", "ray._private.thirdparty.pynvml"):
        with suppress(ImportError):
            return importlib.import_module(name)
    return None
