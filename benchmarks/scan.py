"""Throughput of `fakescan scan` against what it has to beat, with floors; exits non-zero below one.

    make bench-scan                                             # everything, about 35 minutes on 2 cores
    python benchmarks/scan.py --only a,c --pairs 1 --images 256 # a look, in two minutes

Images of several sizes lie in a real S3 server on this machine. Every run is a fresh process, the compared ones
alternate, and a floor is held against the median of the pairs' ratios. Arms:

a  real vLLM on the built-in model: steady img/s over benchmarks/plain.py, score-only and with explanations
b  requests running in the engine in the steady state, as a share of max_num_seqs
c  CPU milliseconds per image of everything but the engine, over benchmarks/loop.py
d  four engines that sleep like a GPU: share of their ideal throughput
e  steady img/s over benchmarks/llm_recipe.py (ray.data.llm)
f  from the start of the command to the first part, less the bare engine's cold start

THE MODEL IS THE ONE THAT SHIPS (4 million parameters, 112-pixel images of 64 tokens). Results up to scan-20261123 are
of a stand-in of 1 million (84 pixels, 36 tokens), whose engine alone was two to four times as fast: do not compare
img/s or CPU-ms with theirs. The floors are ratios of programs with one model, and hold as before.

What the steady state is: benchmarks/README.md.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.arms import Arms, Finished, ScanRun
from benchmarks.images import ImageSet, image_set
from benchmarks.report import ROOT, Report, median, ratios
from benchmarks.steady import feed_cpu_ms, replica_rate, steady_window
from fakescan.engine.config import SimulatedConfig
from fakevlm.builtin import BUILT_IN
from tests.storage_server import SeaweedServer

BUCKET = "bench"
SHARD_ROWS = 64
"""Smaller than the default of big scans, 256, so that a run of seconds has parts enough to tell a rate from."""
HOLD = 3
"""Shards that the feed does before the first part is written."""
EDGE = 112
"""Pixels of the model's input."""
MAX_NUM_SEQS = 32
"""What the CPU engine runs at once by default."""
PLAIN_FLOOR, RUNNING_FLOOR, CPU_CEILING, IDEAL_FLOOR, RECIPE_FLOOR, FIRST_PART_CEILING = 1.0, 0.9, 1.25, 0.95, 1.3, 10.0


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
    parser.add_argument("--pairs", type=int, default=5, help="alternating pairs of each comparison")
    parser.add_argument("--images", type=int, default=2048, help="images of the score-only arms and of c")
    parser.add_argument("--explained", type=int, help="images of the explained arm (default: half of --images)")
    parser.add_argument("--gpu-replicas", type=int, default=4, help="d: sleeping engines")
    parser.add_argument("--gpu-images", type=int, default=2048, help="d: images, small ones")
    parser.add_argument("--gpu-seqs", type=int, default=32, help="d: requests that one engine runs at once")
    parser.add_argument("--gpu-step-s", type=float, default=0.1, help="d: seconds of a step")
    parser.add_argument("--gpu-tokens", type=int, default=15, help="d: steps of an explanation after the first token")
    settings = parser.parse_args()
    settings.only = [arm.strip() for arm in settings.only.split(",")]
    settings.explained = settings.explained or settings.images // 2
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
    blocks = -(-settings.images // SHARD_ROWS)
    scored: list[Callable[[], None]] = []
    explained: list[Callable[[], None]] = []
    if only & {"a", "b", "e"}:
        scored.append(lambda: scan_vllm(arms, report, "images", "none"))
    if "a" in only:
        scored.append(lambda: plain(arms, report, "images", "none"))
        scored.append(lambda: plain(arms, report, "images", "none", tuned=True))
        explained.append(lambda: plain(arms, report, "explained", "all"))
        explained.append(lambda: plain(arms, report, "explained", "all", tuned=True))
    if "e" in only:
        scored.append(lambda: recipe(arms, report, blocks))
    if only & {"a", "b"}:
        explained.append(lambda: scan_vllm(arms, report, "explained", "all"))
    feed: list[Callable[[], None]] = (
        [lambda: scan_feed(arms, report), lambda: loop(arms, report)] if "c" in only else []
    )
    first = [lambda: first_part(arms, report, images), lambda: cold_start(arms, report, images)] if "f" in only else []
    for pair in range(settings.pairs):
        for group in (scored, explained, feed, first if pair < 3 else []):
            for run in group if pair % 2 == 0 else reversed(group):
                run()
    if "d" in only:
        for _ in range(min(3, settings.pairs)):
            scan_gpu(settings, arms, report)


def scan_vllm(arms: Arms, report: Report, source: str, explain: str) -> None:
    """Arms a, b, e: the default engine."""
    engine = {"kind": "vllm"}
    run = arms.scan(source, hold=HOLD, explain=explain, engine=engine, shard_rows=SHARD_ROWS)
    window = steady_window(run.parts, run.fetched, run.decoded)
    report.add(
        f"scan {explain}",
        img_s=window and window.rate,
        startup_s=run.startup_s,
        running=window and window.running / MAX_NUM_SEQS,
        engine_busy=window and window.busy,
        in_steady_state=window and window.rows / run.rows,
        **costs(run),
    )


def plain(arms: Arms, report: Report, source: str, explain: str, *, tuned: bool = False) -> None:
    """Arm a: the plain script."""
    finished = arms.plain(source, explain, tuned=tuned)
    found = finished.json()
    report.add(
        f"{'tuned' if tuned else 'plain'} {explain}",
        img_s=found["rows"] / found["steady_s"],
        startup_s=found["began"] - finished.started,
        **{name: found[name] for name in ("fetch_s", "decode_s", "generate_s", "write_s")},
        tokens_per_image=found["tokens"] / found["rows"],
        **footprint(finished),
    )


def recipe(arms: Arms, report: Report, blocks: int) -> None:
    """Arm e: ray.data.llm, from the loaded engine to the last file. What it prepared before counts in its favour."""
    finished = arms.recipe("images", "none", blocks)
    found = finished.json()
    report.add(
        "recipe none",
        img_s=found["rows"] / (found["ended"] - found["loaded"]),
        startup_s=found["loaded"] - finished.started,
        **footprint(finished),
    )


def scan_feed(arms: Arms, report: Report) -> None:
    """Arm c: everything but the engine, which answers at once."""
    run = arms.scan("images", explain="none", engine={"kind": "fake"}, shard_rows=SHARD_ROWS)
    report.add(
        "scan feed",
        cpu_ms=feed_cpu_ms(run.parts, run.tree_cpu_s, run.fetched, run.decoded),
        startup_s=run.startup_s,
        startup_cpu_s=run.tree_cpu_s[0],
        **costs(run),
    )


def loop(arms: Arms, report: Report) -> None:
    """Arm c: the hand-written loop."""
    finished = arms.loop("images", EDGE, SHARD_ROWS)
    found = finished.json()
    report.add(
        "loop",
        cpu_ms=1e3 * found["cpu_s"] / found["rows"],
        img_s=found["rows"] / found["seconds"],
        **footprint(finished),
    )


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
    report.table(arms, ("img_s", "startup_s", "running", "engine_busy", "cpu_ms", "peak_mb"))
    report.table(arms, ("fetch_cpu_ms", "decode_cpu_ms", "write_cpu_ms", "in_steady_state", "processes"))

    def over(above: str, below: str, name: str = "img_s") -> float | None:
        return median(ratios(report.values(above, name), report.values(below, name)))

    def later() -> float | None:
        first, bare = report.values("first part", "startup_s"), report.values("cold start", "startup_s")
        return median([a - b for a, b in zip(first, bare, strict=True)])

    only = settings.only
    if "a" in only:
        report.require("a  img/s over the plain script, score-only", over("scan none", "plain none"), PLAIN_FLOOR)
        report.require("a  img/s over the plain script, explained", over("scan all", "plain all"), PLAIN_FLOOR)
        for explain, what in (("none", "score-only"), ("all", "explained")):
            ratio = over(f"scan {explain}", f"tuned {explain}")
            if ratio is not None:  # a short run has no steady state
                print(f"      a  img/s over the tuned script, {what}: {ratio:.2f}, no floor")
    if "b" in only:
        running = report.median("scan all", "running")
        report.require("b  requests running / max_num_seqs, explained", running, RUNNING_FLOOR)
    if "c" in only:
        name = "c  CPU-ms per image of the feed over the hand-written loop"
        report.require(name, over("scan feed", "loop", "cpu_ms"), CPU_CEILING, at_least=False)
    if "d" in only:
        name = f"d  share of the ideal throughput of {settings.gpu_replicas} sleeping engines"
        report.require(name, report.median("sleeping engines", "of_ideal"), IDEAL_FLOOR)
    if "e" in only:
        report.require("e  img/s over ray.data.llm, score-only", over("scan none", "recipe none"), RECIPE_FLOOR)
    if "f" in only:
        name = "f  seconds to the first part, less the bare engine's cold start"
        report.require(name, later(), FIRST_PART_CEILING, at_least=False)


if __name__ == "__main__":
    main()
