"""The command line of the bench."""

import argparse
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn

from benchmarks.report import ROOT

PARTS = ("engine", "scan", "loop", "fp8", "reference")
MINUTES, QUICK_MINUTES = 45.0, 20.0
KEPT = ROOT / ".cache" / "benchmarks"
BenchDevice = Literal["cuda", "cpu", "simulated"]


@dataclass(frozen=True)
class Options:
    """What was asked for."""

    device: BenchDevice
    model: str | None
    only: tuple[str, ...]
    quick: bool
    minutes: float
    peak_tflops: tuple[float, float | None] | None
    """Of 16 bits and of FP8, as the user gives them."""
    quantization: str
    max_num_seqs: int | None
    max_num_batched_tokens: int | None
    output: Path | None
    work: Path

    @property
    def windows(self) -> int:
        """Measured windows of each mode."""
        return 2 if self.quick else 3

    @property
    def window_s(self) -> float:
        """Length of a window; a simulated engine has no heat and no noise to wait for."""
        return (1.0 if self.quick else 3.0) if self.device == "simulated" else (5.0 if self.quick else 15.0)

    @property
    def warm_s(self) -> float:
        """Least seconds before the first window."""
        return 0.5 if self.device == "simulated" else (3.0 if self.quick else 10.0)


class OneLine(argparse.ArgumentParser):
    """A parser that says what is wrong in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        """Print the line and end."""
        self.exit(2, f"gpu bench: {message}\n")


def parse(arguments: list[str] | None, description: str | None) -> Options:
    """Read the command line; ends the process with a line and status 2 where it is wrong."""
    parser = OneLine(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--device", choices=("cuda", "cpu", "simulated"), default="cuda",
        help="cpu and simulated only check the bench itself (default: cuda)",
    )  # fmt: skip
    parser.add_argument(
        "--model", metavar="FOLDER",
        help="a real checkpoint on this machine; AUROC and flips mean nothing without (default: made here, 14 GB)",
    )  # fmt: skip
    parser.add_argument("--only", default=",".join(PARTS), help=f"parts, of {','.join(PARTS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="short windows, for a look")
    parser.add_argument(
        "--minutes", type=_positive, default=None,
        help=f"end after this long, with what there is (default: {MINUTES:g}, quick {QUICK_MINUTES:g})",
    )  # fmt: skip
    parser.add_argument(
        "--peak-tflops", type=_peaks, metavar="X[,Y]",
        help="the GPU's dense peaks in 16 bits and in FP8, if it is not in the table, or does not keep to it",
    )  # fmt: skip
    parser.add_argument("--quantization", default="fp8_per_tensor", help="vLLM's name for FP8 (default: %(default)s)")
    parser.add_argument("--max-num-seqs", type=_count, help="requests at once (default: vLLM's choice)")
    parser.add_argument("--max-num-batched-tokens", type=_count, help="tokens of a step (default: vLLM's choice)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="the JSON (default: in benchmarks/results)")
    parser.add_argument(
        "--work", type=Path, default=KEPT, metavar="FOLDER",
        help="for images and the checkpoint, which are kept for the next run (default: .cache/benchmarks)",
    )  # fmt: skip
    given = parser.parse_args(arguments)
    only = tuple(dict.fromkeys(part.strip() for part in given.only.split(",") if part.strip()))
    if unknown := [part for part in only if part not in PARTS]:
        parser.error(f"--only: there is no {unknown[0]}; choose from {','.join(PARTS)}")
    if not only:
        parser.error(f"--only: name a part of {','.join(PARTS)}")
    if given.output is not None and not given.output.absolute().parent.is_dir():
        parser.error(f"--output: there is no folder {given.output.absolute().parent}")
    if given.output is not None and given.output.is_dir():
        parser.error(f"--output: {given.output} is a folder; name a file")
    return Options(
        device=given.device,
        model=given.model,
        only=only,
        quick=given.quick,
        minutes=given.minutes or (QUICK_MINUTES if given.quick else MINUTES),
        peak_tflops=given.peak_tflops,
        quantization=given.quantization,
        max_num_seqs=given.max_num_seqs,
        max_num_batched_tokens=given.max_num_batched_tokens,
        output=given.output,
        work=given.work.absolute(),
    )


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (value > 0 and math.isfinite(value)):
        raise argparse.ArgumentTypeError(f"must be a number above 0, not {text!r}")
    return value


def _count(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number above 0, not {text!r}")
    return value


def _peaks(text: str) -> tuple[float, float | None]:
    first, comma, second = text.partition(",")
    return _positive(first), _positive(second) if comma else None
