"""`fakescan duplicates`: how many pictures the images of a run are."""

from typing import Any

import click

from fakescan.cli.audit.places import run_folder
from fakescan.cli.options.command import Command
from fakescan.cli.options.option import option
from fakescan.cli.options.store_flags import with_store
from fakescan.cli.options.value_type import Text
from fakescan.cli.reports.reporter import Reporter, with_reports
from fakescan.settings.flag import FlagGroup
from fakevlm.near_duplicates import LIMIT


@click.command(
    cls=Command,
    examples=[
        ("How many pictures the flagged images are", "fakescan duplicates audit"),
        ("Which image is which picture", "fakescan duplicates audit -o pictures.parquet"),
    ],
)
@click.argument("run", type=Text(path="dir"))
@option(
    "-o",
    "--output",
    group=FlagGroup.OUTPUT,
    metavar="FILE",
    unset="none",
    help="A .parquet file with the picture of each image, in the store of the run.",
)
@option(
    "--limit",
    type=int,
    default=LIMIT,
    metavar="BITS",
    help="Bits of 256 in which the hash of an image may differ from that of its picture's first one.",
)
@with_store("output", "the run and the file")
@with_reports
def duplicates(run: str, output: str | None, limit: int, reporter: Reporter, **flags: Any) -> None:
    """Count the pictures in RUN: copies in another size, format or quality are one, crops and mirror images are not."""
    from fakescan.audit.pictures import find_pictures
    from fakescan.cli.reports.duplicates import duplicates_report, print_duplicates
    from fakescan.terminal.parts_display import PartsDisplay

    folder = run_folder(run, flags)
    info = folder.open()
    with PartsDisplay("reading", info.sharding.count, show=not reporter.quiet) as display:
        found = find_pictures(folder, output, limit=limit, on_parts=display.add)
    with reporter.for_people():
        print_duplicates(found, info, output)
    reporter.finish(duplicates_report(folder, found, output, limit))
