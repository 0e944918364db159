"""What files say of their own origin: numbers for filters, words for readers, and counts by verdict."""

from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fakescan.report.report_file import CrossRow, Estimated, MeasuredRate, OriginCount, ProvenanceFacts
from fakescan.run.run_file import RunFile
from fakescan.run.summary.origins import LABELS, unchecked_words
from fakescan.run.summary.outcomes import OUTCOMES
from fakevlm.metrics.classification import wilson
from fakevlm.provenance import Basis, Origin, Provenance, sentence
from fakevlm.reading import Meaning

ORIGINS: Final = tuple(Origin)
"""Origins in the order of their numbers, which count from 1; new ones are added at the end."""
UNREAD = "unread"
"""Name of the number 0: a file that was not fetched, could not be read for it, or that nobody asked."""

_COLUMNS = ("provenance", "provenance_basis", "provenance_generator", "provenance_signer")
_BIAS = (
    "Who signs is no random sample: these files come from a few generators and cameras, mostly as those made them, "
    "while most files lose their signature on the way. On the others the detector may do better or worse. Copies of a "
    "file count each time."
)
_STANDS_FOR = (
    "A signature says who stands for a file and that nothing was changed since. A camera also signs a picture of a "
    "screen."
)
_NO_GENERATOR = "The model knows no generator, so that it is expected to miss what a generator made."
_NO_MEANING = "The verdicts mean nothing here, and so do these rates."


def origin_numbers(origins: pa.ChunkedArray) -> NDArray[np.uint8]:
    """The number of each row's origin, uint8[rows]."""
    known = pc.fill_null(pc.index_in(origins, pa.array([str(origin) for origin in ORIGINS])), -1)
    numbers: NDArray[np.uint8] = (known.to_numpy() + 1).astype(np.uint8)
    return numbers


def origin_words(rows: pa.Table) -> pa.Array:
    """What each file says in a sentence; null where it says nothing at all, or was not read."""
    origins, details = rows["provenance"], rows["provenance_detail"]
    certain = pc.fill_null(pc.not_equal(origins, Origin.NONE), False)
    says = pc.or_(certain, pc.and_(pc.is_valid(origins), pc.is_valid(details)))
    # Of a file that says something certain the sentence needs no detail, which is another one for each file.
    some = (
        rows.select(_COLUMNS)
        .append_column("detail", pc.if_else(certain, pa.scalar(None, pa.string()), details))
        .filter(says)
    )
    found = np.full(rows.num_rows, None, dtype=object)
    found[says.to_numpy()] = [_words(*row.values()) for row in some.to_pylist()]
    return pa.array(found, pa.string())


@lru_cache(maxsize=4096)
def _words(origin: str, basis: str | None, generator: str | None, signer: str | None, detail: str | None) -> str | None:
    try:
        words = sentence(Provenance(Origin(origin), Basis(basis) if basis else None, generator, signer, detail))
    except ValueError:  # of a later version, or no JSON
        return None
    return None if words == sentence(Provenance()) else words


def origin_cells(rows: pa.Table, outcomes: NDArray[np.int64]) -> Counter[str]:
    """Rows by `origin/captured/c2pa_trusted/fake`; those that were not read are not among them."""
    cells: Counter[str] = Counter()
    bases = pc.fill_null(rows["provenance_basis"], "")
    names = pc.binary_join_element_wise(
        "origin", rows["provenance"], bases, pa.array(OUTCOMES).take(pa.array(outcomes)), "/"
    )
    for item in names.drop_null().value_counts().to_pylist():
        cells[item["values"]] = item["counts"]
    return cells


def provenance_facts(cells: Mapping[str, int], unread: dict[str, int]) -> ProvenanceFacts | None:
    """The numbers of a report; None where no file was read for it. `unread`: the other rows by outcome."""
    found: list[tuple[str, str, str, int]] = []
    for name, rows in cells.items():
        if name.startswith("origin/") and rows:
            _, origin, basis, outcome = name.split("/")
            found.append((origin, basis, outcome, rows))
    if not found:
        return None

    def counted(origin: str, *, trusted: bool) -> dict[str, int]:
        counts = dict.fromkeys(OUTCOMES, 0)
        for its, basis, outcome, rows in found:
            if its == origin and (not trusted or basis == Basis.C2PA_TRUSTED):
                counts[outcome] += rows
        return counts

    bases: dict[str, int] = {}
    for _, basis, _, rows in found:
        if basis:
            bases[basis] = bases.get(basis, 0) + rows
    by_origin = {origin: (counted(origin, trusted=False), counted(origin, trusted=True)) for origin in ORIGINS}
    counts = [
        OriginCount(
            number=number,
            name=origin,
            label=LABELS[origin],
            trusted=sum(by_origin[origin][1].values()),
            rows=sum(by_origin[origin][0].values()),
            **by_origin[origin][0],
        )
        for number, origin in enumerate(ORIGINS, start=1)
    ]
    if any(unread.values()):
        counts.append(
            OriginCount(number=0, name=UNREAD, label="not read", trusted=0, rows=sum(unread.values()), **unread)
        )
    cross = [
        CrossRow(name=origin, label=LABELS[origin], rows=sum(trusted.values()), **trusted)
        for origin, (_, trusted) in by_origin.items()
        if any(trusted.values())
    ]
    return ProvenanceFacts(
        read=sum(rows for *_, rows in found),
        origins=counts,
        bases=dict(sorted(bases.items(), key=lambda item: (-item[1], item[0]))),
        cross=cross,
        misses=_rate(by_origin[Origin.AI_GENERATED][1], "real"),
        false_alarms=_rate(by_origin[Origin.CAPTURED][1], "fake"),
    )


def _rate(counts: Mapping[str, int], wrong: str) -> MeasuredRate | None:
    judged = sum(counts[name] for name in ("real", "fake", "uncertain"))
    if not judged:
        return None
    found = wilson(counts[wrong], judged)
    share = Estimated(value=counts[wrong] / judged, low=found.low, high=found.high)
    return MeasuredRate(wrong=counts[wrong], judged=judged, share=share)


def provenance_notes(facts: ProvenanceFacts, run: RunFile) -> list[str]:
    """What must be known of the numbers, a sentence or two each."""
    notes = []
    if facts.misses or facts.false_alarms:
        notes += [_BIAS, _STANDS_FOR]
        if run.known_meaning is Meaning.NONE:
            notes.append(_NO_MEANING)
        elif run.known_meaning is Meaning.FORGERIES:
            notes.append(_NO_GENERATOR)
    if run.trust_list is not None:
        notes.append(f"Signers were checked against the list of {run.trust_list.dated} from {run.trust_list.source}.")
    elif unchecked := unchecked_words({f"/{basis}": rows for basis, rows in facts.bases.items()}, has_list=False):
        notes.append(f"{unchecked[0].upper()}{unchecked[1:]}.")
    return notes
