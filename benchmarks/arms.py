"""The things that are compared, each run once in a fresh process: scan, the plain script, the loop, the recipe."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.process_tree import watched
from benchmarks.report import ROOT
from benchmarks.scan_process import Job
from benchmarks.stamps import read_stamps
from fakescan.run.counts import Counts
from fakescan.scan.tables import PartSummary

TIMEOUT_S = 900.0


class RunFailedError(RuntimeError):
    """A compared process ended with a failure."""


@dataclass(frozen=True)
class Finished:
    """A process that has ended well."""

    started: float
    """Unix time at which it was started."""
    ended: float
    output: str
    peak_bytes: int
    others_cores: float
    """Cores that were busy meanwhile for processes that are no part of the benchmark."""

    def json(self) -> Any:
        """The last line of its standard output."""
        return json.loads(self.output.strip().splitlines()[-1])


def verdicts_that_differ(ours: dict[str, float], theirs: dict[str, float]) -> int:
    """Images of which two programs do not say the same: the sign of the logit, or that there is one."""
    both = ours.keys() & theirs.keys()
    return len(ours.keys() ^ theirs.keys()) + sum((ours[name] > 0) != (theirs[name] > 0) for name in both)


@dataclass(frozen=True)
class ScanRun:
    """One scan and what it measured."""

    process: Finished
    parts: list[PartSummary]
    """In the order in which the driver heard of them."""
    tree_cpu_s: list[float]
    fetched: dict[int, float]
    decoded: dict[int, float]
    processes: int
    """Processes that were seen in its tree."""
    logits: dict[str, float]
    """As in `Arms.logits`."""

    @property
    def rows(self) -> int:
        """Rows written."""
        return sum(part.counts.rows for part in self.parts)

    @property
    def startup_s(self) -> float:
        """From the start of the process to the first part."""
        return min(part.written_at for part in self.parts) - self.process.started

    def stage_ms(self, stage: str) -> float:
        """CPU milliseconds per image of a stage."""
        return 1e3 * sum(float(getattr(part, f"{stage}_cpu_s")) for part in self.parts) / self.rows


@dataclass
class Arms:
    """Starts the compared processes against one S3 server."""

    endpoint: str
    credentials: dict[str, str]
    """AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."""
    model: str
    work: Path
    bucket: str
    count: int = 0

    def scan(self, source: str, *, hold: int | None = None, **config: Any) -> ScanRun:
        """`run_scan` on the images below s3://BUCKET/source, with the given settings of `ScanConfig`."""
        folder = self._folder()
        options = {"key": "env:AWS_ACCESS_KEY_ID", "secret": "env:AWS_SECRET_ACCESS_KEY"}
        store = {"endpoint_url": self.endpoint, "region": "us-east-1", "options": options}
        settings = {
            "source": f"s3://{self.bucket}/{source}",
            "output": f"s3://{self.bucket}/{folder.name}",
            "model": self.model,
            "input_store": store,
            "output_store": store,
            **config,
        }
        job = folder / "job.json"
        job.write_text(json.dumps(asdict(Job(settings, str(folder), hold))))
        process = self.run([sys.executable, "-m", "benchmarks.scan_process", str(job)])
        measured = json.loads((folder / "measured.json").read_text())
        if measured["errors"]:
            raise RunFailedError(f"{measured['errors']} of the images ended in an error")
        shard_rows = measured["shard_rows"]
        return ScanRun(
            process,
            [PartSummary(**{**part, "counts": Counts(**part["counts"])}) for part in measured["parts"]],
            measured["tree_cpu_s"],
            read_stamps(folder, "fetch", shard_rows),
            read_stamps(folder, "decode", shard_rows),
            measured["processes"],
            self.logits(f"{folder.name}/parts"),
        )

    def plain(self, source: str, explain: str, *, tuned: bool = False) -> tuple[Finished, dict[str, float]]:
        """The plain script, and its logits."""
        name = self._folder().name
        more = ["--model", self.model, "--explain", explain, *(["--tuned"] if tuned else [])]
        return self._module("plain", source, f"s3://{self.bucket}/{name}", *more), self.logits(name)

    def loop(self, source: str, size: int, part_rows: int) -> tuple[Finished, dict[str, float]]:
        """The loop without an engine, and its logits."""
        name = self._folder().name
        more = ["--size", str(size), "--part-rows", str(part_rows)]
        return self._module("loop", source, f"s3://{self.bucket}/{name}", *more), self.logits(name)

    def logits(self, prefix: str) -> dict[str, float]:
        """File name to logit, of all the Parquet objects below a prefix of the bucket."""
        from s3fs import S3FileSystem

        key, secret = self.credentials["AWS_ACCESS_KEY_ID"], self.credentials["AWS_SECRET_ACCESS_KEY"]
        store = S3FileSystem(key=key, secret=secret, endpoint_url=self.endpoint, use_listings_cache=False)
        found: dict[str, float] = {}
        for path in store.find(f"{self.bucket}/{prefix}"):
            if path.endswith(".parquet"):
                rows = pq.read_table(pa.BufferReader(store.cat_file(path)), columns=["uri", "logit"])
                names = (uri.rpartition("/")[2] for uri in rows["uri"].to_pylist())
                found |= dict(zip(names, rows["logit"].to_pylist(), strict=True))
        return found

    def recipe(self, source: str, explain: str, blocks: int) -> Finished:
        """The job in the way of `ray.data.llm`."""
        output = str(self._folder() / "parquet")
        more = ["--model", self.model, "--explain", explain, "--blocks", str(blocks)]
        return self._module("llm_recipe", source, output, *more)

    def cold_start(self, image: Path) -> tuple[Finished, float]:
        """The bare engine, and the seconds from the start of its process to its first judgement."""
        command = [sys.executable, "-m", "benchmarks.cold_start", str(image), "--model", self.model]
        finished = self.run(command)
        return finished, float(finished.json()) - finished.started

    def first_part(self, folder: Path) -> tuple[Finished, float]:
        """`fakescan scan FOLDER`, and the seconds from the start of its process to its first written part."""
        output = self._folder() / "run"
        program = Path(sys.executable).with_name("fakescan")
        finished = self.run([str(program), "scan", str(folder), "--output", str(output), "--model", self.model])
        return finished, min(part.stat().st_mtime for part in (output / "parts").iterdir()) - finished.started

    def _module(self, name: str, source: str, output: str, *more: str) -> Finished:
        arguments = [f"s3://{self.bucket}/{source}", output, "--endpoint", self.endpoint, *more]
        return self.run([sys.executable, "-m", f"benchmarks.{name}", *arguments])

    def _folder(self) -> Path:
        self.count += 1
        folder = self.work / f"run-{self.count:03d}"
        folder.mkdir()
        return folder

    def run(self, command: Sequence[str]) -> Finished:
        """Run a process to its end. Raises RunFailedError with the end of what it said."""
        log = self.work / "last.log"
        started = time.time()
        with log.open("w") as errors:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, **self.credentials},
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )
            try:
                with watched(process.pid) as seen:
                    output, _ = process.communicate(timeout=TIMEOUT_S)
            except BaseException:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)
                process.wait(timeout=60)
                raise
        if process.returncode != 0:
            raise RunFailedError(f"{' '.join(command)} ended with {process.returncode}:\n{log.read_text()[-3000:]}")
        return Finished(started, time.time(), output, seen.peak_bytes, seen.others_cores)
