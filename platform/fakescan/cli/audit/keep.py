"""`fakescan filter` and `fakescan diff`: what to do with a finished run."""

from typing import TYPE_CHECKING, Any

import click

from fakescan.cli.audit.places import run_folder
from fakescan.cli.options.command import Command
from fakescan.cli.options.option import option
from fakescan.cli.options.store_flags import with_store
from fakescan.cli.options.value_type import Text
from fakescan.cli.reports.reporter import Reporter, with_reports
from fakescan.settings.flag import FlagGroup

if TYPE_CHECKING:
    from fakescan.audit.keep_list import Rule


@click.command(
    "filter",
    cls=Command,
    examples=[
        ("What no verdict speaks against", "fakescan filter audit --drop fake -o keep.parquet"),
        ("Only what is surely fake goes", "fakescan filter audit --drop fake --min-score 0.95 -o keep.csv"),
        (
            "What a camera has taken, as its file says",
            "fakescan filter audit --keep real --provenance captured -o keep.csv",
        ),
        ("Keys of a WebDataset", "fakescan filter audit --keep real --ids webdataset -o keep.txt"),
    ],
)
@click.argument("run", type=Text(path="dir"))
@option(
    "--keep",
    group=FlagGroup.VERDICTS,
    metavar="VERDICT,…",
    unset="none",
    help="Keep images with these verdicts: real, fake, uncertain.",
)
@option(
    "--drop",
    group=FlagGroup.VERDICTS,
    metavar="VERDICT,…",
    unset="none",
    help="Leave images with these verdicts out, and keep the others.",
)
@option(
    "--min-score",
    group=FlagGroup.VERDICTS,
    type=float,
    metavar="P",
    unset="any",
    help="--keep or --drop means scores from P on only.",
)
@option(
    "--max-score",
    group=FlagGroup.VERDICTS,
    type=float,
    metavar="P",
    unset="any",
    help="--keep or --drop means scores up to P only.",
)
@option(
    "--uncertain",
    group=FlagGroup.VERDICTS,
    default="drop",
    metavar="keep|drop",
    help="Uncertain images, where --keep and --drop do not name them.",
)
@option(
    "--provenance",
    group=FlagGroup.VERDICTS,
    metavar="ORIGIN,…",
    unset="any",
    help="--keep or --drop means only files that say this of their origin: ai_generated, captured/c2pa_trusted, …",
)
@option("--errors", group=FlagGroup.VERDICTS, default="drop", metavar="keep|drop", help="Images without a verdict.")
@option(
    "--ids",
    group=FlagGroup.OUTPUT,
    default="fakescan",
    metavar="fakescan|img2dataset|webdataset",
    help="Whose names the images get.",
)
@option(
    "-o",
    "--output",
    group=FlagGroup.OUTPUT,
    required=True,
    metavar="FILE",
    help="A .parquet, .csv or .txt file, in the store of the run.",
)
@option("--dry-run", group=FlagGroup.OUTPUT, is_flag=True, help="Only count; nothing is written.")
@with_store("output", "the run and the list")
@with_reports
def filter_(run: str, output: str, ids: str, dry_run: bool, reporter: Reporter, **flags: Any) -> None:
    """Write which images of RUN to keep, and say what is left out and why.

    Uncertain images and those without a verdict are neither real nor fake: they are left out unless --uncertain keep
    and --errors keep, and counted in any case.
    """
    from fakescan.audit.image_ids import IDS
    from fakescan.audit.keep_list import write_keep_list
    from fakescan.cli.reports.keep import filter_report, print_filter
    from fakescan.terminal.parts_display import PartsDisplay
    from fakevlm.errors import UserError

    chosen = next((one for one in IDS if one == ids), None)
    if chosen is None:
        raise UserError(f"ids: {ids!r} is none of {', '.join(IDS)}")
    rule = _rule(flags)
    folder = run_folder(run, flags)
    info = folder.open()
    with PartsDisplay("reading", info.sharding.count, show=not reporter.quiet) as display:
        found = write_keep_list(folder, output, rule, ids=chosen, write=not dry_run, on_parts=display.add)
    with reporter.for_people():
        print_filter(found, info, output, dry_run=dry_run)
    reporter.finish(filter_report(folder, found, output, dry_run=dry_run))


def _rule(flags: dict[str, Any]) -> "Rule":
    from fakescan.audit.keep_list import Rule
    from fakescan.review.histogram import VERDICTS
    from fakevlm.errors import UserError
    from fakevlm.provenance import Basis, Origin

    def verdicts(name: str) -> tuple[str, ...]:
        words = tuple(word.strip() for word in (flags[name] or "").split(",")) if flags[name] else ()
        if unknown := [word for word in words if word not in VERDICTS]:
            raise UserError(f"{name}: {unknown[0]!r} is none of {', '.join(VERDICTS)}")
        return words

    keep, drop = verdicts("keep"), verdicts("drop")
    if bool(keep) == bool(drop):
        raise UserError("keep: name the verdicts with either --keep or --drop, such as --drop fake")
    for name in ("min_score", "max_score"):
        value = flags[name]
        if value is not None and not 0 <= value <= 1:
            raise UserError(f"{name}: {value:g} does not lie between 0 and 1")
    low, high = flags["min_score"], flags["max_score"]
    if low is not None and high is not None and low > high:
        raise UserError(f"min_score: {low:g} is above --max-score {high:g}")
    provenance = tuple(word.strip() for word in (flags["provenance"] or "").split(",")) if flags["provenance"] else ()
    for word in provenance:
        origin, slash, basis = word.partition("/")
        if origin not in [*Origin] or (slash and basis not in [*Basis]):
            known = ", ".join(Basis if origin in [*Origin] else Origin)
            raise UserError(f"provenance: {word!r} is not ORIGIN or ORIGIN/BASIS; it is one of {known}")
    for name in ("uncertain", "errors"):
        if flags[name] not in ("keep", "drop"):
            raise UserError(f"{name}: {flags[name]!r} is neither keep nor drop")
    kept = {name: flags[name] == "keep" for name in ("uncertain", "errors")}
    return Rule(keep, drop, low, high, provenance=provenance, **kept)


@click.command(
    cls=Command, examples=[("What a month has changed", "fakescan diff audit-june audit-july -o changes.parquet")]
)
@click.argument("run_a", type=Text(path="dir"))
@click.argument("run_b", type=Text(path="dir"))
@option("--by", default="address", metavar="address|content", help="What makes two images the same one.")
@option("-o", "--output", metavar="FILE", unset="none", help="A .parquet file for the images that changed.")
@with_store("output", "both runs and the file")
@with_reports
def diff(run_a: str, run_b: str, by: str, output: str | None, reporter: Reporter, **flags: Any) -> None:
    """Compare RUN_B with RUN_A: images that are new, gone or replaced, verdicts that changed, other settings."""
    from fakescan.audit.run_diff import compare
    from fakescan.audit.run_join import BYS
    from fakescan.cli.reports.keep import diff_report, print_diff
    from fakescan.terminal.parts_display import PartsDisplay
    from fakevlm.errors import UserError

    chosen = next((one for one in BYS if one == by), None)
    if chosen is None:
        raise UserError(f"by: {by!r} is none of {', '.join(BYS)}")
    if output is not None and not output.endswith(".parquet"):
        raise UserError(f"output: {output} must end with .parquet")
    folders = run_folder(run_a, flags), run_folder(run_b, flags)
    parts = sum(folder.open().sharding.count for folder in folders)
    with PartsDisplay("reading", parts, show=not reporter.quiet) as display:
        found = compare(*folders, by=chosen, output=output, on_parts=display.add)
    with reporter.for_people():
        print_diff(found, (folders[0].open(), folders[1].open()), output)
    reporter.finish(diff_report(folders, found, output))
