"""The run folder: run.json says what a run is, and a run is resumed only as what it is."""

import uuid
from datetime import UTC, datetime
from typing import Any, Literal

from fsspec import AbstractFileSystem
from pydantic import BaseModel, ConfigDict, ValidationError

import fakevlm
from fakescan.engine.config import EngineConfig
from fakescan.engine.judging_options import JudgingOptions
from fakescan.run.parts import Sharding
from fakescan.run.schema import SCHEMA_VERSION
from fakescan.scan.config import ScanConfig
from fakescan.scan.explicit_images import ExplicitImages
from fakescan.storage.objects import put_atomic, read_bytes
from fakescan.storage.store import Store
from fakescan.storage.url import redact
from fakevlm.checkpoint.checkpoint import Checkpoint
from fakevlm.errors import UserError
from fakevlm.preprocess import ImageSpec
from fakevlm.prompt import PromptSpec


class Selection(BaseModel):
    """Which images of the source the run covers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str
    """The source, without secrets."""
    globs: tuple[str, ...] = ()
    extensions: tuple[str, ...] | None = None
    limit: int | None = None
    sample: int | None = None
    new_since: str | None = None

    @property
    def is_dry_run(self) -> bool:
        """Whether the run covers only a part of its source."""
        return self.limit is not None or self.sample is not None


class Identity(BaseModel):
    """Everything that the rows of a run depend on. Two scans with the same identity may share one run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    selection: Selection
    engine: Literal["vllm", "fake"]
    dtype: str | None
    weights_sha256: str
    trained: bool
    prompt: PromptSpec
    image: ImageSpec
    ask: JudgingOptions
    max_bytes: int
    max_pixels: int
    conditions: tuple[str, ...] = ("none",)
    """Distortions under which every image is judged, one after the other."""
    listed_sha256: str | None = None
    """Of the URIs, where the scan's caller had listed them."""

    @classmethod
    def of(
        cls, config: ScanConfig, checkpoint: Checkpoint, ask: JudgingOptions, listed: ExplicitImages | None = None
    ) -> "Identity":
        """The identity of the run that a configuration describes."""
        engine: EngineConfig = config.engine
        return cls(
            selection=Selection(
                source=redact(config.source),
                globs=config.globs,
                extensions=config.extensions,
                limit=config.limit,
                sample=config.sample,
                new_since=None if config.new_since is None else redact(config.new_since),
            ),
            engine=engine.kind,
            dtype=engine.dtype,
            weights_sha256=checkpoint.weights_sha256,
            trained=checkpoint.trained,
            prompt=checkpoint.prompt,
            image=checkpoint.image,
            ask=ask,
            max_bytes=config.max_bytes,
            max_pixels=config.max_pixels,
            conditions=listed.conditions if listed else ("none",),
            listed_sha256=listed.sha256 if listed else None,
        )


class RunFile(BaseModel):
    """The contents of run.json; written once, when the manifest stands."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: str = SCHEMA_VERSION
    run_id: str
    created_at: datetime
    fakescan_version: str
    model: str
    """What the result rows call the model."""
    warning: str | None
    """Set when the verdicts mean nothing: an untrained model or the simulated engine."""
    identity: Identity
    manifest_fingerprint: str
    rows: int
    """Rows of the run's manifest."""
    population: int
    """Images of the source; more than `rows` in a dry run."""
    shard_rows: int
    """Rows per part; never changes for a run."""

    @property
    def sharding(self) -> Sharding:
        """How the run's rows are cut into parts."""
        return Sharding(self.rows, self.shard_rows)


class RunFolder:
    """Names and reads the things in a run folder: run.json, manifest/, parts/, lease.json, compact/."""

    def __init__(self, url: str, store: Store) -> None:
        self.url = url.rstrip("/")
        self.store = store
        self.fs: AbstractFileSystem
        self.fs, self.path = store.filesystem(self.url)

    @property
    def parts(self) -> str:
        """Path of the folder of parts."""
        return f"{self.path}/parts"

    def load(self) -> RunFile | None:
        """The run's file, or None where no run has been started."""
        try:
            return RunFile.model_validate_json(read_bytes(self.fs, f"{self.path}/run.json"))
        except FileNotFoundError:
            return None
        except ValidationError:
            raise UserError(
                f"output: {redact(self.url)}/run.json is not a run of this version of fakescan; use another --output"
            ) from None

    def open(self) -> RunFile:
        """The run's file. Raises UserError where there is none."""
        run = self.load()
        if run is None:
            raise UserError(f"run: {redact(self.url)} holds no run (run.json is missing)")
        return run

    def save(self, run: RunFile) -> None:
        """Write run.json."""
        put_atomic(self.fs, f"{self.path}/run.json", run.model_dump_json(indent=2).encode())


def new_run(
    identity: Identity,
    model: str,
    warning: str | None,
    *,
    fingerprint: str,
    rows: int,
    population: int,
    shard_rows: int,
) -> RunFile:
    """A new run's file."""
    return RunFile(
        run_id=uuid.uuid4().hex,
        created_at=datetime.now(UTC),
        fakescan_version=fakevlm.__version__,
        model=model,
        warning=warning,
        identity=identity,
        manifest_fingerprint=fingerprint,
        rows=rows,
        population=population,
        shard_rows=shard_rows,
    )


def refuse_change(url: str, run: RunFile, wanted: Identity, shard_rows: int | None) -> None:
    """Raise UserError unless the run was made with exactly the wanted settings."""
    before, now = run.identity.model_dump(mode="json"), wanted.model_dump(mode="json")
    changed = sorted(_differences(before, now))
    if shard_rows is not None and shard_rows != run.shard_rows:
        changed.append(f"shard_rows was {run.shard_rows}, now {shard_rows}")
    if changed:
        raise UserError(
            f"output: {redact(url)} holds a run with other settings ({'; '.join(changed)}); "
            "use another --output, or the run's own settings"
        )


def _differences(before: Any, now: Any, name: str = "") -> list[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        found = []
        for key in before.keys() | now.keys():
            found += _differences(before.get(key), now.get(key), f"{name}.{key}" if name else key)
        return found
    return [] if before == now else [f"{name} was {_short(before)}, now {_short(now)}"]


def _short(value: Any) -> str:
    text = "not set" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:12]}…"
