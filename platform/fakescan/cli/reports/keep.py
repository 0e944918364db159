"""What `fakescan filter` and `fakescan diff` say, for people and as JSON."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fakescan.cli.reports.reporter import JsonReport
from fakescan.storage.url import redact

if TYPE_CHECKING:
    from fakescan.audit.keep_list import KeepList
    from fakescan.audit.run_diff import RunDifference
    from fakescan.run.folder import RunFolder
    from fakescan.run.run_file import RunFile
    from fakevlm.reading import Meaning


@dataclass(kw_only=True)
class FilterReport(JsonReport):
    """What `filter --json` prints."""

    run: str
    """The run's folder or URL prefix."""
    run_id: str
    """Identifies the run, as in its rows."""
    output: str
    """The list."""
    dry_run: bool
    """Whether nothing was written."""
    kept: dict[str, int]
    """Images in the list by outcome: real, fake, uncertain, errors."""
    left_out: dict[str, int]
    """Images that are not, by outcome."""
    missing: int
    """Images that were not scanned yet, which are not in the list."""


def filter_report(folder: "RunFolder", found: "KeepList", output: str, *, dry_run: bool) -> FilterReport:
    """The object for a keep-list."""
    return FilterReport(
        run=redact(folder.url),
        run_id=folder.open().run_id,
        output=redact(output),
        dry_run=dry_run,
        kept=dict(found.kept),
        left_out=dict(found.left_out),
        missing=found.missing,
    )


def print_filter(found: "KeepList", run: "RunFile", output: str, *, dry_run: bool) -> None:
    """Print what is kept, and what is not."""
    from fakevlm.reading import NO_FORGERY_FOUND, Meaning

    kept, left = sum(found.kept.values()), sum(found.left_out.values())
    words = _words(found.kept, run.known_meaning)
    print(f"{'would keep' if dry_run else 'kept'} {kept:,} of {kept + left:,} images{words}")
    if left:
        print(f"left out {left:,}{_words(found.left_out, run.known_meaning)}")
    for name, flag in (("uncertain", "--uncertain"), ("errors", "--errors")):
        if found.left_out[name]:
            what = "uncertain images" if name == "uncertain" else "images without a verdict"
            print(f"left out as neither real nor fake: {found.left_out[name]:,} {what}; {flag} keep keeps them")
        if found.kept[name]:
            what = "uncertain images" if name == "uncertain" else "images that could not be judged"
            print(f"kept all the same: {found.kept[name]:,} {what}")
    if found.missing:
        print(f"{found.missing:,} images are not scanned yet and are not in the list")
    if run.known_meaning is Meaning.FORGERIES and found.kept["real"]:
        print(f"note: {NO_FORGERY_FOUND}")
    if run.warning:
        print(f"warning: {run.warning}")
    if not dry_run:
        print(f"list: {redact(output)}")


@dataclass(kw_only=True)
class DiffReport(JsonReport):
    """What `diff --json` prints."""

    runs: list[str]
    """Both runs' folders."""
    run_ids: list[str]
    """Both runs' identifiers."""
    models: list[str]
    """Names of both runs' models."""
    output: str | None
    """The file with the images that changed."""
    settings: list[str]
    """Settings that differ, a line each."""
    new: int
    """Images that only the second run has."""
    gone: int
    """Images that only the first run has."""
    replaced: int
    """Images with other bytes."""
    same: int
    """Images that both have."""
    changed: dict[str, int]
    """Of these, those whose outcome changed, such as `real -> fake`."""
    moved: int
    """Of these, those whose score moved by 0.1 or more."""
    new_outcomes: dict[str, int]
    """New images by outcome."""
    gone_outcomes: dict[str, int]
    """Gone images by outcome."""


def diff_report(folders: "tuple[RunFolder, RunFolder]", found: "RunDifference", output: str | None) -> DiffReport:
    """The object for a difference."""
    runs = [folder.open() for folder in folders]
    return DiffReport(
        runs=[redact(folder.url) for folder in folders],
        run_ids=[run.run_id for run in runs],
        models=[run.model for run in runs],
        output=None if output is None else redact(output),
        settings=found.settings,
        new=found.new,
        gone=found.gone,
        replaced=found.replaced,
        same=found.same,
        changed={f"{before} -> {now}": count for (before, now), count in found.verdicts.most_common()},
        moved=found.moved,
        new_outcomes=dict(found.new_outcomes),
        gone_outcomes=dict(found.gone_outcomes),
    )


def print_diff(found: "RunDifference", runs: "tuple[RunFile, RunFile]", output: str | None) -> None:
    """Print what changed; each run's outcomes by what its model's verdicts may be called."""
    from fakescan.terminal.console import printable_line
    from fakevlm.reading import outcome_name

    earlier, later = (run.known_meaning for run in runs)
    for line in found.settings:
        print(printable_line(line))
    print(f"new {found.new:,}{_words(found.new_outcomes, later)}")
    print(f"gone {found.gone:,}{_words(found.gone_outcomes, earlier)}")
    print(f"other bytes {found.replaced:,}")
    changed = sum(found.verdicts.values())
    print(f"the same {found.same:,}, of which {changed:,} have another verdict and {found.moved:,} moved by 0.1")
    for (before, now), count in found.verdicts.most_common():
        print(f"  {outcome_name(before, earlier)} -> {outcome_name(now, later):<12} {count:>8,}")
    if output is not None:
        print(f"changes: {redact(output)}")


def _words(counts: Mapping[str, int], meaning: "Meaning | None") -> str:
    from fakevlm.reading import outcome_name

    words = ", ".join(f"{outcome_name(name, meaning)} {count:,}" for name, count in counts.items() if count)
    return f": {words}" if words else ""
