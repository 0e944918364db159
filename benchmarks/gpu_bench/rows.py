"""A row of the result: one part of the bench in one mode, from the windows that it measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

from benchmarks.gpu_bench.figures import Spread, spread
from benchmarks.gpu_bench.flops import Work, share_of_peak
from benchmarks.gpu_bench.gpu_watch import Look, Use, use_in
from fakescan.engine.judging_options import Explain

Mode = Literal["score", "explained"]
MODES: Mapping[Explain, Mode] = {"none": "score", "all": "explained"}


@dataclass(frozen=True)
class Row:
    """One part in one mode; None for what was not measured."""

    part: str
    """engine, scan, loop, generate (the loop's calls of `LLM.generate` alone), and engine FP8."""
    mode: Mode
    simulated: bool
    error: str | None = None
    """Why there are no figures."""
    images_s: Spread | None = None
    share_of_peak: float | None = None
    tokens_per_image: float | None = None
    """Written by the model: the first token, and those of the explanation."""
    running: float | None = None
    """Requests running in a step, on average."""
    max_num_seqs: int | None = None
    waiting: float | None = None
    tokens_per_step: float | None = None
    max_num_batched_tokens: int | None = None
    kv_cache: float | None = None
    """Share of the KV cache in use, on average."""
    preempted: float | None = None
    """Requests put back for want of room in it."""
    cores: float | None = None
    """CPU cores that the process and all that it started kept busy."""
    host_bytes: int | None = None
    """Most memory of the same processes."""
    others_cores: float | None = None
    """CPU cores that everything else on the machine kept busy."""
    gpu: Use | None = None
    start_s: float | None = None
    """Seconds until the engine was loaded; of a scan, until its first part was written."""
    steady: bool = True
    """False for a scan too short to have a steady state: its rate is that of all that follows its start-up."""


def row_of(
    part: str,
    mode: Mode,
    windows: Sequence[Mapping[str, Any]],
    *,
    looks: Sequence[Look],
    work: Work | None,
    peak_tflops: float | None,
    simulated: bool,
    **known: Any,
) -> Row:
    """The row of windows with `began`, `ended`, `images`, `cores`, the engine's `steps`, and `tokens` if known.

    `known`: further fields of the row.
    """
    images = sum(window["images"] for window in windows)
    counted: dict[str, float] = {}
    for window in windows:
        for name, value in window["steps"].items():
            counted[name] = counted.get(name, 0) + value
    steps = counted.get("steps", 0)

    def per_step(name: str) -> float | None:
        return counted[name] / steps if steps and name in counted else None

    tokens = known.pop("tokens_per_image", None)
    if tokens is None and images:
        written = [window["tokens"] for window in windows if "tokens" in window]
        tokens = sum(written) / images if written else counted.get("running", 0) / images or None
    rates = spread([window["images"] / (window["ended"] - window["began"]) for window in windows])
    share = None
    if rates is not None and work is not None and peak_tflops is not None and tokens is not None:
        share = share_of_peak(rates.median, tokens, work, peak_tflops)
    return Row(
        part=part,
        mode=mode,
        simulated=simulated,
        images_s=rates,
        share_of_peak=share,
        tokens_per_image=tokens,
        running=per_step("running"),
        waiting=per_step("waiting"),
        tokens_per_step=per_step("tokens"),
        kv_cache=per_step("kv_cache"),
        preempted=counted.get("preempted"),
        cores=median(window["cores"] for window in windows),
        gpu=use_in(looks, [(window["began"], window["ended"]) for window in windows]),
        **known,
    )
