"""What `fakescan duplicates` says, for people and as JSON."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fakescan.cli.reports.reporter import JsonReport
from fakescan.storage.url import redact

if TYPE_CHECKING:
    from fakescan.audit.pictures import Pictures
    from fakescan.run.folder import RunFolder
    from fakescan.run.run_file import RunFile


@dataclass(kw_only=True)
class DuplicatesReport(JsonReport):
    """What `duplicates --json` prints."""

    run: str
    """The run's folder or URL prefix."""
    run_id: str
    """Identifies the run, as in its rows."""
    output: str | None
    """The file with the picture of each image; null where none was asked for."""
    limit: int
    """Bits of 256 in which the hashes of a picture's images may differ from its first one's."""
    images: dict[str, int]
    """Images by verdict."""
    pictures: dict[str, int]
    """Pictures with an image of that verdict."""
    total: int
    """Pictures in all."""
    mixed: int
    """Pictures whose images have different verdicts; they are counted under each."""
    blank: int
    """Images without a perceptual hash, of which only those with the same bytes are one picture."""
    errors: int
    """Images without a verdict, which belong to no picture."""
    missing: int
    """Images that were not scanned yet."""
    largest: list[dict[str, int | str]]
    """The pictures with most images: `row_id` and `uri` of the first one, `images`."""


def duplicates_report(folder: "RunFolder", found: "Pictures", output: str | None, limit: int) -> DuplicatesReport:
    """The object for the pictures of a run."""
    return DuplicatesReport(
        run=redact(folder.url),
        run_id=folder.open().run_id,
        output=None if output is None else redact(output),
        limit=limit,
        images=found.images,
        pictures=found.pictures,
        total=found.total,
        mixed=found.mixed,
        blank=found.blank,
        errors=found.errors,
        missing=found.missing,
        largest=[{"row_id": row, "uri": uri, "images": images} for row, uri, images in found.largest],
    )


def print_duplicates(found: "Pictures", run: "RunFile", output: str | None) -> None:
    """Print how many pictures the images are, by what they are called."""
    from fakescan.terminal.console import printable_line
    from fakevlm.reading import NO_FORGERY_FOUND, Meaning, counted_as
    from fakevlm.verdict import Verdict

    print(f"{sum(found.images.values()):,} judged images are {found.total:,} pictures")
    for verdict, images in found.images.items():
        name = counted_as(Verdict(verdict), run.known_meaning)
        print(f"  {name}: {images:,} images are {found.pictures[verdict]:,} pictures")
    if found.mixed:
        print(f"{found.mixed:,} pictures have images with different verdicts and are counted under each")
    if found.blank:
        print(
            f"{found.blank:,} images are too blank to be compared; "
            "of them, only files with the same bytes are one picture"
        )
    if found.errors:
        print(f"{found.errors:,} images without a verdict belong to no picture")
    if found.missing:
        print(f"{found.missing:,} images are not scanned yet")
    for _, uri, images in found.largest:
        print(f"  {images:,} times: {printable_line(uri)}")
    if run.known_meaning is Meaning.FORGERIES and "real" in found.images:
        print(f"note: {NO_FORGERY_FOUND}")
    if run.warning:
        print(f"warning: {run.warning}")
    if output is not None:
        print(f"pictures: {redact(output)}")
