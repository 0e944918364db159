"""What a person sees of a running training: one live display on a terminal, a line every few seconds elsewhere."""

import sys
import time
from collections import deque
from typing import TextIO

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from fakescan.duration import duration
from fakescan.train.board import Note

LINE_S = 5.0
"""Seconds between two lines when the output is not a terminal."""
_STEPS = 50
"""Steps over which the pace is averaged."""


class TrainDisplay:
    """Follows a training on stderr. Use it as a context manager."""

    def __init__(self, steps: int, stream: TextIO | None = None) -> None:
        self._console = Console(file=stream or sys.stderr, highlight=False)
        self._steps = steps
        self._recent: deque[Note] = deque(maxlen=_STEPS)
        self._metrics: dict[str, float] = {}
        self._said_at = 0.0
        self._live: Live | None = None
        if self._console.is_terminal:
            self._progress = Progress(
                BarColumn(bar_width=32), MofNCompleteColumn(), TextColumn("steps {task.percentage:.0f} %")
            )
            self._task = self._progress.add_task("train", total=steps)
            self._live = Live(get_renderable=self._frame, console=self._console, refresh_per_second=4, transient=True)

    def __enter__(self) -> "TrainDisplay":
        if self._live is not None:
            self._live.start()
        else:
            self._say()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()
        else:
            self._say()

    def add(self, note: Note) -> None:
        """Count a step in."""
        if self._recent and note.step <= self._recent[-1].step:
            self._recent.clear()  # a worker died; the run went back to its last checkpoint
        self._recent.append(note)
        if note.metrics:
            self._metrics = note.metrics
        if self._live is not None:
            self._progress.update(self._task, completed=note.step)
        elif note.metrics or time.monotonic() - self._said_at >= LINE_S:
            self._say()

    def _say(self) -> None:
        self._said_at = time.monotonic()
        step = self._recent[-1].step if self._recent else 0
        self._console.print(f"step {step:,}/{self._steps:,}  {self._text()}", soft_wrap=True)

    def _frame(self) -> Table:
        frame = Table.grid()
        frame.add_row(self._progress)
        frame.add_row(Text(self._text()))
        return frame

    def _text(self) -> str:
        if not self._recent:
            return "starting workers"
        first, last = self._recent[0], self._recent[-1]
        words = [f"loss {last.loss:.4f}", f"lr {last.lr:.2e}"]
        seconds = last.at - first.at
        if seconds > 0:
            done = sum(note.samples or 0 for note in list(self._recent)[1:])
            left = (self._steps - last.step) * seconds / (len(self._recent) - 1)
            words += [f"{done / seconds:.1f} samples/s", f"ETA {duration(left)}"]
        if self._metrics:
            for name in ("eval_accuracy", "eval_f1_fake", "eval_f1_real", "eval_auroc"):
                if name in self._metrics:
                    words.append(f"{name.removeprefix('eval_')} {self._metrics[name]:.3f}")
        return "  ".join(words)
