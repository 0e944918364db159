"""Prints the results of `fakescan data`: problems by kind, and tables."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from fakescan.terminal.tables import number_table, wide_console
from fakevlm.data.problem import DatasetProblem, ProblemKind
from fakevlm.data.record import FAKE, REAL, SEVERITIES, Record
from fakevlm.data.split import Split
from fakevlm.data.stats import Count, DatasetStats
from fakevlm.errors import UserError

_UNEVEN = 0.01
"""A share of a label that is missed by more is worth a warning."""


def print_problems(problems: Sequence[DatasetProblem], *, per_kind: int | None) -> None:
    """Print the number and the first `per_kind` problems (None: all) of every kind, the kinds in their own order."""
    by_kind: defaultdict[ProblemKind, list[DatasetProblem]] = defaultdict(list)
    for problem in problems:
        by_kind[problem.kind].append(problem)
    for kind in ProblemKind:
        found = by_kind.get(kind, [])
        if not found:
            continue
        shown = found if per_kind is None else found[:per_kind]
        heading = f"warning: {kind}" if kind.is_warning else str(kind)
        lines = [f"{heading}: {len(found):,}", *(f"  {problem}" for problem in shown)]
        if len(found) > len(shown):
            lines.append(f"  … and {len(found) - len(shown):,} more (--all shows them, --json FILE writes them)")
        print("\n".join(lines))


def write_problems(file: Path, location: str, records: int, problems: Sequence[DatasetProblem]) -> None:
    """Write all problems as JSON: the kind's own name, not its heading, so that programs may switch over it."""
    found = [
        {
            "kind": problem.kind.name.lower(),
            "warning": problem.kind.is_warning,
            "file": problem.file,
            "record": problem.number,
            "image": problem.image,
            "message": problem.message,
        }
        for problem in problems
    ]
    text = json.dumps({"data": location, "records": records, "problems": found}, indent=1)
    try:
        file.write_text(f"{text}\n", encoding="utf-8")
    except OSError as error:
        raise UserError(f"--json: cannot write {file}: {error.strerror}") from None


def print_stats(name: str, stats: DatasetStats) -> None:
    """Print the tables of one split."""
    console = wide_console()
    table = number_table(console, name, "category", "records", "real", "fake", "fakes %")
    for count in stats.categories:
        table.add_row(*_count_cells(count))
    table.add_section()
    table.add_row(*_count_cells(stats.total))
    console.print(table)
    if stats.families:
        present = {level for _, found in stats.families for level in found}
        severities = [level for level in (*SEVERITIES, "-") if level in present]
        table = number_table(console, "artifact families", "family", "records", *severities)
        for family, found in stats.families:
            table.add_row(family, f"{sum(found.values()):,}", *(f"{found.get(level, 0):,}" for level in severities))
        console.print(table)
    if stats.sizes:
        table = number_table(
            console, "image sizes, pixels", "label", "records", "least", "median", "greatest", "commonest", "its %"
        )
        for size in stats.sizes:
            pairs = (size.smallest, size.median, size.largest, size.commonest)
            cells = (f"{width}x{height}" for width, height in pairs)
            table.add_row(size.label, f"{size.known:,}", *cells, f"{100 * size.commonest_share:.1f}")
        console.print(table)
    if not any(answers.commonest for answers in stats.answers):
        console.print("no record has an answer that explains anything")
        return
    table = number_table(console, "answers", "label", "records", "words, median", "words, p95", "commonest %")
    for answers in stats.answers:
        words = f"{answers.median_words:.0f}", f"{answers.p95_words:.0f}"
        table.add_row(answers.label, f"{answers.count:,}", *words, f"{100 * answers.commonest_share:.1f}")
    console.print(table)
    for answers in stats.answers:
        text = " ".join(answers.commonest.split())
        shown = text if len(text) <= 300 else f"{text[:299]}…"
        console.print(f"commonest answer, {answers.label}: {shown}", soft_wrap=True)


def print_splits(output: str, records: Sequence[Record], splits: Iterable[Split]) -> None:
    """Print what each split got, and a warning where a label's share is missed because sources are big."""
    console = wide_console()
    table = number_table(
        console, f"{output.rstrip('/')}/data_json", "split", "records", "real", "fake", "sources", "share %"
    )
    totals = {label: sum(record.label == label for record in records) for label in (REAL, FAKE)}
    warnings = []
    for split in splits:
        counts = {label: sum(records[index].label == label for index in split.indices) for label in (REAL, FAKE)}
        share = f"{100 * len(split.indices) / len(records):.1f}"
        cells = (len(split.indices), counts[REAL], counts[FAKE], split.sources)
        table.add_row(f"{split.name}.json", *(f"{cell:,}" for cell in cells), share)
        for label, word in ((REAL, "real"), (FAKE, "fake")):
            miss = counts[label] - split.share * totals[label]
            if abs(miss) > max(1.0, _UNEVEN * totals[label]):
                got = counts[label] / totals[label]
                warnings.append(f"{split.name} has {got:.1%} of the {word} images, not {split.share:.1%}")
    console.print(table)
    if warnings:
        reason = "sources are too big to be divided better; see docs/data.md on `source`"
        print(f"warning: {'; '.join(warnings)}: {reason}")


def _count_cells(count: Count) -> tuple[str, str, str, str, str]:
    return count.name, f"{count.total:,}", f"{count.real:,}", f"{count.fake:,}", f"{100 * count.fake_share:.1f}"
