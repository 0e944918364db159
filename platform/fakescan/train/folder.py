"""The folder of a training run: its lease, its settings, its log, its plot and TensorBoard's files."""

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from fsspec import AbstractFileSystem

from fakescan.storage.bound_settings import changes, put_settings, read_settings, refuse_changes
from fakescan.storage.lease import TRAINING, Lease, is_held_by
from fakescan.storage.objects import put_atomic, read_bytes
from fakescan.storage.preflight import exists
from fakescan.storage.url import redact
from fakescan.train.config import UNBOUND, TrainConfig
from fakescan.train.metrics_actor import LOG, StepMetrics, TrainResult, log_lines, read_log
from fakescan.train.plan import Plan
from fakevlm.errors import UserError

SETTINGS, RESULT, PLOT, TENSORBOARD = "train.json", "result.json", "metrics.png", "tensorboard"
MODEL = "model"
"""Folder of the result in the run's folder."""
ADAPTER = "adapter"
"""Folder of LoRA's own weights in the run's folder, where no part was trained in full."""
_LEASE = "lease.json"
_SNAPSHOT = "checkpoint_manager_snapshot.json"
"""Ray Train's list of a run's checkpoints."""
_NOT_BOUND = frozenset({"steps", "epoch_samples", "bad_images", "held_out", "knows_generators"})
"""Facts that are written down, but do not bind: `claim` looks at some of them itself."""
_LATER_FACTS = ("records", "held_out_records")
"""What train.json of earlier versions does not have, nor can be known of their runs."""


class TrainFolder:
    """A run's folder, wherever it is."""

    def __init__(self, config: TrainConfig) -> None:
        self._config = config
        self.url = f"{config.storage_path.rstrip('/')}/{config.name}"
        self.fs, self.path = config.storage_store.filesystem(self.url)

    @contextmanager
    def lease(self) -> Iterator[Lease]:
        """Keep a second training out meanwhile. Raises UserError where one is running."""
        self.fs.makedirs(self.path, exist_ok=True)
        lease = Lease(self.fs, f"{self.path}/{_LEASE}", TRAINING)
        lease.acquire()
        try:
            yield lease
        finally:
            lease.release()

    def is_ours(self, owner: str) -> bool:
        """Whether the training whose lease has this owner may still write here; workers ask before they do."""
        return is_held_by(self.fs, f"{self.path}/{_LEASE}", owner)

    def finished(self, facts: dict[str, Any]) -> TrainResult | None:
        """What a finished run with these settings says of itself; None where there is more to do. Writes nothing.

        `facts` is what else the result depends on, as `claim` is told it. Raises UserError where the folder holds a run
        that was started with other settings, and where the store cannot be read.
        """
        if not exists(f"{self.url}/{SETTINGS}", self._config.storage_store):
            return None
        before = read_settings(self.fs, f"{self.path}/{SETTINGS}", "name", "name")
        found = read_settings(self.fs, f"{self.path}/{RESULT}", "name", "name")
        if before is None or (found is None and "records" in before):
            return None
        now = {**self._config.model_dump(mode="json"), **facts}
        if self._config.precision == "auto":  # which the cluster decides, of which nothing is known yet
            now["precision"] = before.get("precision")
        self._refuse_changes(before, now)
        result = self._earlier_result(before) if found is None else TrainResult.model_validate(found)
        if result is None:
            return None
        patience, earlier = self._config.patience, before.get("patience")
        is_over = result.stopped_early and patience is not None and earlier is not None and patience <= earlier
        if result.steps < facts["steps"] and not is_over:
            return None
        self.fs.invalidate_cache()
        return result if self.fs.exists(f"{self.path}/{MODEL}/config.json") else None

    def _earlier_result(self, before: dict[str, Any]) -> TrainResult | None:
        """The result of a run that an earlier version has finished, which did not write it down."""
        self.fs.invalidate_cache()
        try:
            snapshot = json.loads(read_bytes(self.fs, f"{self.path}/{_SNAPSHOT}"))
            step = int(snapshot["latest_checkpoint_result"]["metrics"]["step"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        # Of the files of a model it uploaded this one last.
        if step < _steps(before) or not self.fs.exists(f"{self.path}/{MODEL}/tokenizer_config.json"):
            return None
        log = self.log()
        return TrainResult(
            steps=step,
            steps_per_epoch=_plan(before).steps_per_epoch,
            samples=before["samples"],
            exported_step=step,
            metrics=log[-1].metrics if log else {},
        )

    def finish(self, result: TrainResult) -> None:
        """Write down that the run has ended."""
        self._put(RESULT, (result.model_dump_json(indent=1) + "\n").encode())

    def claim(self, facts: dict[str, Any]) -> frozenset[str]:
        """Write the run's settings, or refuse to resume a run that was started with different ones.

        A run that was started may be extended by more steps, and leave out other records. Returns the images to leave
        out because they cannot be read: `bad_images` of the facts, and those that were left out before, lest what is
        learnt change in the middle. Uploads that a killed start left unfinished are deleted. Raises UserError.
        """
        settings = {**self._config.model_dump(mode="json"), **facts}
        file = f"{self.path}/{SETTINGS}"
        before = read_settings(self.fs, file, "name", "name")
        if before is None:
            put_settings(self.fs, file, settings)
        elif not self.fs.exists(f"{self.path}/{_SNAPSHOT}"):  # nothing was trained yet
            put_settings(self.fs, file, settings)
            self._sweep(set())
        else:
            self._refuse_changes(before, settings)
            settings["bad_images"] = sorted({*before.get("bad_images", ()), *settings["bad_images"]})
            if changes(before, settings):
                put_settings(self.fs, file, settings)
            self._sweep(self._recorded())
        return frozenset(settings["bad_images"])

    def _refuse_changes(self, before: dict[str, Any], now: dict[str, Any]) -> None:
        bound = now.keys() - UNBOUND - _NOT_BOUND | ({"workers"} if self._config.zero else set())
        # What an earlier version did not write down is not known to have changed.
        bound -= {name for name in _LATER_FACTS if name not in before}
        changed = changes({name: before.get(name) for name in bound}, {name: now.get(name) for name in bound})
        if now["steps"] < _steps(before):
            lengths = ("epochs", "max_steps")
            shorter = changes({name: before.get(name) for name in lengths}, {name: now[name] for name in lengths})
            changed += [f"{line} (a run can be extended, not shortened)" for line in shorter]
        hints = {
            "workers": " (ZeRO's optimizer states are cut for that many)",
            "records": " (a hash of the data's records, in order: put them back as they were; exclude leaves some out)",
            "held_out_records": " (a hash of the held-out records, by which best_by compares)",
        }
        refuse_changes("name", self.url, [line + hints.get(line.partition(" ")[0], "") for line in changed], "name")

    def _recorded(self) -> set[str]:
        """Names of the checkpoints in Ray Train's list."""
        try:
            snapshot = json.loads(read_bytes(self.fs, f"{self.path}/{_SNAPSHOT}"))
            results = [*snapshot["checkpoint_results"], *snapshot["pending_training_results"]]
            results += [last] if (last := snapshot["latest_checkpoint_result"]) else []
            return {result["checkpoint_dir_name"] for result in results}
        except (ValueError, KeyError, TypeError):
            raise UserError(
                f"name: {redact(self.url)}/{_SNAPSHOT} is damaged, without which nothing is known of its checkpoints; "
                "use another name"
            ) from None

    def _sweep(self, recorded: set[str]) -> None:
        """Delete the other checkpoints: their upload was never finished."""
        self.fs.invalidate_cache()
        for path in self.fs.glob(f"{self.path}/checkpoint_*"):
            name = str(path).rstrip("/").rpartition("/")[2]
            if name not in recorded and name != _SNAPSHOT:
                self.fs.rm(path, recursive=True)

    def log(self) -> list[StepMetrics]:
        """The log that an earlier start left: a killed one may have written less of it than is in its checkpoints."""
        self.fs.invalidate_cache()
        log: list[StepMetrics] = []
        for file in (*sorted(self.fs.glob(f"{self.path}/checkpoint_*/{LOG}")), f"{self.path}/{LOG}"):
            with suppress(FileNotFoundError):
                log = continue_log(log, read_log(read_bytes(self.fs, file)))
        return log

    def save(self, log: list[StepMetrics]) -> None:
        """Write the log and the plot."""
        if log:
            self._put(LOG, log_lines(log))
            self._put(PLOT, plot(log, self._config.name))

    def _put(self, name: str, data: bytes) -> None:
        put_atomic(self.fs, f"{self.path}/{name}", data)


def is_listed(fs: AbstractFileSystem, run: str, name: str) -> bool:
    """Whether a checkpoint is in Ray Train's list of the run's, that is, all of it has arrived.

    Yes as well where there is no list, as in a copy of a run.
    """
    try:
        return name.encode() in read_bytes(fs, f"{run}/{_SNAPSHOT}")
    except FileNotFoundError:
        return True


def _steps(settings: dict[str, Any]) -> int:
    """Steps of a run by its train.json, which earlier versions did not write into it."""
    if "steps" in settings:
        return int(settings["steps"])
    return _plan(settings).steps


def _plan(settings: dict[str, Any]) -> Plan:
    names = ("batch_size", "epochs", "max_steps", "seed")
    samples = settings.get("epoch_samples", settings["samples"])
    return Plan(samples, *(settings.get(name) for name in names))  # type: ignore[arg-type]


def continue_log(before: list[StepMetrics], after: list[StepMetrics]) -> list[StepMetrics]:
    """The log without what a killed start had done after its last checkpoint and the new one did again."""
    by_step = {entry.step: entry for entry in (*before, *after)}
    return [by_step[step] for step in sorted(by_step)]


def plot(log: list[StepMetrics], title: str) -> bytes:
    """Loss and evaluation over steps, as a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4), layout="constrained")
    figure.suptitle(title)
    losses = [(entry.step, entry.loss) for entry in log if entry.loss is not None]
    left.plot([step for step, _ in losses], [loss for _, loss in losses], linewidth=1)
    left.set(xlabel="step", ylabel="loss (nats per answer token)", yscale="log")
    for name in ("eval_accuracy", "eval_auroc", "eval_f1_fake", "eval_f1_real"):
        points = [(entry.step, entry.metrics[name]) for entry in log if name in entry.metrics]
        if points:
            right.plot(*zip(*points, strict=True), marker=".", label=name.removeprefix("eval_").replace("_", " "))
    right.set(xlabel="step", ylabel="held-out split", ylim=(0, 1.02))
    if right.get_legend_handles_labels()[1]:
        right.legend(loc="lower right")
    sink = io.BytesIO()
    figure.savefig(sink, format="png", dpi=110)
    pyplot.close(figure)
    return sink.getvalue()
