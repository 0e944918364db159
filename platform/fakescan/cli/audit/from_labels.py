"""`fakescan data from-labels`: labelled images of a run as a dataset."""

from typing import Any

import click

from fakescan.cli.audit.places import labels_option, needed_labels, run_folder
from fakescan.cli.options.command import Command
from fakescan.cli.options.option import option
from fakescan.cli.options.store_flags import with_store
from fakescan.cli.options.value_type import Text


@click.command("from-labels", cls=Command)
@click.argument("run", type=Text(path="dir"))
@labels_option
@option("-o", "--output", "dataset", required=True, metavar="FOLDER", help="Dataset folder, in the store of the run.")
@option("--split", default="train", metavar="NAME", help="The records go to data_json/NAME.json.")
@option("--category", default="object", metavar="NAME", help="What the images show; one of FakeClue's categories.")
@with_store("input", "the images")
@with_store("output", "the run and the dataset")
def from_labels(run: str, labels: tuple[str, ...], dataset: str, split: str, category: str, **flags: Any) -> None:
    """Make a dataset in FakeClue's format of the images of RUN that people have called real or fake.

    Images are fetched again and must still be those that were labelled. The answers say the label and give no reason.
    """
    import re

    from fakescan.audit.labelled_data import write_labelled_data
    from fakescan.cli.options.flags import store_from_flags
    from fakescan.storage.url import redact
    from fakescan.terminal.console import printable_line
    from fakescan.terminal.parts_display import PartsDisplay
    from fakevlm.data.record import CATEGORIES
    from fakevlm.errors import UserError

    if category not in CATEGORIES:
        raise UserError(f"category: {category!r} is none of {', '.join(CATEGORIES)}")
    if not re.fullmatch(r"[\w-]+", split):
        raise UserError(f"split: {split!r} is no name of letters, digits, _ and -")
    folder = run_folder(run, flags)
    found_labels = needed_labels(folder, labels)
    with PartsDisplay("reading", folder.open().sharding.count) as display:
        found = write_labelled_data(
            folder,
            found_labels,
            dataset,
            category=category,
            split=split,
            input_store=store_from_flags("input", flags),
            output_store=folder.store,
            on_parts=display.add,
        )
    total = sum(found.records.values())
    print(f"{total:,} records: real {found.records['real']:,}, fake {found.records['fake']:,}")
    for words, count in {
        "images are unsure and got no record": found.unsure,
        "labelled images are not in this run": found.elsewhere,
        "images could not be had as they were labelled": len(found.failed),
    }.items():
        if count:
            print(f"{count:,} {words}")
    for uri, reason in list(found.failed.items())[:5]:
        print(f"  {printable_line(f'{redact(uri)}: {reason}')}")
    print(f"dataset: {redact(dataset)}/data_json/{split}.json   (check it: fakescan data validate {redact(dataset)})")
