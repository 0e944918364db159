"""The report of an evaluation: one HTML file that needs nothing else."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fakescan.evaluate import charts
from fakescan.evaluate.benchmark import read_picture
from fakescan.evaluate.judged import JudgedImages
from fakescan.evaluate.results import Results
from fakescan.evaluate.table import NAMES, paper_conditions, paper_rows, percent, ranked, remarks, score_rows
from fakescan.storage.store import Store
from fakevlm.metrics.distortion import CONDITIONS, NONE
from fakevlm.metrics.published import SOURCE
from fakevlm.reading import counted_as, leaning
from fakevlm.verdict import Verdict

MAX_MISTAKES = 12
"""Mistakes shown of each kind."""
_SIDE = 256
"""Pixels of the longer side of a shown image."""


def render(results: Results, judged: dict[str, JudgedImages], store: Store) -> str:
    """The page. The images of the worst mistakes are read from `store` again."""
    from jinja2 import Environment

    template = (Path(__file__).parent / "report.html.j2").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"percent": percent, "ranked": ranked}
    return environment.from_string(template).render(
        results=results,
        title=NAMES[results.benchmark],
        called_real=_called_real(results),
        published=paper_rows(results),
        source=SOURCE,
        numbers=list(score_rows(results.overall)),
        remarks=remarks(results),
        charts=_charts(results, judged[NONE]),
        meanings={name: condition.meaning for name, condition in CONDITIONS.items()},
        paper=paper_conditions(results),
        mistakes=_mistakes(results, judged[NONE], store),
    )


def _charts(results: Results, clean: JudgedImages) -> list[str]:
    drawn = [
        charts.score_chart(clean.is_fake, clean.score, results.threshold),
        charts.reliability_chart(clean.is_fake, clean.score),
    ]
    if results.overall.auroc is not None:
        drawn.append(charts.roc_chart(clean.is_fake, clean.logit, results.overall.auroc))
    if results.conditions:
        drawn.append(charts.conditions_chart(results.conditions))
    return drawn


def _called_real(results: Results) -> str:
    """What an image below the threshold is said to be."""
    name = counted_as(Verdict.REAL, results.meaning)
    return "called real" if name == Verdict.REAL else f"with {name}"


def _mistakes(results: Results, clean: JudgedImages, store: Store) -> list[dict[str, Any]]:
    """The images on the wrong side of the threshold, those furthest from it first, of both kinds."""
    said = clean.score >= results.threshold
    mistakes = []
    for title, wrong, worst_first in (
        ("Real images called fake", said & ~clean.is_fake, -clean.logit),
        (f"Fake images {_called_real(results)}", ~said & clean.is_fake, clean.logit),
    ):
        numbers = np.flatnonzero(wrong)
        worst = numbers[np.argsort(worst_first[numbers], kind="stable")][:MAX_MISTAKES]
        shown = [_shown(clean, number, store) for number in worst]
        mistakes.append({"title": title, "count": len(numbers), "images": shown})
    return mistakes


def _shown(clean: JudgedImages, number: int, store: Store) -> dict[str, Any]:
    image, row = clean.images[number], clean.rows.slice(number, 1).to_pylist()[0]
    return {
        "uri": row["uri"],
        "name": row["uri"].rpartition("/")[2],
        "group": " · ".join(part for part in (image.category, image.generator) if part),
        "score": row["score"],
        "leans": leaning(row["logit"]),
        "explanation": row["explanation"] or "",
        "picture": _picture(image.uri, store),
    }


def _picture(uri: str, store: Store) -> str:
    """A small JPEG as a data URI; empty where the image can no longer be read."""
    image = read_picture(uri, store)
    if image is None:
        return ""
    image.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    sink = io.BytesIO()
    image.save(sink, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(sink.getvalue()).decode()
