"""`fakescan data`: checks, describes and divides labelled images before anything is trained on them."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from fakescan.cli.audit.from_labels import from_labels
from fakescan.cli.datasets.import_data import import_data
from fakescan.cli.forge import forge
from fakescan.cli.options.command import Group
from fakescan.cli.options.option import option
from fakescan.cli.options.store_flags import with_store
from fakescan.cli.options.value_type import Text
from fakevlm.errors import UserError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

    from fakescan.storage.store import Store
    from fakevlm.checkpoint.checkpoint import Checkpoint
    from fakevlm.data.contents import ImageContents
    from fakevlm.data.dataset import Dataset
    from fakevlm.data.problem import DatasetProblem


@click.group(cls=Group)
def data() -> None:
    """Check, describe and divide labelled images in FakeClue's format.

    DATA is a .json, .jsonl or .parquet file of records or a folder with data_json/train.json, here or at an
    object-storage URL.
    """


data.add_command(forge)
data.add_command(from_labels)
data.add_command(import_data)

_DATA = click.argument("location", metavar="DATA", type=Text(path="file"))
_FORMAT = option("--format", "record_format", default="fakeclue", metavar="fakeclue|loki|dd-vqa", help="Whose records.")
_ROOT = option(
    "--image-root", metavar="PREFIX", unset="none", help="What image paths begin with, to be taken off them."
)
_FOLDER = option(
    "--image-folder", metavar="FOLDER", unset="the dataset's", help="Where image paths count from, in the same store."
)
_SPLIT = option("--split", metavar="NAME", unset="all splits", help="Only data_json/NAME.json of the folder.")


@data.command()
@_DATA
@_SPLIT
@_FORMAT
@_ROOT
@_FOLDER
@option("--images", is_flag=True, help="Decode every image too, and find files with the same bytes.")
@option("--processes", type=click.IntRange(min=1), metavar="N", unset="one per core", help="Processes that decode.")
@option(
    "--model",
    metavar="MODEL",
    unset="FakeVLM's prompt, no lengths",
    help="Checkpoint to be trained.",
)
@option(
    "--max-length",
    type=click.IntRange(min=16),
    default=1024,
    metavar="N",
    help="With --model: longest sample, tokens.",
)
@option("--all", "show_all", is_flag=True, help="Show every problem, not the first 10 of each kind.")
@option("--json", "json_file", metavar="FILE", unset="none", help="Write every problem there.")
@with_store("data", "the dataset")
@with_store("model", "the checkpoint")
def validate(
    location: str,
    split: str | None,
    record_format: str,
    image_root: str | None,
    image_folder: str | None,
    images: bool,
    processes: int | None,
    model: str | None,
    max_length: int,
    show_all: bool,
    json_file: str | None,
    **flags: Any,
) -> None:
    """Check every record of DATA and report all problems at once; status 1 if there are any.

    What this calls ok for a --model, training takes: it makes the same checks. What training leaves out or does
    otherwise is a warning. Without --split all splits of a folder are checked, also against each other.
    """
    from fakescan.cli.reports.data import print_problems, write_problems
    from fakescan.storage.url import file_path
    from fakevlm.data.checks import check_records, check_warnings
    from fakevlm.data.collate import Collator
    from fakevlm.data.contents import ImageContents
    from fakevlm.prompt import PromptSpec

    form = _Form(record_format, image_root, image_folder)
    splits = _splits(location, split, form, flags, strict=False)
    checkpoint = None if model is None else _checkpoint(model, flags)
    prompt = PromptSpec() if checkpoint is None else checkpoint.prompt
    found = [*check_records(splits, prompt), *check_warnings(splits, prompt)]
    if checkpoint is not None:
        collator = Collator(checkpoint.path, checkpoint.prompt, checkpoint.image_tokens)
        found += [problem for dataset in splits for problem in collator.problems(dataset, max_length)]
    contents = ImageContents()
    for dataset in splits:
        found += _image_problems(dataset, contents, decode=images, processes=processes)
    problems = [problem for problem in found if not problem.kind.is_warning]
    records = sum(len(dataset.records) for dataset in splits)
    if json_file is not None:
        write_problems(Path(file_path(json_file)), location, records, found)
    print_problems(found, per_kind=None if show_all else 10)
    if problems:
        click.echo(f"fakescan: error: {location} has {len(problems):,} problems", err=True)
        raise click.exceptions.Exit(1)
    names = ", ".join(dataset.name for dataset in splits)
    warned = f", {len(found):,} warnings" if found else ""
    click.echo(
        f"ok: {records:,} records in {names}, {'every image decodes' if images else 'every image is there'}{warned}"
    )
    if not form.is_trainable:
        click.echo("to train on it, make it FakeClue's first: fakescan data import")


@data.command()
@_DATA
@_SPLIT
@_FORMAT
@_ROOT
@_FOLDER
@with_store("data", "the dataset")
def stats(
    location: str,
    split: str | None,
    record_format: str,
    image_root: str | None,
    image_folder: str | None,
    **flags: Any,
) -> None:
    """Show what is in DATA: categories, labels, image sizes, answers."""
    from fakescan.cli.reports.data import print_stats
    from fakevlm.data.stats import dataset_stats

    form = _Form(record_format, image_root, image_folder)
    for dataset in _splits(location, split, form, flags, strict=True):
        print_stats(dataset.name, dataset_stats(dataset.records))


@data.command("split")
@_DATA
@option("--split", metavar="NAME", unset="the only one", help="Divide data_json/NAME.json of the folder.")
@_FORMAT
@option("--shares", required=True, metavar="NAME=SHARE,…", help="Such as train=0.8,val=0.1,test=0.1.")
@option("--seed", type=int, default=0, metavar="N", help="Another seed, other splits.")
@option("-o", "--output", required=True, metavar="FOLDER", help="Dataset folder for the splits.")
@with_store("data", "the dataset and of the output")
def split_command(
    location: str, split: str | None, record_format: str, shares: str, seed: int, output: str, **flags: Any
) -> None:
    """Divide DATA into FOLDER/data_json/NAME.json so that no photograph or video is in two of them.

    Images stay where they are; FOLDER must be in the same store as DATA.
    """
    from fakescan.cli.reports.data import print_splits
    from fakescan.storage.objects import put_atomic
    from fakescan.storage.preflight import check_writable
    from fakescan.storage.url import scheme_of
    from fakevlm.data.dataset import open_dataset
    from fakevlm.data.split import parse_shares, split_files, split_records

    wanted = parse_shares(shares)
    if scheme_of(output) != scheme_of(location):
        raise UserError(f"output: {output} must be in the store of the data, {location}, whose images it refers to")
    fs, path = _place(location, flags)
    _, folder = _store(flags).filesystem(output)
    dataset = open_dataset(path, fs, split=split, record_format=record_format)
    splits = split_records(dataset.records, wanted, seed=seed)
    files = split_files(dataset, splits, fs, folder)
    check_writable(output, _store(flags))
    for name, contents in files.items():
        put_atomic(fs, name, contents)
    print_splits(output, dataset.records, splits)


class _Form(NamedTuple):
    """How the records of the data are to be read."""

    record_format: str
    image_root: str | None
    image_folder: str | None

    @property
    def is_trainable(self) -> bool:
        """Whether training reads the same records as they are."""
        return self == ("fakeclue", None, None)


def _splits(location: str, split: str | None, form: _Form, flags: dict[str, Any], *, strict: bool) -> "list[Dataset]":
    """The dataset of a file or of one split; those of all splits for a folder without `split`."""
    from fakevlm.data.dataset import RECORD_FORMATS, open_dataset, split_names

    if form.record_format not in RECORD_FORMATS:
        raise UserError(f"format: {form.record_format!r} is not one of {', '.join(RECORD_FORMATS)}")
    fs, path = _place(location, flags)
    names: list[str | None] = [split]
    if split is None:
        names = [*split_names(path, fs)] or [None]
    folder = None if form.image_folder is None else _store(flags).filesystem(form.image_folder)[1]
    return [
        open_dataset(
            path, fs, split=name, record_format=form.record_format, strict=strict,
            image_root=form.image_root, image_folder=folder,
        )
        for name in names
    ]  # fmt: skip


def _checkpoint(model: str, flags: dict[str, Any]) -> "Checkpoint":
    from fakescan.cli.options.flags import store_from_flags
    from fakescan.engine.model import open_model

    return open_model(model, store_from_flags("model", flags), show_progress=True)


def _place(location: str, flags: dict[str, Any]) -> "tuple[AbstractFileSystem, str]":
    """The file system and path of the data, after one request that finds wrong credentials and addresses."""
    from fakescan.storage.preflight import check_readable

    store = _store(flags)
    check_readable(location, store)
    return store.filesystem(location)


def _store(flags: dict[str, Any]) -> "Store":
    from fakescan.cli.options.flags import store_from_flags

    return store_from_flags("data", flags)


def _image_problems(
    dataset: "Dataset", contents: "ImageContents", *, decode: bool, processes: int | None
) -> "list[DatasetProblem]":
    """Images that are missing, empty or, with `decode`, damaged or the same as others."""
    import os

    from fakescan.scan.config import ScanConfig
    from fakescan.terminal.counting import Counting
    from fakevlm.data.images import check_decoding, check_presence

    absent = check_presence(dataset)
    if not decode:
        return absent.problems
    with Counting(f"{dataset.name}: decoding", len(dataset.records)) as counting:
        damaged = list(
            check_decoding(
                dataset,
                absent.paths,
                max_pixels=ScanConfig.model_fields["max_pixels"].default,
                processes=processes or len(os.sched_getaffinity(0)),
                done=counting.one_more,
                contents=contents,
            )
        )
    return [*absent.problems, *damaged]
