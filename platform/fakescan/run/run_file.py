"""run.json: written once, when the manifest is complete."""

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field

import fakevlm
from fakescan.engine.start.number_types import NumberTypes
from fakescan.run.identity import Identity
from fakescan.run.parts import Sharding
from fakescan.run.schema import SCHEMA_VERSION, result_schema
from fakescan.run.stability.strip import Strip
from fakescan.settings.strict_model import StrictModel
from fakescan.storage.bound_settings import changes, refuse_changes
from fakescan.storage.url import canonical, redact
from fakevlm.builtin import BUILT_IN_NAME
from fakevlm.reading import Meaning


class JudgedBy(StrictModel):
    """Which programs judged rows of a run, and on what."""

    since: datetime
    versions: dict[str, str]
    """By the name of the package."""
    devices: tuple[str, ...] = ()
    """Names of GPUs or processors."""


class TrustListFacts(StrictModel):
    """Where the trust list of a run came from. The list itself is beside run.json."""

    source: str
    """Address or path, without secrets."""
    dated: str
    """When it was fetched or written, as YYYY-MM-DD."""
    sha256: str


class RunFile(StrictModel):
    """The contents of run.json."""

    schema_version: Literal["1", "2", "3", "4", "5"] = SCHEMA_VERSION
    run_id: str
    created_at: datetime
    fakescan_version: str
    model: str
    """Name of the model in the result rows."""
    warning: str | None
    """Set when the verdicts mean nothing: an untrained model or the simulated engine."""
    meaning: Meaning | None = None
    """What the verdicts are worth; None in a run from before it was written down."""
    identity: Identity
    manifest: str = "manifest"
    """Folder of the manifest, within the run's: another one once a sample has been continued into the whole."""
    manifest_fingerprint: str
    rows: int
    """Rows of the run's manifest."""
    population: int
    """Images of the source; more than `rows` where only some are scanned."""
    shard_rows: int
    """Rows per part; never changes for a run."""
    seen: int | None = None
    """Objects, members and rows that the source was seen to hold, when it was listed."""
    left_out: dict[str, int] = Field(default_factory=dict)
    """What of them became no row, by reason; places and extensions are in the manifest's file."""
    notes: tuple[str, ...] = ()
    """Choices made in reading the source that people must hear of."""
    listed_at: datetime | None = None
    """When the source was listed: again, to continue a sample into the whole, or before, by an inventory. Else it was
    when the run was created."""
    numbers: NumberTypes | None = None
    """What the engines compute in; None for a simulated one, and in a run from before it was written down."""
    trust_list: TrustListFacts | None = None
    """What the signers of Content Credentials are checked against; None where they are not checked."""
    rejudged_from: str | None = None
    """Id of the run whose logits this one's verdicts are made of."""
    judged_by: tuple[JudgedBy, ...] = ()
    """Whatever judged rows, the first first. Scores may differ in their last digits between two of them."""

    @property
    def sharding(self) -> Sharding:
        """How the run's rows are cut into parts."""
        return Sharding(self.rows, self.shard_rows)

    @property
    def known_meaning(self) -> Meaning | None:
        """What the verdicts are worth, as far as a run from before it was written down says it."""
        if self.meaning is not None:
            return self.meaning
        if not self.identity.trained or self.identity.engine == "fake":
            return Meaning.NONE
        return Meaning.FORGERIES if self.model == BUILT_IN_NAME else None

    @property
    def has_own_words(self) -> bool:
        """Whether every explanation is the model's own: earlier versions had some open with the verdict's word."""
        return self.schema_version not in ("1", "2")

    @property
    def has_provenance_columns(self) -> bool:
        """Whether the rows have columns for what the files say of their origin."""
        return "provenance" in result_schema(self.schema_version).names

    @property
    def reads_provenance(self) -> bool:
        """Whether the files are asked where they come from."""
        return self.has_provenance_columns and bool(self.identity.provenance)

    @property
    def result_schema(self) -> pa.Schema:
        """The columns of the run's parts."""
        return result_schema(self.schema_version, self.identity.selection.keep_columns, strip=self.strip.is_on)

    @property
    def strip(self) -> Strip:
        """The run's stability strip."""
        return self.identity.strip


def new_run(
    identity: Identity,
    model: str,
    warning: str | None,
    *,
    fingerprint: str,
    rows: int,
    population: int,
    shard_rows: int,
    seen: int | None = None,
    left_out: dict[str, int] | None = None,
    notes: Sequence[str] = (),
    numbers: NumberTypes | None = None,
    listed_at: datetime | None = None,
    meaning: Meaning | None = None,
    trust_list: TrustListFacts | None = None,
) -> RunFile:
    """A new run's file."""
    return RunFile(
        run_id=uuid.uuid4().hex,
        created_at=datetime.now(UTC),
        fakescan_version=fakevlm.__version__,
        model=model,
        warning=warning,
        meaning=meaning,
        identity=identity,
        manifest_fingerprint=fingerprint,
        rows=rows,
        population=population,
        shard_rows=shard_rows,
        seen=seen,
        left_out=left_out or {},
        notes=tuple(notes),
        numbers=numbers,
        listed_at=listed_at,
        trust_list=trust_list,
    )


def refuse_change(url: str, run: RunFile, wanted: Identity, shard_rows: int | None) -> None:
    """Raise UserError unless the run was made with exactly the wanted settings."""
    refuse_changes("output", url, differences(run, wanted, shard_rows), "--output")


def differences(run: RunFile, wanted: Identity, shard_rows: int | None) -> list[str]:
    """Each setting that the run was made with and that is now wanted otherwise, as `name was X, now Y`."""
    before = {**_settings(run.identity), "shard_rows": run.shard_rows}
    now = {**_settings(run.identity.as_resumed(wanted)), "shard_rows": shard_rows or run.shard_rows}
    # Earlier versions wrote places as they were typed.
    for name in ("source", "new_since"):
        if isinstance(before[name], str):
            before[name] = redact(canonical(before[name]))
    return changes(before, now)


def _settings(identity: Identity) -> dict[str, Any]:
    """The identity by the names that a user has for its settings, which know no `ask.` and no `selection.`."""
    settings = identity.model_dump(mode="json")
    return {**settings.pop("ask"), **settings.pop("selection"), **settings}
