"""What a scan is told: the one model behind the command line, the YAML file and the job."""

from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from fakescan.engine.config import EngineConfig, VllmConfig
from fakescan.engine.contract import Explain
from fakescan.settings.replicas import Replicas, parse_replicas
from fakescan.storage.store import Store
from fakevlm.verdict import Calibration


class ScanConfig(BaseModel):
    """One scan. Everything that changes results is part of the run's identity; see `run.Identity`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str
    """What to scan: a folder, a URL prefix, a manifest, Parquet files with images, or WebDataset tar shards."""
    output: str
    """Folder or URL prefix of the run; it holds run.json, the manifest and the parts."""
    model: str | None = None
    """Local path, hub id or object-storage URL of the checkpoint. Default: the small one that is built in."""
    explain: Explain = "fakes"
    """Which images get an explanation: fakes, all or none."""
    threshold: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Score from which an image counts as fake. Default: the checkpoint's calibration."""
    calibration: str | Calibration | None = None
    """A calibration, or the file or URL that `fakescan calibrate` wrote it to, in place of the checkpoint's own."""
    max_new_tokens: Annotated[int, Field(ge=1, le=4096)] = 256
    """Longest explanation, in tokens."""
    engine: EngineConfig = VllmConfig()
    """The engine and its settings; `kind: fake` simulates one."""
    replicas: Annotated[Replicas, BeforeValidator(parse_replicas)] = Replicas()
    """Engines that judge at once: a number, or a range such as 1-4."""
    gpus_per_replica: Annotated[float, Field(ge=0)] | None = None
    """GPUs for each engine. Default: 1 where the cluster has GPUs, else 0."""
    globs: tuple[str, ...] = ()
    """Only objects whose name below the source matches one of these patterns."""
    extensions: tuple[str, ...] | None = None
    """Only objects with these file name extensions. Default: those of the supported image formats."""
    limit: Annotated[int, Field(ge=1)] | None = None
    """Dry run on the first N images."""
    sample: Annotated[int, Field(ge=1)] | None = None
    """Dry run on N images drawn at random."""
    below: tuple[str, ...] | None = None
    """Folders and URL prefixes that nothing may be read from but these, whatever a list or a manifest names."""
    new_since: str | None = None
    """An earlier run: scan only images that are new or changed since."""
    retry_errors: bool = False
    """Scan the rows again that ended in an error."""
    break_lease: bool = False
    """Take the run over although another scan seems to be writing it."""
    max_error_rate: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Exit with a failure when a larger share of the rows ended in an error."""
    max_bytes: Annotated[int, Field(ge=1)] = 64 * 2**20
    """Objects larger than this many bytes are not fetched (`too_large`)."""
    max_pixels: Annotated[int, Field(ge=1)] = 100_000_000
    """Images with more pixels than this are not decoded (`too_many_pixels`)."""
    shard_rows: Annotated[int, Field(ge=1, le=4096)] | None = None
    """Images per part. Default: 256, fewer for small sources so that the first results come early."""
    fetch_concurrency: Annotated[int, Field(ge=1, le=1024)] = 32
    """Requests in flight to the object store per fetching process."""
    fetch_timeout_s: Annotated[float, Field(gt=0)] = 60.0
    """Seconds that one GET may take."""
    input_store: Store = Store()
    """Credentials and endpoint of the source."""
    output_store: Store = Store()
    """Credentials and endpoint of the output."""
    model_store: Store = Store()
    """Credentials and endpoint of the checkpoint."""

    @model_validator(mode="after")
    def _one_dry_run(self) -> Self:
        if self.limit is not None and self.sample is not None:
            raise ValueError("limit and sample exclude each other; give one of them")
        return self
