"""What `fakescan scan` prints when it is done: what came out, what did not, and what to do next."""

import os
import sys
from collections.abc import Iterator

import click
from rich.console import Console
from rich.text import Text

from fakescan.cli.reports.typed_command import (
    UnshowableError,
    pasteable,
    program,
    store_flags,
    typed_again,
    unset_variables,
)
from fakescan.run.counts import outcome_words
from fakescan.run.identity import DECODED_FAST
from fakescan.run.summary.origins import counted_words, unchecked_words
from fakescan.scan.config import ScanConfig
from fakescan.scan.execution import ScanOutcome
from fakescan.storage.url import file_path, redact, scheme_of
from fakescan.terminal.console import console_on, print_hanging, printable_line
from fakescan.terminal.duration import duration
from fakevlm.errors import ErrorCode
from fakevlm.reading import NO_FORGERY_FOUND, Meaning

PASSING = (ErrorCode.DENIED, ErrorCode.FETCH_FAILED, ErrorCode.JUDGE_FAILED, ErrorCode.NOT_FOUND)
"""Errors that may be gone when the row is scanned again; the others are the images' own."""


def print_summary(outcome: ScanOutcome, config: ScanConfig) -> None:
    """Print the summary of a scan on standard output."""
    console = console_on(sys.stdout)
    for line in standing(outcome):
        print_hanging(console, "", line)
    if outcome.slice is not None:
        print_hanging(console, "", slice_line(outcome))
    _print_results(console, outcome)
    print_hanging(console, "rows: ", _rows_text(outcome))
    if outcome.run.known_meaning is Meaning.FORGERIES and outcome.whole.real:
        print_hanging(console, "note: ", NO_FORGERY_FOUND, style="warning")
    if outcome.run.identity.decode == "fast":
        print_hanging(console, "note: ", DECODED_FAST)
    if origins := counted_words(outcome.whole.provenance):
        print_hanging(console, "files say of their origin: ", origins)
    if unchecked := unchecked_words(outcome.whole.provenance, has_list=outcome.run.trust_list is not None):
        print_hanging(console, "note: ", unchecked)
    if outcome.scanned.rows:
        print_hanging(console, "scanned now: ", _pace_text(outcome))
        if config.dedupe:
            print_hanging(console, "judged ", _judged_once(outcome))
        if outcome.strip.looked:
            print_hanging(console, "stability: ", strip_line(outcome))
    _print_errors(console, outcome)
    estimate = _estimate(outcome)
    if estimate:
        print_hanging(console, "estimate: ", estimate)
    if outcome.run.left_out:
        left_out = ", ".join(f"{count:,} {reason}" for reason, count in outcome.run.left_out.items())
        print_hanging(console, "left out: ", f"{left_out} (see manifest/manifest.json)")
    if outcome.run.warning and not _is_one_reader():
        print_hanging(console, "warning: ", outcome.run.warning, style="warning")
    _print_hints(console, list(_hints(outcome, config)))


def standing(outcome: ScanOutcome) -> list[str]:
    """Lines about a run in which there was nothing to do."""
    run = outcome.run
    listed = f"{run.listed_at or run.created_at:%Y-%m-%d %H:%M} UTC"
    if not outcome.already_complete:
        return []
    if not run.rows:
        return [f"nothing new: when the source was listed at {listed}, the earlier runs had scanned all of it"]
    since = f"complete since {outcome.completed_at:%Y-%m-%d %H:%M} UTC" if outcome.completed_at else "complete"
    if outcome.slice is not None:
        return [f"this slice is {since}"]
    return [
        f"{since}; the source was listed at {listed}, and what came later is not in this run: "
        f"scan it into another --output with --new-since {redact(outcome.url)}"
    ]


def slice_line(outcome: ScanOutcome) -> str:
    """The slice that is done, and whether the run is."""
    assert outcome.slice is not None
    done = f"slice {outcome.slice.number} of {outcome.slice.count} done"
    if not outcome.missing_elsewhere:
        return f"{done}; the run is complete"
    return f"{done}; the run misses {outcome.missing_elsewhere:,} parts of other slices"


def _judged_once(outcome: ScanOutcome) -> str:
    rows, copies, unreadable = outcome.scanned.rows, outcome.copies, outcome.unreadable
    line = f"{rows - copies - unreadable:,} of {rows:,}: {copies:,} had the same content as another"
    return f"{line}, {unreadable:,} could not be read" if unreadable else line


def strip_line(outcome: ScanOutcome) -> str:
    """What the second looks of this scan found, and what they cost."""
    strip, scanned = outcome.strip, outcome.scanned
    prefills = scanned.rows - outcome.copies - outcome.unreadable
    line = f"{strip.looked:,} looked at again, {strip.unstable:,} verdicts do not hold"
    if strip.incomplete:
        line += f", {strip.failed:,} variants of {strip.incomplete:,} images could not be judged (strip_note says why)"
    more = f" ({strip.variants / prefills:.1%} of {prefills:,})" if prefills else ""
    return f"{line}; {strip.variants:,} more prefills{more}"


def _print_hints(console: Console, hints: list[tuple[str, str | None]]) -> None:
    for purpose, command in hints:
        print_hanging(console, "", f"{purpose}:" if command else purpose)
        if command:
            console.print(Text(f"    {command}", "command"), soft_wrap=True)
    unset = unset_variables(" ".join(command or "" for _, command in hints))
    if unset:
        print_hanging(console, "", f"secrets are not shown: before you paste a command, set {', '.join(unset)}")


def _print_results(console: Console, outcome: ScanOutcome) -> None:
    parts = printable_line(f"{outcome.url}/parts/*.parquet")
    facts = f"run {outcome.run.run_id}, model {printable_line(outcome.run.model)}"
    if outcome.run.warning and _is_one_reader():
        facts += ": see the warning at the start"
    if not console.is_terminal:
        console.print(f"results: {parts}   ({facts})", soft_wrap=True)
        return
    console.print(f"results: {parts}", soft_wrap=True)
    print_hanging(console, "         ", facts)


def _is_one_reader() -> bool:
    """Whether both streams end in one place, where what was said on stderr need not be said again."""
    try:
        return os.path.sameopenfile(sys.stdout.fileno(), sys.stderr.fileno())
    except (OSError, ValueError, AttributeError):
        return False


def _rows_text(outcome: ScanOutcome) -> Text:
    counts = outcome.whole
    text = Text(f"{counts.rows:,} of {outcome.rows if outcome.slice else outcome.run.rows:,}")
    for name, count, style in outcome_words(counts, outcome.run.known_meaning):
        text.append("   ").append(f"{name} {count:,}", style if count else "")
    return text


def _pace_text(outcome: ScanOutcome) -> str:
    rate = outcome.steady_rate
    pace = f", then {rate:.1f} img/s" if rate else ""
    first = duration(outcome.startup_s)
    return f"{outcome.scanned.rows:,} in {duration(outcome.seconds)} ({first} to the first part{pace})"


def _print_errors(console: Console, outcome: ScanOutcome) -> None:
    for code, count in outcome.whole.most_common():
        example = outcome.examples.get(code)
        label = f"  {code:<18} {count:>8,}   "
        if example:
            print_hanging(console, label, printable_line(f"e.g. {example}"), style="error", indent=6)
        else:
            print_hanging(console, label.rstrip(), "", style="error")


def _estimate(outcome: ScanOutcome) -> str | None:
    """For a sample, how long the whole would take."""
    if not outcome.run.identity.selection.is_partial or not outcome.scanned.rows:
        return None
    total = outcome.run.population
    if outcome.steady_rate:
        seconds = outcome.startup_s + total / outcome.steady_rate
    else:  # too few parts to tell the start from the rest: an upper bound
        seconds = total * outcome.seconds / outcome.scanned.rows
    return f"the whole source, {total:,} images, takes about {duration(seconds)}"


def _hints(outcome: ScanOutcome, config: ScanConfig) -> Iterator[tuple[str, str | None]]:
    """What to do next, and the command for it if there is one that can be pasted."""
    verify = _on_the_run("verify", config)
    if verify is not None and not outcome.missing_elsewhere:
        yield "to check that every row is there exactly once", verify
    if outcome.whole.fake:
        query = _fakes_query(outcome.url)
        where = "in DuckDB" if scheme_of(outcome.url) == "file" else "in DuckDB, once it has your credentials"
        if query is not None:
            yield f"to see the fakes ({outcome.whole.fake:,}), the surest first, {where}", query
    passing = {code: outcome.whole.errors[code] for code in PASSING if code in outcome.whole.errors}
    if passing or outcome.strip.failed:
        which = ", ".join(f"{code} {count:,}" for code, count in passing.items())
        purpose = (
            f"to scan the rows with errors again ({which} may pass)" if passing else "to try failed variants again"
        )
        retry = _again("--retry-errors")
        yield (purpose, retry) if retry else (f"{purpose}: the same command with --retry-errors", None)


def _on_the_run(command: str, config: ScanConfig) -> str | None:
    """Another command about the run."""
    try:
        flags = store_flags("output", config.output_store)
    except UnshowableError:
        return None
    if redact(config.output) != config.output:
        return None
    return pasteable([*program(), command, config.output, *flags])


def _again(flag: str) -> str | None:
    context = click.get_current_context(silent=True)
    return None if context is None else typed_again(context, flag, without=("--break-lease",))


def _fakes_query(url: str) -> str | None:
    """SQL for DuckDB; None for a folder whose name it cannot be told."""
    if scheme_of(url) == "file" and "://" in url:
        url = file_path(url)
    if not url.isprintable():  # among others names that are not UTF-8
        return None
    pattern = "".join(f"[{char}]" if char in "*?[" else char for char in url)
    quoted = pattern.replace("'", "''")
    return f"SELECT uri, score, explanation FROM '{quoted}/parts/*.parquet' WHERE verdict = 'fake' ORDER BY score DESC;"
