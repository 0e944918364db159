"""What commands on a finished run share: its folder, its labels, who works on its parts."""

from typing import TYPE_CHECKING, Any

from fakescan.cli.options.option import option

if TYPE_CHECKING:
    from fakescan.review.labels import Labels
    from fakescan.run.bulk.workers import Workers
    from fakescan.run.folder import RunFolder

labels_option = option(
    "--labels",
    multiple=True,
    metavar="FILE",
    unset="RUN/labels",
    help="File of labels (.jsonl), or folder with such files.",
)
"""`--labels`, of every command that reads some."""


def run_folder(run: str, flags: dict[str, Any]) -> "RunFolder":
    """The folder of a run that is to be read, after one request that finds wrong credentials and addresses."""
    from fakescan.cli.options.flags import store_from_flags
    from fakescan.run.folder import RunFolder
    from fakescan.sources.listing import local_uri
    from fakescan.storage.preflight import check_readable
    from fakescan.storage.url import file_path, scheme_of

    store = store_from_flags("output", flags)
    if scheme_of(run) == "file":
        run = local_uri(file_path(run))
    check_readable(run, store)
    return RunFolder(run, store)


def labels_of(folder: "RunFolder", places: tuple[str, ...]) -> "Labels | None":
    """The labels of these files and folders; without any, those in RUN/labels, None where there are none either."""
    from fakescan.review.labels import read_labels
    from fakescan.storage.objects import list_names

    if not places:
        if not any(name.endswith(".jsonl") for name, _ in list_names(folder.fs, f"{folder.path}/labels")):
            return None
        places = (f"{folder.url}/labels",)
    return read_labels(places, folder.store)


def needed_labels(folder: "RunFolder", places: tuple[str, ...]) -> "Labels":
    """The labels, as `labels_of`. Raises UserError where there are none."""
    from fakescan.storage.url import redact
    from fakevlm.errors import UserError

    labels = labels_of(folder, places)
    if labels is None:
        raise UserError(f"labels: {redact(folder.url)}/labels holds no .jsonl file; name one with --labels")
    return labels


def workers(ray_address: str | None) -> "Workers":
    """Who works on the parts: the cluster that was named, or else as many processes as it is worth."""
    from fakescan.run.bulk.workers import Workers

    return Workers(ray_address, fewest=None if ray_address is None else 1)
