"""`fakescan summary`: what the rows of a run say together, for people or as JSON."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from fakescan.cli.exit_status import EXIT_FAILED, fail
from fakescan.cli.options.command import Command
from fakescan.cli.options.option import option
from fakescan.cli.options.store_flags import with_store
from fakescan.cli.options.value_type import Text

if TYPE_CHECKING:
    from fakescan.run.summary.image_facts import NotableImage
    from fakescan.run.summary.run_summary import CopiedContent, Outcomes, RunSummary

_FOLDERS = 20
_BAR = 30
_COUNTED_ALOUD = 2000
"""Parts from which on reading them takes so long that it is shown."""


@click.command(cls=Command)
@click.argument("run", type=Text(path="dir"))
@option("--depth", type=click.IntRange(min=1), default=1, metavar="N", help="Levels of folders.")
@option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@with_store("output", "the run")
def summary(run: str, depth: int, as_json: bool, **flags: Any) -> None:
    """Count the rows of RUN: by verdict, score, folder and error, and images that are there more than once.

    RUN may be unfinished.
    """
    found = _summarize(run, depth, flags)
    if as_json:
        print(json.dumps(json.loads(found.model_dump_json()), indent=2))
    else:
        for line in lines_of(found, bar="█" if _can_print("█") else "#"):
            print(line)
    for part in found.unreadable[:20]:
        print(f"{part.name} {part.reason}", file=sys.stderr)
    if found.unreadable:
        rows = sum(part.rows for part in found.unreadable)
        parts = f"{len(found.unreadable)} part{'s' * (len(found.unreadable) > 1)}"
        fail(f"{parts} cannot be read: the summary is without {rows:,} rows; see fakescan verify", EXIT_FAILED)


def _summarize(run: str, depth: int, flags: dict[str, Any]) -> "RunSummary":
    from contextlib import ExitStack

    from fakescan.cli.options.flags import store_from_flags
    from fakescan.run.bulk.workers import Workers
    from fakescan.run.folder import RunFolder
    from fakescan.run.summary.summary import summarize
    from fakescan.sources.listing import local_uri
    from fakescan.storage.preflight import check_readable
    from fakescan.storage.url import file_path, scheme_of
    from fakescan.terminal.counting import Counting

    store = store_from_flags("output", flags)
    if scheme_of(run) == "file":
        run = local_uri(file_path(run))
    check_readable(run, store)
    folder = RunFolder(run, store)
    parts = folder.open().sharding.count
    with ExitStack() as stack:
        if parts < _COUNTED_ALOUD:
            return summarize(folder, depth=depth)
        counting = stack.enter_context(Counting("reading parts", parts))
        return summarize(folder, depth=depth, on_part=counting.one_more, workers=Workers())


def _can_print(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def lines_of(found: "RunSummary", *, bar: str = "#") -> Iterator[str]:
    """The summary for people. Names that may be long are at the ends of their lines."""
    from fakescan.terminal.console import printable_line

    for section in (
        _head(found),
        _verdicts(found),
        _strip(found),
        _scores(found, bar),
        _folders(found),
        _errors(found),
        _copies(found),
        _images(found),
        _left_out(found),
    ):
        yield from (printable_line(line).rstrip() for line in section)


def _head(found: "RunSummary") -> Iterator[str]:
    from fakescan.run.identity import DECODED_FAST

    yield f"run {found.run_id} of {found.source}"
    yield f"started {found.created_at:%Y-%m-%d %H:%M} UTC, model {found.model}"
    if found.warning:
        yield f"warning: {found.warning}"
    if found.decode == "fast":
        yield DECODED_FAST
    if found.is_finished:
        yield f"finished: {found.rows:,} rows"
    else:
        yield f"unfinished: {found.done:,} of {found.rows:,} rows"


def _verdicts(found: "RunSummary") -> Iterator[str]:
    from fakescan.run.summary.origins import counted_words, unchecked_words
    from fakevlm.reading import NO_FORGERY_FOUND, Meaning

    counts = found.outcomes
    names = _names(found)
    width = max(10, *(len(name) + 1 for name in names.values()))
    yield ""
    for outcome, name in names.items():
        rows = getattr(counts, outcome)
        yield f"  {name:<{width}}{rows:>12,}{_share(rows, counts.rows):>9}"
    if found.meaning is Meaning.FORGERIES and counts.real:
        yield f"  {NO_FORGERY_FOUND}"
    turned = found.overruled
    if turned.real or turned.fake:
        yield (
            f"  verdicts that are not the model's own word: {turned.real + turned.fake:,} "
            f"({names['fake']} {turned.fake:,}, {names['real']} {turned.real:,})"
        )
        if not found.has_own_words:
            yield "    begun by an earlier version, which put the verdict's word into their explanations"
    if found.noted:
        yield f"  judged in spite of damage (error_message says which): {found.noted:,}"
    if origins := counted_words(found.provenance):
        yield f"  files say of their origin: {origins}"
    if unchecked := unchecked_words(found.provenance, has_list=found.trust_list is not None):
        yield f"    {unchecked}"


def _strip(found: "RunSummary") -> Iterator[str]:
    strip = found.strip
    if strip is None:
        return
    which = f"sample of {strip.share:.3g}" if strip.share is not None else strip.stability
    yield from ("", f"stability ({which}): {strip.looked:,} images looked at again")
    yield f"  {'holds':<22}{strip.holds:>12,}{_share(strip.holds, strip.looked):>9}"
    counts = " and counts as uncertain" if strip.unstable == "uncertain" else ""
    yield f"  {'does not hold':<22}{strip.changes:>12,}{_share(strip.changes, strip.looked):>9}{counts}"
    if strip.unknown:
        yield f"  {'not all could be judged':<23}{strip.unknown:>11,}  strip_note says why"
    for variant in strip.variants:
        share = _share(variant.changed, variant.judged)
        failed = f", {variant.failed:,} not judged" if variant.failed else ""
        yield f"    {variant.name:<20}{variant.changed:>12,}{share:>9}  other verdicts {variant.words}{failed}"


def _names(found: "RunSummary") -> dict[str, str]:
    """What each outcome is called, in the order in which they are shown."""
    from fakevlm.reading import counted_as
    from fakevlm.verdict import Verdict

    verdicts = (Verdict.REAL, Verdict.FAKE, Verdict.UNCERTAIN)
    return {**{verdict.value: counted_as(verdict, found.meaning) for verdict in verdicts}, "errors": "errors"}


def _scores(found: "RunSummary", bar: str) -> Iterator[str]:
    total, most = sum(found.bands), max(found.bands)
    if not total:
        return
    what = "P(forged)" if found.meaning == "forgeries" else "P(fake)"
    what = what if found.is_calibrated else "not calibrated"
    yield from ("", f"score, {what}; fake from {found.threshold:g}")
    for number, rows in enumerate(found.bands):
        length = max(round(rows / most * _BAR), 1) if rows else 0
        yield f"  {number / 10:.1f}-{(number + 1) / 10:.1f}{rows:>12,}{_share(rows, total):>9}  {bar * length}"


def _folders(found: "RunSummary") -> Iterator[str]:
    folders = found.folders
    if not folders.largest:
        return
    yield from ("", f"folders below {folders.base}" if folders.base else "stores and folders")
    real = _names(found)["real"]
    width = max(10, len(real) + 2)
    yield f"  {'rows':>10}{real:>{width}}{'fake':>10}{'uncertain':>11}{'errors':>9}  folder"
    for item in folders.largest[:_FOLDERS]:
        numbers = f"{item.real:>{width},}{item.fake:>10,}{item.uncertain:>11,}{item.errors:>9,}"
        yield f"  {item.rows:>10,}{numbers}  {item.folder}"
    more = len(folders.largest[_FOLDERS:]) + folders.others
    if more:
        rows = sum(item.rows for item in folders.largest[_FOLDERS:]) + folders.other_rows
        yield f"  {rows:>10,}  in {more:,} more"


def _errors(found: "RunSummary") -> Iterator[str]:
    if found.errors:
        yield from ("", "errors")
    for error in found.errors:
        yield f"  {error.code:<18}{error.rows:>10,}  e.g. {error.uri}: {error.message}"


def _copies(found: "RunSummary") -> Iterator[str]:
    copies = found.copies
    yield ""
    if not copies.contents:
        yield "no two images with the same bytes"
        return
    yield f"{copies.rows:,} images have one of {copies.contents:,} contents that are there more than once"
    names = _names(found)
    yield from _groups(copies.largest, copies.contents, names)
    if copies.differing:
        yield f"warning: {copies.differing:,} of these contents got different verdicts"
        yield from _groups(copies.different, copies.differing, names)


def _groups(contents: "Sequence[CopiedContent]", count: int, names: Mapping[str, str]) -> Iterator[str]:
    for content in contents:
        yield f"  {content.rows:>10,} x  {_words(content, names)}"
        yield from (f"{'':15}{uri}" for uri in content.uris)
        if more := content.rows - len(content.uris):
            yield f"{'':15}and {more:,} more"
    if count > len(contents):
        yield f"  and {count - len(contents):,} more contents"


def _words(counts: "Outcomes", names: Mapping[str, str]) -> str:
    found = [(name, getattr(counts, outcome)) for outcome, name in names.items() if getattr(counts, outcome)]
    return found[0][0] if len(found) == 1 else ", ".join(f"{name} {rows:,}" for name, rows in found)


def _images(found: "RunSummary") -> Iterator[str]:
    images = found.images
    if images.largest is None:
        return
    formats = ", ".join(f"{name} {count:,}" for name, count in images.formats.items())
    yield from ("", f"images: {_size(images.num_bytes)}{f'   {formats}' if formats else ''}")
    for words, image in (
        ("largest", images.largest),
        ("smallest", images.smallest),
        ("most pixels", images.most_pixels),
        ("fewest pixels", images.fewest_pixels),
    ):
        if image is not None:
            yield f"  {words:<15}{_measures(image)}  {image.uri}"
    if found.scanned_from is not None and found.scanned_to is not None:
        yield f"scanned from {found.scanned_from:%Y-%m-%d %H:%M} to {found.scanned_to:%Y-%m-%d %H:%M} UTC"


def _measures(image: "NotableImage") -> str:
    pixels = f"{image.width:,} x {image.height:,}" if image.width is not None and image.height is not None else ""
    return f"{_size(image.num_bytes or 0):>9}{pixels:>16}"


def _left_out(found: "RunSummary") -> Iterator[str]:
    if found.seen is not None:
        yield from ("", f"listed: {found.seen:,} seen, {sum(found.left_out.values()):,} left out")
    for reason, count in found.left_out.items():
        yield f"  {count:>10,} {reason}"
    yield from (f"  {note}" for note in found.notes)


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if part else ""


def _size(count: int) -> str:
    """Bytes as a person says them, such as `3.4 MB`."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 999.5 or unit == "TB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
