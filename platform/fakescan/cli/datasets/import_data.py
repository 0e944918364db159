"""`fakescan data import`: labelled images in the forms of other trainers as a dataset in FakeClue's."""

from typing import TYPE_CHECKING, Any

import click

from fakescan.cli.options.command import Command
from fakescan.cli.options.option import option
from fakescan.cli.options.store_flags import with_store
from fakescan.cli.options.value_type import Text

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

    from fakevlm.data.importing import ImportedData


@click.command(
    "import",
    cls=Command,
    examples=[
        ("LLaVA's, LlamaFactory's or ms-swift's", "fakescan data import train.jsonl -o dataset --category human"),
        ("Parquet with images inside", "fakescan data import data/ -o dataset --label 0=real --label 1=fake"),
        ("LOKI for training", "fakescan data import true_or_false.json --format loki -o dataset"),
    ],
)
@click.argument("source", metavar="DATA", type=Text(path="file"))
@option("-o", "--output", required=True, metavar="FOLDER", help="Dataset folder, in the store of DATA.")
@option(
    "--split",
    metavar="NAME",
    unset="the name of DATA",
    help="The records go to data_json/NAME.json; of a folder with several sets, NAME is read.",
)
@option(
    "--format",
    "record_format",
    default="auto",
    metavar="auto|fakeclue|loki|dd-vqa",
    help="Whose records; auto tells LLaVA, LlamaFactory, ms-swift and Hugging Face by their fields.",
)
@option("--image-root", metavar="PREFIX", unset="none", help="What image paths begin with, to be taken off them.")
@option("--image-folder", metavar="FOLDER", unset="the folder of DATA", help="Where image paths count from.")
@option(
    "--label",
    "labels",
    multiple=True,
    metavar="NAME=real|fake",
    unset="real, fake, 0_real and 1_fake are known",
    help="What a label, or a folder's name, means.",
)
@option("--category", default="object", metavar="NAME", help="What images show whose records do not say it.")
@with_store("data", "the data and the dataset")
def import_data(
    source: str,
    output: str,
    split: str | None,
    record_format: str,
    image_root: str | None,
    image_folder: str | None,
    labels: tuple[str, ...],
    category: str,
    **flags: Any,
) -> None:
    """Make a dataset in FakeClue's format of DATA, a file of another trainer or a folder of Parquet files.

    Images stay where they are, but for those inside Parquet files. What is added to the records is counted and said. If
    anything is wrong with any of them, all of it is reported and nothing is written; status 1.
    """
    import re

    from fakescan.cli.options.flags import store_from_flags
    from fakescan.cli.reports.data import print_problems
    from fakescan.storage.objects import put_atomic
    from fakescan.storage.preflight import check_readable, check_writable
    from fakescan.storage.url import redact, scheme_of
    from fakevlm.data.checks import check_records, check_warnings, warning_lines
    from fakevlm.data.formats.imported import ImportSettings
    from fakevlm.data.importing import (
        AUTO,
        check_target,
        list_files,
        read_source,
        source_files,
        split_of,
    )
    from fakevlm.data.labels import label_names
    from fakevlm.data.record import CATEGORIES
    from fakevlm.errors import UserError
    from fakevlm.prompt import PromptSpec

    known = label_names(labels)
    if category not in CATEGORIES:
        raise UserError(f"category: {category!r} is none of {', '.join(CATEGORIES)}")
    if scheme_of(output) != scheme_of(source):
        raise UserError(f"output: {output} must be in the store of the data, {source}")
    store = store_from_flags("data", flags)
    check_readable(source, store)
    fs, path = store.filesystem(source)
    name = split or split_of(source_files(fs, path, split)[0] if record_format == AUTO else source.rstrip("/"))
    if not re.fullmatch(r"[\w.-]+", name) or name.startswith("."):
        raise UserError(f"split: {name!r} is no name of letters, digits, _, - and .; give one with --split")
    _, folder = store.filesystem(output)
    place = None if image_folder is None else store.filesystem(image_folder)[1].rstrip("/")
    settings = ImportSettings(known, category, image_root, place)
    data = read_source(fs, path, record_format, settings, target=folder, images_below=f"images/{name}", split=split)
    problems = [*check_records([data.dataset], PromptSpec()), *_missing(data)]
    if problems:
        print_problems(problems, per_kind=10)
        click.echo(f"fakescan: error: {source} has {len(problems):,} problems; nothing was written", err=True)
        raise click.exceptions.Exit(1)
    check_writable(output, store)
    check_target(fs, data, folder, name)
    _write_images(fs, path, folder, data, split)
    for file, contents in list_files(data, folder, name).items():
        put_atomic(fs, file, contents)
    for note, count in sorted(data.notes.items()):
        click.echo(f"{count:,} {note}")
    for line in warning_lines(check_warnings([data.dataset], PromptSpec())):
        click.echo(f"warning: {line}")
    records = data.dataset.records
    fakes = sum(record.is_fake for record in records)
    click.echo(f"{len(records):,} records: real {len(records) - fakes:,}, fake {fakes:,}")
    shown = redact(output.rstrip("/"))
    click.echo(f"dataset: {shown}/data_json/{name}.json   (check it: fakescan data validate {shown})")


def _missing(data: "ImportedData") -> list[Any]:
    from fakevlm.data.images import check_presence

    return [] if data.embedded else check_presence(data.dataset).problems


def _write_images(fs: "AbstractFileSystem", path: str, folder: str, data: "ImportedData", split: str | None) -> None:
    """Write the images inside Parquet files, several at once: a store takes its time for each."""
    from collections import deque
    from concurrent.futures import Future, ThreadPoolExecutor

    from fakescan.storage.objects import put_atomic
    from fakescan.terminal.counting import Counting
    from fakevlm.data.importing import embedded_images

    count = sum(len(rows) for rows in data.embedded.values())
    if not count:
        return
    waiting: deque[Future[None]] = deque()
    with Counting("writing images", count) as counting, ThreadPoolExecutor(16) as threads:
        for name, contents in embedded_images(fs, path, data, split):
            waiting.append(threads.submit(put_atomic, fs, f"{folder}/{name}", contents))
            while len(waiting) > 64:
                waiting.popleft().result()
                counting.one_more()
        for future in waiting:
            future.result()
            counting.one_more()
