"""The charts of the overview, drawn as SVG by hand: colours come from the page, so that they follow light and dark."""

import math
from collections.abc import Callable, Iterator, Sequence
from html import escape

from fakescan.report.report_file import Scores

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 720, 240, 60, 42, 12


def score_chart(scores: Scores, threshold: float, low: float | None, high: float | None) -> str:
    """Images by score in 50 columns, on a logarithmic scale, since nearly all may be at one end; with the threshold."""
    counts = [scores.at_least[step] - scores.at_least[step + 2] for step in range(0, 98, 2)]
    counts.append(scores.at_least[98])
    top = max(1, math.ceil(math.log10(max(counts, default=0) + 1)))
    plot_width, plot_height = _WIDTH - _LEFT - 10, _HEIGHT - _BOTTOM - _TOP
    column = plot_width / len(counts)

    def y(count: float) -> float:
        return _TOP + plot_height * (1 - math.log10(count + 1) / math.log10(10**top + 1))

    def x(score: float) -> float:
        return _LEFT + plot_width * score

    parts = [*_grid(y, top)]
    if low is not None and high is not None:
        parts.append(
            f'<rect class="band" x="{x(low):.1f}" y="{_TOP}" width="{x(high) - x(low):.1f}" height="{plot_height}"/>'
        )
    for number, count in enumerate(counts):
        if not count:
            continue
        kind = "flagged" if number / len(counts) >= threshold else "plain"
        height = _TOP + plot_height - y(count)
        parts.append(
            f'<rect class="{kind}" x="{_LEFT + number * column + 0.5:.1f}" y="{y(count):.1f}" width="{column - 1:.1f}" '
            f'height="{height:.1f}"><title>{_range(number, len(counts))}: {count:,} images</title></rect>'
        )
    at = x(threshold)
    parts.append(f'<line class="cut" x1="{at:.1f}" x2="{at:.1f}" y1="{_TOP}" y2="{_TOP + plot_height}"/>')
    anchor, shift = ("end", -5) if threshold > 0.7 else ("start", 5)
    parts.append(f'<text x="{at + shift:.1f}" y="{_TOP + 12}" text-anchor="{anchor}">threshold {threshold:g}</text>')
    for tick in range(0, 11, 2):
        parts.append(f'<text x="{x(tick / 10):.1f}" y="{_HEIGHT - 24}" text-anchor="middle">{tick / 10:.1f}</text>')
    parts.append(f'<text x="{_LEFT + plot_width / 2:.1f}" y="{_HEIGHT - 6}" text-anchor="middle">score</text>')
    return _svg("Images by score", parts)


def _grid(y: Callable[[float], float], top: int) -> Iterator[str]:
    for power in range(top + 1):
        value = 10**power
        place = y(value - 1 if power == 0 else value)
        label = "0" if power == 0 else f"{value:,}"
        yield f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - 10}" y1="{place:.1f}" y2="{place:.1f}"/>'
        yield f'<text x="{_LEFT - 6}" y="{place + 4:.1f}" text-anchor="end">{label}</text>'


def _range(number: int, count: int) -> str:
    return f"{number / count:.2f} to {(number + 1) / count:.2f}"


def bar_chart(title: str, bars: Sequence[tuple[str, int]]) -> str:
    """Horizontal bars with their names and numbers, on a linear scale."""
    most = max((count for _, count in bars), default=0) or 1
    row, left, right = 24, 200, 90
    parts = []
    for number, (name, count) in enumerate(bars):
        top = number * row
        width = (_WIDTH - left - right) * count / most
        parts.append(f'<text x="{left - 8}" y="{top + 16}" text-anchor="end">{escape(name)}</text>')
        parts.append(f'<rect class="flagged" x="{left}" y="{top + 4}" width="{width:.1f}" height="16"/>')
        parts.append(f'<text x="{left + width + 6:.1f}" y="{top + 16}">{count:,}</text>')
    return _svg(title, parts, height=row * len(bars))


def _svg(title: str, parts: Sequence[str], height: int = _HEIGHT) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(title)}" class="chart">'
        f"<title>{escape(title)}</title>{''.join(parts)}</svg>"
    )
