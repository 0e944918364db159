"""What the rows of a run say together, as `fakescan summary --json` prints it."""

from datetime import datetime

from fakescan.run.run_file import TrustListFacts
from fakescan.run.stability.counts import StripSummary
from fakescan.run.summary.image_facts import ImageFacts
from fakescan.settings.strict_model import StrictModel
from fakevlm.preprocess import Decoding
from fakevlm.reading import Meaning


class Outcomes(StrictModel):
    """Rows by what became of them."""

    rows: int = 0
    real: int = 0
    fake: int = 0
    uncertain: int = 0
    errors: int = 0


class FolderOutcomes(Outcomes):
    """Rows of one folder."""

    folder: str
    """Below the folder that all images have in common; `.` is that folder itself."""


class Folders(StrictModel):
    """Rows by folder."""

    base: str
    """The folder that all images have in common; empty where there is none."""
    depth: int
    """Folders below it that are told apart."""
    largest: list[FolderOutcomes]
    """Most rows first; at most `MAX_FOLDERS`."""
    others: int
    """Folders that are not listed. Where there are more than 100,000, it may count some twice."""
    other_rows: int
    """Rows in them."""


class ErrorRows(StrictModel):
    """Rows with one error code."""

    code: str
    rows: int
    uri: str
    """Of the first one."""
    message: str | None
    """Of the first one."""


class CopiedContent(Outcomes):
    """Rows whose images have the same bytes."""

    uris: list[str]
    """Of some of the rows."""


class Copies(StrictModel):
    """Images that are in the run more than once, by the SHA-256 of their bytes."""

    contents: int
    """Different contents of which there is a copy."""
    rows: int
    """Rows with one of these contents."""
    largest: list[CopiedContent]
    """Contents with the most copies."""
    differing: int
    """Contents whose copies got different verdicts."""
    different: list[CopiedContent]
    """Some of them."""


class MissingRows(StrictModel):
    """A part whose rows are not in the summary."""

    name: str
    reason: str
    rows: int
    """Rows that it should hold."""


class Overruled(StrictModel):
    """Rows whose verdict is not the likelier of the model's own two words, because calibration or threshold say so."""

    real: int = 0
    """Called real though the model leans to fake."""
    fake: int = 0
    """Called fake though the model leans to real."""


class RunSummary(StrictModel):
    """What the rows of a run say together."""

    run: str
    """Where it is."""
    run_id: str
    created_at: datetime
    source: str
    model: str
    warning: str | None
    """Set when the verdicts mean nothing, or less than one would think."""
    meaning: Meaning | None
    """What the verdicts are worth; null for a run from before it was written down."""
    is_calibrated: bool
    """Whether scores are calibrated; else they are the model's own opinion and no probabilities."""
    has_own_words: bool
    """Whether explanations are the model's own words; false for a run that was begun by a version before schema 3,
    whose explanations open with the verdict's word also where the model's own is the other one."""
    decode: Decoding
    """How the images were decoded: scores of exact and of fast runs differ a little."""
    rows: int
    """Rows of the whole run."""
    done: int
    """Rows whose part exists."""
    is_finished: bool
    outcomes: Outcomes
    """Rows that were counted: those of `done` that are not in `unreadable`."""
    overruled: Overruled
    """Rows whose verdict is not the model's own word."""
    bands: list[int]
    """Rows by score, in ten bands from 0 to 1; a score on a border is in the upper one."""
    threshold: float
    """Score from which an image counts as fake."""
    folders: Folders
    errors: list[ErrorRows]
    """By code, most rows first."""
    provenance: dict[str, int]
    """Rows by what their files say of their origin, such as none or ai_generated/c2pa_trusted."""
    trust_list: TrustListFacts | None
    """What signers were checked against; null where they were not."""
    noted: int
    """Images that were judged although their file lacks something; the rows say what."""
    strip: StripSummary | None
    """Rows that were looked at again; null for a run without a stability strip."""
    copies: Copies
    images: ImageFacts
    scanned_from: datetime | None
    scanned_to: datetime | None
    seen: int | None
    """What the source was seen to hold when it was listed."""
    left_out: dict[str, int]
    """What of that became no row, by reason."""
    notes: list[str]
    """Choices made in reading the source."""
    unreadable: list[MissingRows]
