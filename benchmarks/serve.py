"""What `fakescan serve` costs beside the engine, and what happens when too much is asked, with floors.

    make bench-serve                                              # about 20 minutes on 2 cores
    python benchmarks/serve.py --only closed --pairs 1 --seconds 5   # a look, in three minutes

The shipped checkpoint, one replica, one machine, one key whose limits are never reached. The load comes from a process
of its own, whose CPU time is reported apart although its use of the cores is felt. Images as in `scan.py`, one in a
request, raw.

closed    a number of requests in flight: throughput, latency, CPU time of the server's whole tree of processes, beside
          the bare engine's with as many images in flight, alone and on a machine whose other core is busy
vllm      vLLM's own server on the same images, asked for one token of each and for a whole answer: as it comes (which
          computes in bfloat16), with the server's type of numbers, and with all settings of the server's engine
overload  ten times as many requests a second as the server can answer, whether it answers or not
kill      `kill -9` of the replica under load
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.arms import Arms
from benchmarks.images import ImageSet, image_set
from benchmarks.report import ROOT, Report, median, ratios
from benchmarks.serve_cpu import REPLICA, ServerClock, Used
from benchmarks.serve_engine import EnginePlan
from benchmarks.serve_load import BEGAN, ENDED, Plan
from benchmarks.serve_vllm import Kind, vllm_server
from fakescan.serve.config import ServeConfig
from fakescan.serve.keys import edit_keys
from tests.serve_process import Served, serving

CONCURRENCY = (1, 8, 32)
HELD_AT = (8, 32)
"""Where the CPU time has a ceiling: with one request in flight the server waits most of the time, and what Ray's
processes use then would be counted as its cost."""
QUESTIONS = {"none": 1, "all": ServeConfig(no_auth=True).max_new_tokens}
"""What both servers are asked for: `explain`, and tokens of OpenAI's API, of which an answer takes what it needs."""
VLLM_FLOOR = 1.5
"""Throughput over that of vLLM's own server as it comes. The others are shown and have no floor."""
VLLM_SERVERS: dict[str, Kind] = {"vllm": "as it comes", "same": "same numbers", "tuned": "tuned"}
"""vLLM's servers by the names of their rows."""
BEYOND_CEILING_MS, ACCEPTED_FLOOR, REFUSAL_CEILING_S, RECOVERED_FLOOR = 15.0, 0.75, 1.0, 0.75
OVERLOAD = 10.0
OVERLOADING = 32
"""Requests in flight that make out the unloaded throughput."""
MAX_CONNECTIONS = 8000
"""Connections of the overload; so many that they never are the limit."""
IDLE_S = 10.0
KILL_AFTER_S, KILL_CONCURRENCY, KILL_PAUSE_S = 5.0, 16, 0.25
"""Clients come again sooner than they are told to, so that the end of an outage is seen."""


@dataclass(frozen=True)
class Bench:
    """Settings, images and report of all arms."""

    settings: argparse.Namespace
    images: ImageSet
    report: Report

    def plan(self, served: Served, **values: Any) -> Plan:
        """A load on a server."""
        port = int(served.url.rpartition(":")[2])
        base = {"port": port, "key": served.key, "folder": str(self.images.folder), "images": len(self.images.files)}
        return Plan(**{**base, "seconds": self.settings.seconds, **values})


def main() -> None:
    """Parse, run the arms, report."""
    settings = parse()
    report = Report("serve", {name: str(value) for name, value in vars(settings).items()})
    bench = Bench(settings, image_set(ROOT / ".cache" / "benchmarks", settings.images), report)
    report.settings["image_set"] = bench.images.describe()
    print(f"images: {bench.images.describe()}\nmachine: {report.machine}\n", flush=True)
    if "closed" in settings.only:
        for pair in range(settings.pairs):
            for run in (engine, closed) if pair % 2 == 0 else (closed, engine):
                run(bench)
        conclude_closed(bench)
    if "vllm" in settings.only:
        for pair in range(settings.pairs):
            arms = [partial(ours, bench), *(partial(theirs, bench, name) for name in VLLM_SERVERS)]
            for run in arms if pair % 2 == 0 else reversed(arms):
                run()
        conclude_vllm(bench)
    if "overload" in settings.only:
        overload(bench)
    if "kill" in settings.only:
        kill(bench)
    sys.exit(report.finish())


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="closed,vllm,overload,kill", help="arms to run, such as closed,kill")
    parser.add_argument("--pairs", type=int, default=3, help="closed and vllm: the server and the other in turn")
    parser.add_argument("--seconds", type=float, default=15.0, help="length of a window")
    parser.add_argument("--explain", default="fakes,none", help="closed: what is asked for; floors need fakes")
    parser.add_argument("--overload-seconds", type=float, default=60.0)
    parser.add_argument("--kill-seconds", type=float, default=90.0)
    parser.add_argument("--images", type=int, default=512)
    settings = parser.parse_args()
    settings.only, settings.explain = settings.only.split(","), settings.explain.split(",")
    return settings


def engine(bench: Bench) -> None:
    """The bare engine, alone and beside a process that decodes."""
    settings = bench.settings
    images = str(bench.images.folder), len(bench.images.files)
    alone = EnginePlan(*images, settings.explain, list(CONCURRENCY), settings.seconds)
    beside = EnginePlan(*images, ["fakes"], list(HELD_AT), settings.seconds, beside=True)
    for name, plan in (("engine", alone), *([("beside", beside)] if "fakes" in settings.explain else [])):
        command = [sys.executable, "-m", "benchmarks.serve_engine", json.dumps(asdict(plan))]
        with tempfile.TemporaryDirectory(prefix="fakescan-bench-") as folder:
            finished = Arms("", {}, "", Path(folder), "").run(command)
        for found in finished.json():
            row = f"{name} {found.pop('explain')} {found.pop('concurrency')}"
            bench.report.add(row, **found, others_cores=finished.others_cores)


def closed(bench: Bench) -> None:
    """The server with as many requests in flight as the bare engine has images."""
    with server() as (served, clock):
        idle = measure_idle(bench, clock)
        for explain in bench.settings.explain:
            for concurrency in CONCURRENCY:
                plan = bench.plan(served, query=f"explain={explain}", connections=concurrency)
                found, used = load(plan, clock)
                fail_unless_answered(found)
                bench.report.add(
                    f"served {explain} {concurrency}",
                    requests_s=found["requests_s"],
                    cpu_ms=1e3 * used.cores / found["requests_s"],
                    idle_ms=1e3 * idle / found["requests_s"],
                    **{name: found[name] for name in ("p50_ms", "p99_ms", "load_cores")},
                    **used.per_request_ms(found["requests_s"]),
                    others_cores=used.others_cores,
                )


def measure_idle(bench: Bench, clock: ServerClock) -> float:
    """Cores that the server uses while nobody asks anything."""
    time.sleep(2.0)
    before = clock.read()
    time.sleep(IDLE_S)
    used = clock.since(before)
    parts = {f"{part}_cores": cores for part, cores in used.parts.items()}
    bench.report.add("idle", cores=used.cores, **parts, others_cores=used.others_cores)
    return used.cores


def conclude_closed(bench: Bench) -> None:
    """What each request costs beyond the engine: pair by pair."""
    report, explains = bench.report, bench.settings.explain
    names = [(f"{explain} {concurrency}", concurrency) for explain in explains for concurrency in CONCURRENCY]
    for name, _ in names:
        rows = zip(report.measurements[f"served {name}"], report.measurements[f"engine {name}"], strict=True)
        for served, bare in rows:
            report.add(
                f"beyond {name}",
                cpu_ms=served["cpu_ms"] - bare["cpu_ms"],
                less_idle_ms=served["cpu_ms"] - served["idle_ms"] - bare["cpu_ms"],
                less_decode_ms=served["cpu_ms"] - bare["decode_ms"] - bare["cpu_ms"],
                of_engine=served["requests_s"] / bare["requests_s"],
            )
    sides = [f"{side} {name}" for name, _ in names for side in ("served", "engine")]
    report.table(sides, ("requests_s", "p50_ms", "p99_ms", "cpu_ms", "decode_ms", "load_cores"))
    parts = (
        "proxy_ms",
        "replica_ms",
        "engine_ms",
        "decode_ms",
        "driver_ms",
        "controller_ms",
        "control_ms",
        "raylet_ms",
        "gcs_ms",
        "rest_ms",
    )
    report.table([f"served {name}" for name, _ in names], parts)
    report.table([f"beyond {name}" for name, _ in names], ("cpu_ms", "less_idle_ms", "less_decode_ms", "of_engine"))
    if "fakes" in explains:
        report.table([f"beside fakes {concurrency}" for concurrency in HELD_AT], ("requests_s", "cpu_ms", "decode_ms"))
        for concurrency in HELD_AT:
            report.require(
                f"CPU-ms per request beyond the engine, {concurrency} in flight, idle and decoding included",
                report.median(f"beyond fakes {concurrency}", "cpu_ms"),
                BEYOND_CEILING_MS,
                at_least=False,
            )


def ours(bench: Bench) -> None:
    """The server, asked as vLLM's own."""
    with server() as (served, clock):
        for explain in QUESTIONS:
            for concurrency in CONCURRENCY:
                found, used = load(bench.plan(served, query=f"explain={explain}", connections=concurrency), clock)
                fail_unless_answered(found)
                add_arm(bench, f"ours {explain} {concurrency}", found, used.cores)


def theirs(bench: Bench, name: str) -> None:
    """One of vLLM's own servers."""
    with vllm_server(VLLM_SERVERS[name]) as (port, clock):
        for explain, tokens in QUESTIONS.items():
            for concurrency in CONCURRENCY:
                plan = Plan(
                    port=port,
                    key="",
                    folder=str(bench.images.folder),
                    images=len(bench.images.files),
                    connections=concurrency,
                    seconds=bench.settings.seconds,
                    chat_tokens=tokens,
                )
                found, used = load(plan, clock)
                fail_unless_answered(found)
                add_arm(bench, f"{name} {explain} {concurrency}", found, used.cores)


def add_arm(bench: Bench, name: str, found: dict[str, Any], cores: float) -> None:
    """Report one load of two that are compared."""
    keys = ("requests_s", "p50_ms", "p99_ms", "load_cores")
    bench.report.add(name, **{key: found[key] for key in keys}, cpu_ms=1e3 * cores / found["requests_s"])


def conclude_vllm(bench: Bench) -> None:
    """How many times as many requests the server answers."""
    names = [f"{explain} {concurrency}" for explain in QUESTIONS for concurrency in CONCURRENCY]
    sides = ("ours", *VLLM_SERVERS)
    columns = ("requests_s", "p50_ms", "p99_ms", "cpu_ms")
    bench.report.table([f"{side} {name}" for name in names for side in sides], columns)
    for name in names:
        of = {side: bench.report.values(f"{side} {name}", "requests_s") for side in sides}
        for side in ("same", "tuned"):
            over = median(ratios(of["ours"], of[side]))
            print(f"      explain={name} in flight: {over:.2f} times the requests of vLLM's, {VLLM_SERVERS[side]}")
        bench.report.require(
            f"requests a second over vLLM's own server as it comes, explain={name} in flight",
            median(ratios(of["ours"], of["vllm"])),
            VLLM_FLOOR,
        )


def overload(bench: Bench) -> None:
    """Ten times too much, between two measurements of what is enough."""
    seconds = bench.settings.overload_seconds
    with server() as (served, clock):
        unloaded = [unloaded_rate(bench, served, clock)]
        plan = bench.plan(
            served,
            query="explain=fakes",
            connections=MAX_CONNECTIONS,
            seconds=seconds,
            rate=OVERLOAD * unloaded[0],
        )
        found, used = load(plan, clock)
        add_load(bench, "overload", found, used)
        time.sleep(5.0)
        unloaded.append(unloaded_rate(bench, served, clock))
    enough = median(unloaded)
    require = bench.report.require
    require("10x: requests a second over the unloaded throughput", found["sent_s"] / unloaded[0], 0.98 * OVERLOAD)
    require(
        "10x: accepted a second over the unloaded throughput",
        median(ratios([found["requests_s"]], [enough])),
        ACCEPTED_FLOOR,
    )
    require("10x: answers that are neither 200, 429 nor 503", found["other"], 0, at_least=False)
    require("10x: 200 without a verdict, 429 and 503 without Retry-After", found["unsound"], 0, at_least=False)
    require(f"10x: without an answer in {plan.patience_s:g} s", found["hung"], 0, at_least=False)
    slowest = found["refused_max_ms"]
    require("10x: slowest refusal, seconds", slowest and slowest / 1e3, REFUSAL_CEILING_S, at_least=False)


def unloaded_rate(bench: Bench, served: Served, clock: ServerClock) -> float:
    """Requests a second that the server answers with enough in flight."""
    found, used = load(bench.plan(served, query="explain=fakes", connections=OVERLOADING), clock)
    fail_unless_answered(found)
    add_load(bench, "unloaded", found, used)
    return float(found["requests_s"])


def kill(bench: Bench) -> None:
    """Kill the replica while it works, and see who notices."""
    with server() as (served, clock):
        plan = bench.plan(
            served,
            query="explain=fakes",
            connections=KILL_CONCURRENCY,
            seconds=bench.settings.kill_seconds,
            pause_s=KILL_PAUSE_S,
        )
        before, used = load(bench.plan(served, query="explain=fakes", connections=KILL_CONCURRENCY), clock)
        add_load(bench, "before the kill", before, used)

        def strike() -> None:
            time.sleep(KILL_AFTER_S)
            (replica,) = served.below(REPLICA)
            replica.kill()

        found, used = load(plan, clock, strike)
        add_load(bench, "kill", found, used, gap_s=found["gap_s"], tail_requests_s=found["tail_requests_s"])
    print(f"      kill: {found['gap_s']:.1f} s without service")
    require = bench.report.require
    recovered = found["tail_requests_s"] / before["requests_s"]
    require("kill: answers that are neither 200 nor 429 nor 503", found["other"], 0, at_least=False)
    require("kill: 200 without a verdict, 503 without Retry-After", found["unsound"], 0, at_least=False)
    require(f"kill: without an answer in {plan.patience_s:g} s", found["hung"], 0, at_least=False)
    require("kill: throughput in the last quarter over that before", recovered, RECOVERED_FLOOR)


@contextmanager
def server() -> Iterator[tuple[Served, ServerClock]]:
    """A server of its own with the default settings, and a key with the highest limits."""
    with tempfile.TemporaryDirectory(prefix="fakescan-bench-") as folder:
        file = Path(folder) / "keys.json"
        with edit_keys(file, create=True) as edit:
            key = edit.add("load", per_minute=10**9, burst=10**9)
        with serving("--keys", file, key=key) as served:
            yield served, ServerClock(served.process.pid)


def load(plan: Plan, clock: ServerClock, during: Callable[[], None] | None = None) -> tuple[dict[str, Any], Used]:
    """Load a server; what the load saw, and what the server used meanwhile."""
    command = [sys.executable, "-m", "benchmarks.serve_load", json.dumps(asdict(plan))]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        expect(process.stdout.readline(), BEGAN)
        before = clock.read()
        if during is not None:
            during()
        expect(process.stdout.readline(), ENDED)
        used = clock.since(before)
        found: dict[str, Any] = json.loads(process.stdout.readline() or "null")
    if process.returncode != 0:
        sys.exit(f"the load ended with {process.returncode}")
    return found, used


def expect(line: str, word: str) -> None:
    """Fail where the load says something else, or nothing."""
    if line.strip() != word:
        sys.exit(f"the load said {line!r}, not {word}")


def fail_unless_answered(found: dict[str, Any]) -> None:
    """Fail where a load that is not too much was not answered throughout."""
    if set(found["statuses"]) != {"200"} or found["unsound"] or found["hung"]:
        sys.exit(f"not every request was answered: {found}")


def add_load(bench: Bench, name: str, found: dict[str, Any], used: Used, **more: Any) -> None:
    """Report a load and what the server used for it, by part, in cores."""
    keys = ("requests_s", "sent_s", "p50_ms", "p99_ms", "refused_p50_ms", "refused_p99_ms", "refused_max_ms",
            "late_p99_ms", "statuses", "other", "unsound", "hung", "connections", "load_cores")  # fmt: skip
    cores = {f"{part}_cores": value for part, value in used.parts.items()}
    shown = {key: found[key] for key in keys}
    bench.report.add(name, **shown, **more, cores=used.cores, **cores, others_cores=used.others_cores)


if __name__ == "__main__":
    main()
