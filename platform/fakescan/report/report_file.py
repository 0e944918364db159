"""report.json: every number of a report, and where its pieces are. The page reads it first; it is written last."""

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from fakescan.run.stability.counts import StripSummary
from fakescan.settings.strict_model import StrictModel
from fakevlm.reading import Meaning

NAME = "report.json"


class DataFile(StrictModel):
    """A Parquet file."""

    name: str
    first: int
    """Place of its first row among those of all files of its kind."""
    rows: int
    bytes: int
    footer_bytes: int
    """From its end, all that describes it: what a reader fetches first."""


class DataFiles(StrictModel):
    """Parquet files whose rows follow each other."""

    count: int
    """Rows in all."""
    row_group_rows: int
    files: list[DataFile]


class ThumbFiles(DataFiles):
    """The files of thumbnails."""

    size: int
    """Pixels of the longer side."""
    missing: int
    """Thumbnails that could not be made: the image is gone, changed or damaged."""


class FolderFile(StrictModel):
    """The folders."""

    name: str
    bytes: int
    footer_bytes: int
    count: int
    """Folders that are listed."""
    merged: int
    """Folders that are not, and whose rows are those of the folders that they are in."""
    base: str
    """The folder that all images are below; empty where they have none in common."""
    base_rate: float
    """The share of fakes that small folders' shares are drawn towards."""
    worst: list[dict[str, Any]]
    """Some folders, as the file has them, the largest lower end of the share first."""


class Unreadable(StrictModel):
    """A part whose rows are in no number."""

    name: str
    reason: str
    rows: int


class RunFacts(StrictModel):
    """What the report is of."""

    url: str
    run_id: str
    model: str
    source: str
    created_at: datetime
    scanned_from: datetime | None
    scanned_to: datetime | None
    meaning: Meaning | None
    """What the verdicts are worth."""
    warning: str | None
    cautions: list[str]
    """Sentences that must be beside the verdicts."""
    is_finished: bool
    rows: int
    """Rows of the run."""
    done: int
    """Rows whose part exists."""
    unreadable: list[Unreadable]
    is_calibrated: bool
    score_meaning: str
    threshold: float
    uncertain_low: float | None
    uncertain_high: float | None
    names: dict[str, str]
    """What real, fake, uncertain and error are called where people read them."""
    limits: list[str]
    """What the model cannot do, in sentences."""
    notes: list[str]
    left_out: dict[str, int]
    seen: int | None
    keep_columns: list[str]


class Outcomes(StrictModel):
    """Rows by verdict; errors are none."""

    rows: int
    real: int
    fake: int
    uncertain: int


class Totals(Outcomes):
    """All rows."""

    errors: int
    judged: int
    """Rows with a verdict."""
    overruled: int
    """Verdicts that are not the model's own word."""
    noted: int
    """Judged in spite of a damaged file."""


class Band(Outcomes):
    """Rows by score: from `low` to just below `high`, the last band with 1."""

    low: float
    high: float


class Scores(StrictModel):
    """Rows by score."""

    scored: int
    """Rows that have one: the first positions."""
    at_least: list[int]
    """For 0, 0.01, … 1 the rows with at least this score: the positions below that."""
    bands: list[Band]


class ErrorMessage(StrictModel):
    """Rows with one message."""

    message: str | None
    rows: int
    row_id: int
    """Of the first one."""
    uri: str


class ErrorGroup(StrictModel):
    """Rows with one error code."""

    number: int
    """As the facets have it."""
    code: str
    rows: int
    position: int
    """Of the first one: they follow each other."""
    messages: list[ErrorMessage]
    """Most rows first."""
    other_messages: int
    """Rows with another message."""


class WordCount(Outcomes):
    """Rows whose explanation speaks of something."""

    bit: int
    name: str
    label: str


class FlagCount(StrictModel):
    """Rows with a flag."""

    bit: int
    name: str
    label: str
    rows: int


class Estimated(StrictModel):
    """A share and its 95 % interval; `value` is null where only the interval is known."""

    value: float | None
    low: float
    high: float


class CrossRow(Outcomes):
    """Files that say one thing of their origin, by verdict."""

    name: str
    label: str
    errors: int
    """Without a verdict."""


class OriginCount(CrossRow):
    """The same, whoever says it."""

    number: int
    """As the facets have it."""
    trusted: int
    """Files for which a trusted signer stands."""


class MeasuredRate(StrictModel):
    """How often the verdict is wrong, where a trusted signer says what is right."""

    wrong: int
    judged: int
    share: Estimated


class ProvenanceFacts(StrictModel):
    """What the files say of their own origin."""

    read: int
    """Files that were read for it."""
    origins: list[OriginCount]
    """Of all rows."""
    bases: dict[str, int]
    """Files by where they say it, most first."""
    cross: list[CrossRow]
    """Files with a trusted signature, which alone are evidence, by verdict."""
    misses: MeasuredRate | None
    """Files that a trusted signer calls AI-generated, and the model real."""
    false_alarms: MeasuredRate | None
    """Files that a trusted signer's camera has taken, and the model calls fake."""
    notes: list[str] = Field(default_factory=list)


class CopyFacts(StrictModel):
    """Images with the same bytes."""

    contents: int
    """Different contents that are there more than once."""
    rows: int
    differing: int
    """Of these contents, those with more than one verdict."""


class LargePicture(StrictModel):
    """A picture that has many images."""

    picture: int
    """The row of its first image, which names it."""
    rows: int
    """Its images."""
    real: int
    fake: int
    uncertain: int
    position: int
    """Of its image with the highest score."""
    row_id: int
    """Of the same image."""
    uri: str
    """Of the same image."""


class PictureFacts(StrictModel):
    """How many pictures the images with a verdict are: near-duplicates are one."""

    total: int
    images: dict[str, int]
    """Images by verdict."""
    pictures: dict[str, int]
    """Pictures that have an image with this verdict."""
    mixed: int
    """Pictures whose images have different verdicts: they are counted under each."""
    blank: int
    """Images with hardly anything on them, of which only those with the same bytes are one picture."""
    largest: list[LargePicture]
    """Pictures with most images."""


class PrevalenceBand(StrictModel):
    """What labels say of some images."""

    name: str
    rows: int
    drawn: int
    reviewed: int
    fakes: int
    share: Estimated


class PicturePrevalenceFacts(StrictModel):
    """How many of the pictures are fake, by the same labels; a picture is what its first image is."""

    statement: str
    pictures: int
    drawn: int
    """Images of the sample that are the first one of their picture."""
    reviewed: int
    fakes: int
    share: Estimated | None


class PrevalenceFacts(StrictModel):
    """How many of the images are fake, as far as that is known."""

    statement: str
    basis: Literal["labels", "error_rates", "none"]
    share: Estimated | None = None
    above_zero: bool | None = None
    reviewed: int = 0
    bands: list[PrevalenceBand] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list)
    by_picture: PicturePrevalenceFacts | None = None
    """None without labels, or where pictures are not known."""


class SampleFile(StrictModel):
    """A sample for review."""

    design: str
    name: str
    drawn: int


class LabelFile(StrictModel):
    """Labels that people gave."""

    name: str
    count: int
    reviewers: int


class RowFacts(StrictModel):
    """What follows from the run's parts alone; counts.json beside the rows."""

    digest: str
    scanned_from: datetime | None
    scanned_to: datetime | None
    done: int
    unreadable: list[Unreadable]
    totals: Totals
    scores: Scores
    rows: DataFiles
    facets: DataFiles
    folders: FolderFile
    errors: list[ErrorGroup]
    words: list[WordCount]
    flags: list[FlagCount]
    formats: dict[str, int]
    num_bytes: int
    copies: CopyFacts
    provenance: ProvenanceFacts | None = None
    strip: StripSummary | None = None
    """Images that were looked at again; None for a run without a stability strip."""
    pictures: PictureFacts | None
    """None where they are not known."""
    no_pictures: str | None
    """Why not, in a sentence."""


class ReportFile(StrictModel):
    """The contents of report.json."""

    format: Literal["fakescan-report-1"] = "fakescan-report-1"
    created_at: datetime
    fakescan_version: str
    view: dict[str, Any] | None = None
    """Set by `fakescan view`."""
    run: RunFacts
    totals: Totals
    prevalence: PrevalenceFacts
    scores: Scores
    data: str
    """Folder of the files below, with a slash."""
    rows: DataFiles
    facets: DataFiles
    thumbs: ThumbFiles
    folders: FolderFile
    errors: list[ErrorGroup]
    words: list[WordCount]
    flags: list[FlagCount]
    formats: dict[str, int]
    num_bytes: int
    copies: CopyFacts
    provenance: ProvenanceFacts | None = None
    """None where no file was read for it."""
    strip: StripSummary | None = None
    """Images that were looked at again; None for a run without a stability strip."""
    pictures: PictureFacts | None
    no_pictures: str | None
    samples: list[SampleFile] = Field(default_factory=list)
    labels: LabelFile | None = None
