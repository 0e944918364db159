"""The folder of a training run: its settings, its log, its plot and TensorBoard's files."""

import io
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from fakescan.storage.lease import TRAINING, Lease
from fakescan.storage.objects import put_atomic, read_bytes
from fakescan.storage.url import redact
from fakescan.train.config import UNBOUND, TrainConfig
from fakescan.train.metrics_actor import LOG, StepMetrics, log_lines, read_log
from fakevlm.errors import UserError

SETTINGS, PLOT, TENSORBOARD = "train.json", "metrics.png", "tensorboard"
_SNAPSHOT = "checkpoint_manager_snapshot.json"
"""Ray Train's list of a run's checkpoints."""


class TrainFolder:
    """A run's folder, wherever it is."""

    def __init__(self, config: TrainConfig) -> None:
        self._config = config
        self.url = f"{config.storage_path.rstrip('/')}/{config.name}"
        self.fs, self.path = config.storage_store.filesystem(self.url)

    @contextmanager
    def lease(self) -> Iterator[None]:
        """Keep a second training out meanwhile. Raises UserError where one is running."""
        self.fs.makedirs(self.path, exist_ok=True)
        lease = Lease(self.fs, f"{self.path}/lease.json", TRAINING)
        lease.acquire()
        try:
            yield
        finally:
            lease.release()

    def claim(self, facts: dict[str, Any]) -> None:
        """Write the run's settings, or refuse to resume a run that was started with others.

        What a killed start had half uploaded is deleted. Raises UserError.
        """
        settings = {**self._config.model_dump(mode="json"), **facts}
        try:
            before = json.loads(read_bytes(self.fs, f"{self.path}/{SETTINGS}"))
        except FileNotFoundError:
            self._put(SETTINGS, (json.dumps(settings, indent=1) + "\n").encode())
            return
        except ValueError:
            raise UserError(f"name: {redact(self.url)}/{SETTINGS} is damaged; use another name") from None
        if not self.fs.exists(f"{self.path}/{_SNAPSHOT}"):  # nothing was trained yet
            self._put(SETTINGS, (json.dumps(settings, indent=1) + "\n").encode())
            self._sweep(set())
            return
        bound = set(settings) - UNBOUND | ({"workers"} if self._config.zero else set())
        for name in sorted(bound):
            if before.get(name) != settings.get(name):
                hint = "ZeRO's optimizer states are cut for that many; " if name == "workers" else ""
                raise UserError(
                    f"{name}: the run {redact(self.url)} was started with {before.get(name)!r}, not "
                    f"{settings.get(name)!r}; {hint}resume with that, or use another name"
                )
        self._sweep(self._known())

    def _known(self) -> set[str]:
        """Names of the checkpoints that Ray Train has noted down."""
        try:
            snapshot = json.loads(read_bytes(self.fs, f"{self.path}/{_SNAPSHOT}"))
            listed = [*snapshot["checkpoint_results"], *snapshot["pending_training_results"]]
            listed += [last] if (last := snapshot["latest_checkpoint_result"]) else []
            return {result["checkpoint_dir_name"] for result in listed}
        except (ValueError, KeyError, TypeError):
            raise UserError(
                f"name: {redact(self.url)}/{_SNAPSHOT} is damaged, without which nothing is known of its checkpoints; "
                "use another name"
            ) from None

    def _sweep(self, known: set[str]) -> None:
        """Delete the other checkpoints: their upload was never finished."""
        self.fs.invalidate_cache()
        for found in self.fs.glob(f"{self.path}/checkpoint_*"):
            name = str(found).rstrip("/").rpartition("/")[2]
            if name not in known and name != _SNAPSHOT:
                self.fs.rm(found, recursive=True)

    def notes(self) -> list[StepMetrics]:
        """The log that an earlier start left: a killed one may have written less of it than is in its checkpoints."""
        self.fs.invalidate_cache()
        notes: list[StepMetrics] = []
        for file in (*sorted(self.fs.glob(f"{self.path}/checkpoint_*/{LOG}")), f"{self.path}/{LOG}"):
            with suppress(FileNotFoundError):
                notes = joined(notes, read_log(read_bytes(self.fs, file)))
        return notes

    def save(self, notes: list[StepMetrics], *, final: bool = False) -> None:
        """Write the log and the plot; TensorBoard's files at the end."""
        if not notes:
            return
        self._put(LOG, log_lines(notes))
        self._put(PLOT, plot(notes, self._config.name))
        if final:
            self._tensorboard(notes)

    def _put(self, name: str, data: bytes) -> None:
        self.fs.makedirs(self.path, exist_ok=True)
        put_atomic(self.fs, f"{self.path}/{name}", data)

    def _tensorboard(self, notes: list[StepMetrics]) -> None:
        from tensorboardX import SummaryWriter

        with tempfile.TemporaryDirectory(prefix="fakescan-") as temporary:
            with SummaryWriter(temporary) as writer:
                for note in notes:
                    values = {"train/loss": note.loss, "train/lr": note.lr, "train/grad_norm": note.grad_norm}
                    values |= {name.replace("_", "/", 1): value for name, value in note.metrics.items()}
                    for name, value in values.items():
                        if value is not None:
                            writer.add_scalar(name, value, note.step, walltime=note.at)
            for file in sorted(Path(temporary).iterdir()):
                self._put(f"{TENSORBOARD}/events.out.tfevents.fakescan", file.read_bytes())


def joined(before: list[StepMetrics], fresh: list[StepMetrics]) -> list[StepMetrics]:
    """The log without what a killed start had done after its last checkpoint and the new one did again."""
    known = {note.step: note for note in before}
    known.update({note.step: note for note in fresh})
    return [known[step] for step in sorted(known)]


def plot(notes: list[StepMetrics], title: str) -> bytes:
    """Loss and evaluation over steps, as a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    metrics = ("eval_accuracy", "eval_auroc", "eval_f1_fake", "eval_f1_real")
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4), layout="constrained")
    figure.suptitle(title)
    losses = [(note.step, note.loss) for note in notes if note.loss is not None]
    left.plot([step for step, _ in losses], [loss for _, loss in losses], linewidth=1)
    left.set(xlabel="step", ylabel="loss (nats per answer token)", yscale="log")
    for name in metrics:
        points = [(note.step, note.metrics[name]) for note in notes if name in note.metrics]
        if points:
            right.plot(*zip(*points, strict=True), marker=".", label=name.removeprefix("eval_").replace("_", " "))
    right.set(xlabel="step", ylabel="held-out split", ylim=(0, 1.02))
    if right.get_legend_handles_labels()[1]:
        right.legend(loc="lower right")
    sink = io.BytesIO()
    figure.savefig(sink, format="png", dpi=110)
    pyplot.close(figure)
    return sink.getvalue()
