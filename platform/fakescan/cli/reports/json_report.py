"""The objects that --json prints; docs/command-line.md has their fields."""

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from fakescan.cli.reports.reporter import JsonReport
from fakescan.storage.url import redact

if TYPE_CHECKING:
    from fakescan.run.counts import Counts
    from fakescan.run.folder import RunFolder
    from fakescan.run.verify import Verification
    from fakescan.scan.execution import ScanOutcome
    from fakescan.sources.manifest import ManifestInfo


@dataclass(kw_only=True)
class RowCounts:
    """Rows by what became of them."""

    rows: int
    real: int
    fake: int
    uncertain: int
    errors: int

    @classmethod
    def of(cls, counts: "Counts") -> "RowCounts":
        """The same numbers, the errors of all codes together."""
        return cls(
            rows=counts.rows, real=counts.real, fake=counts.fake, uncertain=counts.uncertain, errors=counts.failed
        )


@dataclass(kw_only=True)
class StripReport:
    """Images that were looked at again, in a scan or in a run."""

    looked: int
    """Rows that were looked at again."""
    unstable: int
    """Of these, rows whose verdict does not hold."""
    incomplete: int
    """Of these, rows with a variant that could not be judged."""
    variants: int
    """Variants that the engine judged, one prefill each."""
    failed: int
    """Variants that could not be judged."""


@dataclass(kw_only=True)
class ScanReport(JsonReport):
    """What `scan --json` prints."""

    run: str
    """The run's folder or URL prefix."""
    run_id: str
    """Identifies the run, as in its rows."""
    parts: str
    """Pattern of the result files."""
    model: str
    """Name of the model, as in the rows."""
    warning: str | None
    """Why the verdicts mean nothing, or less than one would think; null for neither."""
    meaning: str | None
    """What the verdicts are worth: full, forgeries, none; null for a run from before it was written down."""
    rows: int
    """Rows of the run."""
    population: int
    """Images of the source; more than `rows` with --limit and --sample."""
    counts: RowCounts
    """Rows of the whole run, or of the slice."""
    provenance: dict[str, int]
    """The same rows by what their files say of their origin, such as none or ai_generated/c2pa_trusted."""
    errors_by_code: dict[str, int]
    """Rows of the whole run, or of the slice, by error code."""
    examples: dict[str, str]
    """For each error code of this scan one image and message."""
    scanned: RowCounts
    """Rows that this scan did; what earlier ones did is not among them."""
    error_rate: float
    """Share of the run's rows that are errors."""
    left_out: dict[str, int]
    """What of the source became no row, by reason."""
    notes: list[str]
    """Choices that were made in reading the source."""
    startup_seconds: float
    """To the first part; 0 where there was nothing to do."""
    images_per_second: float | None
    """After the first part; null where there was one only."""
    strip: StripReport | None
    """What this scan did for a stability strip; null for a run without one."""
    slice: str | None
    """The slice of the run that this scan did, such as 3/8; null for the whole run."""
    missing_parts: int
    """Parts of other slices that the run does not have yet; 0 for the whole run."""


def scan_report(outcome: "ScanOutcome") -> ScanReport:
    """The object for a scan."""
    run = outcome.run
    return ScanReport(
        run=redact(outcome.url),
        run_id=run.run_id,
        parts=f"{redact(outcome.url)}/parts/*.parquet",
        model=run.model,
        warning=run.warning,
        meaning=run.known_meaning,
        rows=run.rows,
        population=run.population,
        counts=RowCounts.of(outcome.whole),
        provenance=dict(outcome.whole.provenance),
        errors_by_code=dict(outcome.whole.most_common()),
        examples=dict(outcome.examples),
        scanned=RowCounts.of(outcome.scanned),
        error_rate=outcome.error_rate,
        left_out=dict(run.left_out),
        notes=list(run.notes),
        startup_seconds=outcome.startup_s,
        images_per_second=outcome.steady_rate,
        strip=StripReport(**asdict(outcome.strip)) if run.strip.is_on else None,
        slice=None if outcome.slice is None else str(outcome.slice),
        missing_parts=outcome.missing_elsewhere,
    )


@dataclass(kw_only=True)
class VerifyReport(JsonReport):
    """What `verify --json` prints."""

    run: str
    """The run's folder or URL prefix."""
    run_id: str
    """Identifies the run, as in its rows."""
    rows: int
    """Rows that the run should have."""
    counts: RowCounts
    """Rows of the parts that are sound."""
    errors_by_code: dict[str, int]
    """Of these, the rows by error code."""
    left_out: dict[str, int]
    """What of the source became no row, by reason."""
    problems: list[str]
    """Every problem in a line; empty where each row is there exactly once."""
    continued_parts: int
    """Parts that an interrupted call had read, and this one has not."""


def verify_report(folder: "RunFolder", found: "Verification") -> VerifyReport:
    """The object for a check of a run."""
    run = folder.open()
    return VerifyReport(
        run=redact(folder.url),
        run_id=run.run_id,
        rows=run.rows,
        counts=RowCounts.of(found.counts),
        errors_by_code=dict(found.counts.most_common()),
        left_out=dict(run.left_out),
        problems=found.problems,
        continued_parts=found.continued,
    )


@dataclass(kw_only=True)
class IndexReport(JsonReport):
    """What `index --json` prints."""

    source: str
    """What was listed, without secrets."""
    manifest: str
    """The manifest's folder or URL prefix."""
    rows: int
    """Images in the manifest."""
    known_bytes: int
    """Sum of the sizes that are known."""
    seen: int | None
    """Objects, members and rows that the source was seen to hold."""
    left_out: dict[str, int]
    """What became no row, by reason."""
    left_out_extensions: dict[str, int]
    """Objects with other extensions, by extension."""
    notes: list[str]
    """Choices that were made in reading the source."""


def index_report(info: "ManifestInfo", manifest: str) -> IndexReport:
    """The object for a manifest."""
    return IndexReport(
        source=info.source,
        manifest=redact(manifest),
        rows=info.rows,
        known_bytes=info.known_bytes,
        seen=info.seen,
        left_out=info.everything_left_out(),
        left_out_extensions=dict(info.skipped_by_extension),
        notes=list(info.notes),
    )


@dataclass(kw_only=True)
class DryRunReport(JsonReport):
    """What `scan --dry-run --json` prints."""

    dry_run: bool = True
    """Nothing was scanned, and nothing written."""
    source: str
    """What would be scanned, without secrets."""
    images: int
    """Images of the run; of a run that exists, those it was started with."""
    population: int
    """Images of the source; more than `images` with --limit and --sample."""
    known_bytes: int
    """Sum of the sizes that are known."""
    unknown_sizes: int | None
    """Images whose size is not known; null for a run that exists."""
    left_out: dict[str, int]
    """What of the source becomes no row, by reason."""
    notes: list[str]
    """Choices that were made in reading the source."""
    run: str
    """The output."""
    resumes: bool
    """Whether the output holds a run that this scan would resume."""
    run_id: str | None
    """That run's; null for a new one."""
    rows_left: int
    """Rows that would be scanned."""
    strip_prefills: int | None
    """Prefills for the stability strip, about; null where that depends on how many images will be flagged."""
    shard_rows: int
    """Images per part."""
    parts: int
    """Parts of the run."""
    model: str
    """Name of the model."""
    model_is_here: bool
    """Whether the checkpoint is on this machine; else a scan downloads it first."""
    warning: str | None
    """Why the verdicts would mean nothing, or less than one would think; null for neither."""
    lease: str | None
    """Who seems to be writing the run at this moment."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Every setting as it would be used, without secrets."""
    credentials: dict[str, str] = field(default_factory=dict)
    """For source, output and model in words whose credentials are used."""
