"""Throughput of `fakescan scan` against what it has to beat, with floors; exits non-zero below one.

    make bench-scan                                                       # everything, about 80 minutes on 2 cores
    python benchmarks/scan.py --only a --explain none                     # one comparison, about 18 minutes
    python benchmarks/scan.py --only a,c --pairs 1 --images 512           # a look, in four minutes

A run of an arm takes its start, 11 to 20 s, and its images at 50 to 130 a second: with 4,096 images a pair takes
4 minutes for a score-only, 6 for a explained, 2 each for c and e; f takes 35 s, three times, and d 45 s, three times.
The images are made at the first call, which takes four minutes more, and uploaded at each, which takes half a minute.

Images of several sizes lie in a real S3 server on this machine. Every run is a fresh process, the compared ones
alternate, and a floor is held against the median of the pairs' ratios. Arms:

a  real vLLM on the built-in model: steady img/s over benchmarks/plain.py, a script that does nothing but the work, as
   one writes it and as one tunes it, score-only and with explanations; verdicts that differ from the tuned one's
b  requests running in the engine in the steady state, as a share of max_num_seqs
c  CPU milliseconds per image of everything but the engine, and over benchmarks/loop.py; verdicts that differ from its
d  four engines that sleep like a GPU: share of their ideal throughput
e  steady img/s over benchmarks/llm_recipe.py (ray.data.llm)
f  from the start of the command to the first part, less the bare engine's cold start

THE MODEL IS THE ONE THAT SHIPS (4 million parameters, 112-pixel images of 64 tokens). Results up to scan-20261123 are
of a stand-in of 1 million (84 pixels, 36 tokens), whose engine alone was two to four times as fast: do not compare
img/s or CPU-ms with theirs. THE SCRIPTS STREAM: in results up to 20261127T032310 they held all images in memory, and at
2,048 the plain one slowed down by itself; do not compare ratios with theirs. Nor is a shard of 64 rows any more, but
what a scan of so many images gets.

What the steady state is: benchmarks/README.md.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.arms import Arms, Finished, ScanRun, verdicts_that_differ
from benchmarks.images import ImageSet, image_set
from benchmarks.report import ROOT, Report, median, ratios
from benchmarks.steady import feed_cpu_ms, replica_rate, steady_window
from fakescan.engine.config import SimulatedConfig
from fakevlm.builtin import BUILT_IN
from tests.storage_server import SeaweedServer

BUCKET = "bench"
PART_ROWS = 128
"""Rows in an object of the loop and in a file of the recipe: what a shard of 4,096 images has."""
HOLD = 3
"""Shards that the feed does before the first part is written."""
EDGE = 112
"""Pixels of the model's input."""
MAX_NUM_SEQS = 32
"""What the CPU engine runs at once by default."""
PLAIN_FLOOR = 1.05
TUNED_FLOORS = {"none": 0.92, "all": 0.95}
RUNNING_FLOOR, CPU_MS_CEILING, CPU_CEILING, IDEAL_FLOOR, RECIPE_FLOOR = 0.9, 12.5, 1.25, 0.95, 1.3
FIRST_PART_CEILING = 10.0
ANSWERS = {"none": "score-only", "all": "explained"}


def main() -> None:
    """Parse, run the arms, report."""
    settings = parse()
    report = Report("scan", {name: str(value) for name, value in vars(settings).items()})
    cache = ROOT / ".cache" / "benchmarks"
    images = image_set(cache, settings.images)
    small = image_set(cache, settings.gpu_images, edge=256) if "d" in settings.only else None
    report.settings["image_set"] = images.describe()
    print(f"images: {images.describe()}\nmachine: {report.machine}\n", flush=True)
    with tempfile.TemporaryDirectory(prefix="fakescan-bench-") as folder:
        work = Path(folder)
        with SeaweedServer(work) as server:
            upload(server, "images", images, settings.images)
            if settings.explained != settings.images:
                upload(server, "explained", images, settings.explained)
            if small is not None:
                upload(server, "small", small, settings.gpu_images)
            credentials = {"AWS_ACCESS_KEY_ID": server.access_key, "AWS_SECRET_ACCESS_KEY": server.secret_key}
            arms = Arms(server.endpoint_url, credentials, str(BUILT_IN), work, BUCKET)
            measure(settings, arms, images, report)
    conclude(settings, report)
    sys.exit(report.finish())


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="a,b,c,d,e,f", help="arms to run, such as a,c")
    parser.add_argument("--explain", default="none,all", help="answers that a and b compare: none, all")
    parser.add_argument("--pairs", type=int, default=5, help="alternating pairs of each comparison")
    parser.add_argument("--images", type=int, default=4096, help="images of the score-only arms and of c")
    parser.add_argument("--explained", type=int, help="images of the explained arm (default: as --images)")
    parser.add_argument("--shard-rows", type=int, help="rows of a shard in a, b, c, e (default: a scan's own choice)")
    parser.add_argument("--gpu-replicas", type=int, default=4, help="d: sleeping engines")
    parser.add_argument("--gpu-images", type=int, default=2048, help="d: images, small ones")
    parser.add_argument("--gpu-seqs", type=int, default=32, help="d: requests that one engine runs at once")
    parser.add_argument("--gpu-step-s", type=float, default=0.1, help="d: seconds of a step")
    parser.add_argument("--gpu-tokens", type=int, default=15, help="d: steps of an explanation after the first token")
    settings = parser.parse_args()
    settings.only = [arm.strip() for arm in settings.only.split(",")]
    settings.explain = [answers.strip() for answers in settings.explain.split(",")]
    for flag, given, known in (("--only", settings.only, set("abcdef")), ("--explain", settings.explain, set(ANSWERS))):
        if not given or not known.issuperset(given):
            parser.error(f"{flag} takes {', '.join(sorted(known))}, separated by commas")
    settings.explained = settings.explained or settings.images
    return settings


def upload(server: SeaweedServer, prefix: str, images: ImageSet, count: int) -> None:
    """The first `count` images under a prefix of the bucket."""
    store, _ = server.store.filesystem(f"s3://{BUCKET}")
    if not store.exists(BUCKET):
        store.mkdir(BUCKET)
    files = images.files[:count]
    store.put([str(file) for file in files], [f"{BUCKET}/{prefix}/{file.name}" for file in files])


def measure(settings: argparse.Namespace, arms: Arms, images: ImageSet, report: Report) -> None:
    """Run what the chosen arms need, in alternating order."""
    only = set(settings.only)
    groups: list[list[Callable[[], None]]] = []
    for explain in settings.explain:
        source = "images" if explain == "none" or settings.explained == settings.images else "explained"
        pair = Pair(settings, arms, report, source, explain)
        group = [pair.scan] if only & {"a", "b"} or ("e" in only and explain == "none") else []
        group += [pair.tuned, pair.plain] if "a" in only else []
        group += [pair.recipe] if "e" in only and explain == "none" else []
        groups.append(group)
    if "c" in only:
        feed = Feed(settings, arms, report)
        groups.append([feed.scan, feed.loop])
    first = [lambda: first_part(arms, report, images), lambda: cold_start(arms, report, images)] if "f" in only else []
    for number in range(settings.pairs):
        for group in [*groups, first if number < 3 else []]:
            for run in group if number % 2 == 0 else reversed(group):
                run()
    if "d" in only:
        for _ in range(min(3, settings.pairs)):
            scan_gpu(settings, arms, report)


@dataclass
class Pair:
    """Arms a, b and e: the default engine, in a scan and in scripts."""

    settings: argparse.Namespace
    arms: Arms
    report: Report
    source: str
    explain: str
    logits: dict[str, dict[str, float]] = field(default_factory=dict)
    """Of the programs of this pair that were run."""

    def scan(self) -> None:
        """A scan."""
        engine, rows = {"kind": "vllm"}, self.settings.shard_rows
        run = self.arms.scan(self.source, hold=HOLD, explain=self.explain, engine=engine, shard_rows=rows)
        window = steady_window(run.parts, run.fetched, run.decoded)
        self.report.add(
            f"scan {self.explain}",
            img_s=window and window.rate,
            startup_s=run.startup_s,
            running=window and window.running / MAX_NUM_SEQS,
            engine_busy=window and window.busy,
            in_steady_state=window and window.rows / run.rows,
            **costs(run),
        )
        self.compare("scan", run.logits)

    def tuned(self) -> None:
        """The script that was written not to lose."""
        self.plain(tuned=True)

    def plain(self, *, tuned: bool = False) -> None:
        """The script as one writes it."""
        name = "tuned" if tuned else "plain"
        finished, logits = self.arms.plain(self.source, self.explain, tuned=tuned)
        found = finished.json()
        self.report.add(
            f"{name} {self.explain}",
            img_s=found["rows"] / found["steady_s"],
            startup_s=found["began"] - finished.started,
            **{step: found[step] for step in ("fetch_s", "decode_s", "generate_s", "write_s")},
            tokens_per_image=found["tokens"] / found["rows"],
            **footprint(finished),
        )
        self.compare(name, logits)

    def recipe(self) -> None:
        """ray.data.llm, from the loaded engine to the last file. What it prepared before counts in its favour."""
        finished = self.arms.recipe(self.source, self.explain, -(-self.settings.images // PART_ROWS))
        found = finished.json()
        self.report.add(
            "recipe none",
            img_s=found["rows"] / (found["ended"] - found["loaded"]),
            startup_s=found["loaded"] - finished.started,
            **footprint(finished),
        )

    def compare(self, name: str, logits: dict[str, float]) -> None:
        """Say how many verdicts differ, once scan and tuned script of the pair were run."""
        self.logits[name] = logits
        if self.logits.keys() >= {"scan", "tuned"}:
            differ = verdicts_that_differ(self.logits["scan"], self.logits["tuned"])
            self.report.add(f"verdicts {self.explain}", compared=len(logits), differ=differ)
            self.logits.clear()


@dataclass
class Feed:
    """Arm c: everything but the engine, which answers at once, and the hand-written loop."""

    settings: argparse.Namespace
    arms: Arms
    report: Report
    logits: list[dict[str, float]] = field(default_factory=list)

    def scan(self) -> None:
        """A scan."""
        rows = self.settings.shard_rows
        run = self.arms.scan("images", explain="none", engine={"kind": "fake"}, shard_rows=rows)
        self.report.add(
            "scan feed",
            cpu_ms=feed_cpu_ms(run.parts, run.tree_cpu_s, run.fetched, run.decoded),
            startup_s=run.startup_s,
            startup_cpu_s=run.tree_cpu_s[0],
            **costs(run),
        )
        self.compare(run.logits)

    def loop(self) -> None:
        """The loop."""
        finished, logits = self.arms.loop("images", EDGE, PART_ROWS)
        found = finished.json()
        self.report.add(
            "loop",
            cpu_ms=1e3 * found["cpu_s"] / found["rows"],
            img_s=found["rows"] / found["seconds"],
            **footprint(finished),
        )
        self.compare(logits)

    def compare(self, logits: dict[str, float]) -> None:
        """Say how many verdicts differ, once both were run."""
        self.logits.append(logits)
        if len(self.logits) == 2:
            self.report.add("verdicts feed", compared=len(logits), differ=verdicts_that_differ(*self.logits))
            self.logits.clear()


def scan_gpu(settings: argparse.Namespace, arms: Arms, report: Report) -> None:
    """Arm d: engines that sleep."""
    engine = SimulatedConfig(max_num_seqs=settings.gpu_seqs, step_s=settings.gpu_step_s, tokens=settings.gpu_tokens)
    replicas = settings.gpu_replicas
    run = arms.scan(
        "small",
        hold=replicas * HOLD,
        explain="all",
        engine=engine.model_dump(mode="json"),
        replicas=replicas,
        shard_rows=engine.max_num_seqs,
    )
    ideal = replicas * engine.max_num_seqs / (engine.step_s * (1 + engine.tokens))
    rate = replica_rate(run.parts)
    report.add("sleeping engines", img_s=rate, of_ideal=rate / ideal, startup_s=run.startup_s, **costs(run))


def first_part(arms: Arms, report: Report, images: ImageSet) -> None:
    """Arm f: `fakescan scan FOLDER`."""
    finished, seconds = arms.first_part(images.folder)
    report.add("first part", startup_s=seconds, **footprint(finished))


def cold_start(arms: Arms, report: Report, images: ImageSet) -> None:
    """Arm f: the engine alone."""
    finished, seconds = arms.cold_start(images.files[0])
    report.add("cold start", startup_s=seconds, **footprint(finished))


def costs(run: ScanRun) -> dict[str, float]:
    """CPU milliseconds per image of each stage, and memory."""
    stages = {f"{stage}_cpu_ms": run.stage_ms(stage) for stage in ("fetch", "decode", "write")}
    return {**stages, "processes": run.processes, **footprint(run.process)}


def footprint(finished: Finished) -> dict[str, float]:
    """Peak memory of the tree, and how busy the machine was with other things."""
    return {"peak_mb": finished.peak_bytes / 1e6, "others_cores": finished.others_cores}


def conclude(settings: argparse.Namespace, report: Report) -> None:
    """The table and the floors."""
    scripts = ("plain none", "tuned none", "recipe none", "plain all", "tuned all", "loop")
    arms = ("scan none", "scan all", "scan feed", "sleeping engines", *scripts)
    report.table(arms, ("img_s", "startup_s", "running", "engine_busy", "cpu_ms", "peak_mb", "others_cores"))
    report.table(arms, ("fetch_cpu_ms", "decode_cpu_ms", "write_cpu_ms", "in_steady_state", "processes"))

    def over(above: str, below: str, name: str = "img_s") -> float | None:
        return median(ratios(report.values(above, name), report.values(below, name)))

    def later() -> float | None:
        first, bare = report.values("first part", "startup_s"), report.values("cold start", "startup_s")
        return median([a - b for a, b in zip(first, bare, strict=True)])

    def same_verdicts(name: str, pair: str) -> None:
        differ = report.values(f"verdicts {pair}", "differ")
        report.require(name, max(differ, default=None), 0, at_least=False)

    only = settings.only
    if "a" in only:
        for explain in settings.explain:
            for script, floor in (("plain", PLAIN_FLOOR), ("tuned", TUNED_FLOORS[explain])):
                name = f"a  img/s over the {script} script, {ANSWERS[explain]}"
                report.require(name, over(f"scan {explain}", f"{script} {explain}"), floor)
            same_verdicts(f"a  verdicts that differ from the tuned script's, {ANSWERS[explain]}", explain)
    if "b" in only and "all" in settings.explain:
        running = report.median("scan all", "running")
        report.require("b  requests running / max_num_seqs, explained", running, RUNNING_FLOOR)
    if "c" in only:
        name = "c  CPU-ms per image of everything but the engine"
        report.require(name, report.median("scan feed", "cpu_ms"), CPU_MS_CEILING, at_least=False)
        same_verdicts("c  verdicts that differ from the hand-written loop's", "feed")
        name = "c  CPU-ms per image of the feed over the hand-written loop"
        report.require(name, over("scan feed", "loop", "cpu_ms"), CPU_CEILING, at_least=False)
    if "d" in only:
        name = f"d  share of the ideal throughput of {settings.gpu_replicas} sleeping engines"
        report.require(name, report.median("sleeping engines", "of_ideal"), IDEAL_FLOOR)
    if "e" in only and "none" in settings.explain:
        report.require("e  img/s over ray.data.llm, score-only", over("scan none", "recipe none"), RECIPE_FLOOR)
    if "f" in only:
        name = "f  seconds to the first part, less the bare engine's cold start"
        report.require(name, later(), FIRST_PART_CEILING, at_least=False)


if __name__ == "__main__":
    main()
