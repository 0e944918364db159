"""What people open: report.html, which needs nothing else, and the page that drills down, copied as it is."""

import base64
import hashlib
import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq

from fakescan import look
from fakescan.report.images.thumbnails import SIDE
from fakescan.report.media_types import media_type
from fakescan.report.overview.charts import bar_chart, score_chart
from fakescan.report.report_file import ReportFile
from fakescan.run.folder import RunFolder
from fakescan.run.stability.columns import VARIANTS
from fakescan.storage.objects import put_atomic
from fakescan.storage.store import is_local
from fakescan.terminal.console import printable_line

REPORT = "report.html"
PAGE = Path(__file__).parents[1] / "page"
"""The page that drills down: these files are copied into every report."""
SHOWN_FOLDERS = 25

_IMAGES = {"top": 80, "edge": 40, "uncertain": 40, "others": 40}
_IMAGE_BYTES = 6_500_000
"""Of all thumbnails together: in base64 8.7 MB of the 10 MB that the file may have."""
_WORDS = 12


class ShownVariant(NamedTuple):
    """A cell of an image's stability strip."""

    name: str
    words: str
    score: float | None
    turned: bool
    """Whether the verdict is another one."""


@dataclass(frozen=True)
class ShownImage:
    """A thumbnail in the overview."""

    row_id: int
    uri: str
    score: float | None
    verdict: str
    explanation: str
    picture: str
    """A data URI; empty where there is no thumbnail."""
    missing: str
    """Why there is none."""
    width: int
    height: int
    strip: list[ShownVariant]
    """What the model says of it, changed; empty where it was not looked at again."""
    images: int
    """Images that are the same picture, with this one; 1 where nobody knows."""


@dataclass(frozen=True)
class Gallery:
    """Thumbnails under one heading."""

    title: str
    words: str
    images: list[ShownImage]


def write_page(target: RunFolder, report: ReportFile) -> None:
    """Write report.html, and copy the page."""
    files = {REPORT: render(report, list(_galleries(target, report))).encode(), **dict(drill_down())}
    for name, data in files.items():
        put_atomic(target.fs, f"{target.path}/{name}", data, media_type=media_type(name))


def drill_down() -> Iterator[tuple[str, bytes]]:
    """The page that shows every image, by its files' names."""
    return look.page_files(PAGE, f"look/{look.ICON}")


def render(report: ReportFile, galleries: list[Gallery]) -> str:
    """The overview. Whatever comes from images, names of files and models is text in it, and the file has no script."""
    from jinja2 import Environment

    here = Path(__file__).parent
    style = (here / "report.css").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(number=_number, percent=_percent, line=_line, word=_word, size=_size, below=_below)
    run = report.run
    spoken = sorted((word for word in report.words if word.fake), key=lambda word: (-word.fake, word.bit))
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return environment.from_string((here / "report.html.j2").read_text(encoding="utf-8")).render(
        report=report,
        run=run,
        totals=report.totals,
        style=style,
        policy=f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'",
        score_chart=score_chart(report.scores, run.threshold, run.uncertain_low, run.uncertain_high),
        word_chart=bar_chart("What explanations speak of", [(word.label, word.fake) for word in spoken[:_WORDS]]),
        spoken=spoken,
        provenance=report.provenance,
        folders=report.folders.worst[:SHOWN_FOLDERS],
        pictures=report.pictures,
        galleries=galleries,
        has_page=(PAGE / "index.html").exists(),
    )


def _galleries(target: RunFolder, report: ReportFile) -> Iterator[Gallery]:
    thumbs = _Thumbs(target, report)
    fake, uncertain, real = (thumbs.of(verdict) for verdict in ("fake", "uncertain", "real"))
    names = report.run.names
    top, edge = fake[: _IMAGES["top"]], fake[_IMAGES["top"] :][-_IMAGES["edge"] :]
    every = max(1, len(real) // _IMAGES["others"])
    sections = (
        (f"Highest scores: {names['fake']}", "The images that the model is surest of, the highest score first.", top),
        (
            "Just above the threshold",
            f"The lowest scores among the thumbnails of what is called {names['fake']}: look here for false alarms.",
            edge,
        ),
        (
            f"Called {names['uncertain']}",
            "Scores that are neither high nor low enough for a verdict.",
            uncertain[: _IMAGES["uncertain"]],
        ),
        (
            f"Some of the others: {names['real']}",
            "Spread evenly over their scores: look here for what was missed.",
            real[::every][: _IMAGES["others"]],
        ),
    )
    for title, words, chosen in sections:
        if len(chosen):
            yield Gallery(title, words, [thumbs.image(int(place)) for place in chosen])


class _Thumbs:
    """The thumbnails of a report; whole row groups are read, and few of them are kept."""

    def __init__(self, target: RunFolder, report: ReportFile) -> None:
        self._target, self._report = target, report
        self._left = _IMAGE_BYTES
        self._group: tuple[int, list[dict[str, Any]]] | None = None
        self._files = [self._open(f"{target.path}/{report.data}{file.name}") for file in report.thumbs.files]
        columns = [file.read(columns=["verdict", "picture"]) for file in self._files]
        verdicts = [verdict for some in columns for verdict in some["verdict"].to_pylist()]
        pictures = [picture for some in columns for picture in some["picture"].to_pylist()]
        self._verdicts = np.array(verdicts, object)
        self._pictures = np.array([-1 - n if one is None else one for n, one in enumerate(pictures)], np.int64)

    def _open(self, path: str) -> pq.ParquetFile:
        source: Any = path if is_local(self._target.fs) else self._target.fs.open(path, "rb", block_size=2**20)
        return pq.ParquetFile(open(path, "rb") if isinstance(source, str) else source)

    def of(self, verdict: str) -> Any:
        """Places of the thumbnails with a verdict, the highest score first; one of each picture."""
        places = np.flatnonzero(self._verdicts == verdict)
        _, firsts = np.unique(self._pictures[places], return_index=True)
        return places[np.sort(firsts)]

    def image(self, place: int) -> ShownImage:
        """The thumbnail at a place; without its picture where the file would get too large."""
        row = self._row(place)
        data = row["image"]["bytes"] or b""
        missing = "" if data else row["error_message"] or row["error_code"] or "there is no thumbnail"
        if len(data) > self._left:
            data, missing = b"", "left out, since this file would get too large"
        self._left -= len(data)
        return ShownImage(
            row_id=row["row_id"],
            uri=row["uri"],
            score=row["score"],
            verdict=self._report.run.names[row["verdict"]],
            explanation=row["explanation"] or "",
            picture=f"data:image/jpeg;base64,{base64.b64encode(data).decode()}" if data else "",
            missing=missing,
            width=row["width"] or SIDE,
            height=row["height"] or SIDE,
            strip=_strip(row["strip"]),
            images=row["images"] or 1,
        )

    def _row(self, place: int) -> dict[str, Any]:
        per_file, per_group = self._report.thumbs.files[0].rows, self._report.thumbs.row_group_rows
        number, within = divmod(place, per_file)
        group, row = divmod(within, per_group)
        key = number * (per_file // per_group + 1) + group
        if self._group is None or self._group[0] != key:
            self._group = key, self._files[number].read_row_group(group).to_pylist()
        return self._group[1][row]


def _strip(text: str | None) -> list[ShownVariant]:
    words = {variant.name: variant.words for variant in VARIANTS}
    return [ShownVariant(name, words[name], score, turned) for name, score, turned in json.loads(text or "[]")]


def _number(value: float | int | None) -> str:
    return "–" if value is None else f"{value:,}"


def _percent(share: float | None) -> str:
    """A share in percent with three digits at most, and never 0 or 100 for one that is not."""
    if share is None:
        return "–"
    percent = 100 * share
    if percent in (0, 100):
        return f"{percent:.0f} %"
    digits = 2 if percent < 1 or percent > 99 else 1
    text = f"{percent:.{digits}f}"
    if float(text) in (0, 100):
        return f"under {10**-digits:g} %" if percent < 50 else f"over {100 - 10**-digits:g} %"
    return f"{text} %"


def _line(text: object) -> str:
    """Text with everything escaped that is not seen or turns the direction of what follows."""
    return "" if text is None else printable_line(str(text))


def _word(text: str) -> str:
    """Text as one word of a command that is copied into a shell."""
    return shlex.quote(_line(text))


def _below(path: str, base: str) -> str:
    """An address without the folder that all have in common; `.` for that folder itself."""
    inside = path.removeprefix(base)
    return (inside.lstrip("/") or ".") if base and inside != path and (not inside or inside[0] == "/") else path


def _size(count: int) -> str:
    size = float(count)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 999.5 or unit == "TB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
