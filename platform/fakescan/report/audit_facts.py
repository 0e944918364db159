"""What people have found out about a run, for its report: prevalence, labels, samples to review."""

from dataclasses import dataclass, field

from fakescan.report.report_file import LabelFile, PrevalenceFacts, RowFacts, SampleFile
from fakescan.run.folder import RunFolder
from fakescan.run.run_file import RunFile
from fakevlm.reading import Meaning


@dataclass(frozen=True)
class Told:
    """What is said of it in a report."""

    prevalence: PrevalenceFacts
    samples: list[SampleFile] = field(default_factory=list)
    labels: LabelFile | None = None
    files: dict[str, bytes] = field(default_factory=dict)
    """Files of the report by their names."""


@dataclass(frozen=True)
class AuditFacts:
    """Finds out what is known of a run."""

    folder: RunFolder
    run: RunFile
    labels: tuple[str, ...] = ()
    """Label files; none: those of the run."""

    def told(self, rows: RowFacts) -> Told:
        """What is known."""
        return Told(_unknown(self.run, rows))


def _unknown(run: RunFile, rows: RowFacts) -> PrevalenceFacts:
    noun = "forged" if run.known_meaning is Meaning.FORGERIES else "fake"
    totals = rows.totals
    if not totals.judged:
        return PrevalenceFacts(statement="No image has a verdict.", basis="none")
    return PrevalenceFacts(
        statement=(
            f"It is not known how many of {totals.judged:,} images are {noun}: {totals.fake:,} are flagged, and without "
            "labels or error rates that says nothing."
        ),
        basis="none",
        notes=["Label a sample: fakescan review sample RUN -n 500, and then fakescan report RUN again."],
    )
