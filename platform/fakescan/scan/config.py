"""Settings of a scan: the one model behind the command line, the YAML file and the job."""

from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from fakescan.engine.judging_options import Explain
from fakescan.engine.judging_settings import JudgingSettings
from fakescan.isolation.child import TIMEOUT_S, WorkLimits
from fakescan.run.stability.strip import Stability, Unstable
from fakescan.settings.flag import Flag, FlagGroup
from fakescan.settings.run_slice import RunSlice, parse_slice
from fakescan.storage.prefixes import Boundary
from fakescan.storage.store import Store
from fakevlm.preprocess import Decoding

FEW_ERRORS = 5
"""Failed rows that the default of `max_error_rate` lets pass in a run of any size."""


def _several(value: Any) -> Any:
    """One run or several."""
    return (value,) if isinstance(value, str) else value


class ScanConfig(JudgingSettings):
    """One scan. Everything that changes results is part of the run's identity; see `fakescan.run.identity`."""

    source: str
    """What to scan: a folder, a URL prefix, a list, a manifest, an S3 Inventory, Parquet with images, or tar shards."""
    output: Annotated[str, Flag("URL", "-o/--output", group=FlagGroup.OUTPUT)]
    """Folder or URL prefix of the run, which holds run.json, the manifest and the parts; resumed if it holds a run."""
    explain: Annotated[Explain, Flag("fakes|all|none", group=FlagGroup.VERDICTS)] = "fakes"
    """Which images get an explanation: fakes, all or none."""
    stability: Annotated[Stability, Flag("none|flagged|sample|all", group=FlagGroup.VERDICTS)] = "none"
    """Which images are also judged changed in five ways (none, flagged, sample, all), to see if their verdicts hold."""
    stability_share: Annotated[float | None, Field(gt=0, le=1), Flag("SHARE", group=FlagGroup.VERDICTS)] = None
    """Share of the images that `stability` sample takes, always the same ones. Default: 0.02."""
    unstable: Annotated[Unstable, Flag("keep|uncertain", group=FlagGroup.VERDICTS)] = "keep"
    """What becomes of a verdict that does not hold: it is kept, or becomes uncertain."""
    decode: Annotated[Decoding, Flag("exact|fast", group=FlagGroup.VERDICTS)] = "exact"
    """How JPEG files are decoded: exact, or fast at a reduced size, which changes scores a little (performance.md)."""
    globs: Annotated[tuple[str, ...], Flag("PATTERN", "--glob", multiple=True, group=FlagGroup.IMAGES)] = ()
    """Only objects whose name below the source matches one of these patterns. Default: all names."""
    exclude: Annotated[tuple[str, ...], Flag("PATTERN", multiple=True, group=FlagGroup.IMAGES)] = ()
    """Leave out objects whose name below the source matches one of these patterns. Default: none."""
    extensions: Annotated[tuple[str, ...] | None, Flag("EXT,…", group=FlagGroup.IMAGES)] = None
    """Only these file name extensions, such as jpg,png; any: every object. Default: images, by name or content."""
    column: Annotated[str | None, Flag("NAME", group=FlagGroup.SOURCE)] = None
    """Column of a list or Parquet file that holds the addresses or images. Default: the likeliest by its name."""
    size_column: Annotated[str | None, Flag("NAME", group=FlagGroup.SOURCE)] = None
    """Column with sizes in bytes. Default: none; sizes in a list are not believed, for they often mean other things."""
    keep_columns: Annotated[tuple[str, ...] | None, Flag("NAME,…", group=FlagGroup.SOURCE)] = None
    """Columns of a list, a Parquet file or a manifest that go into the results, to join them by. Default: none."""
    skip_damaged: Annotated[bool, Flag(group=FlagGroup.FAULTS)] = False
    """Go on after damage inside a tar, list or Parquet file, and count what is left out."""
    limit: Annotated[int | None, Field(ge=1), Flag("N", group=FlagGroup.IMAGES)] = None
    """Scan only the first N images, and estimate the time for all; without it a scan goes on. Default: all images."""
    sample: Annotated[int | None, Field(ge=1), Flag("N", group=FlagGroup.IMAGES)] = None
    """Scan only N random images, and estimate the time for all; without it a scan goes on. Default: all images."""
    allowed_prefixes: tuple[str, ...] | None = None
    """Folders and URL prefixes that nothing may be read from but these, whatever a list or a manifest names."""
    private_hosts: tuple[str, ...] = ()
    """Hosts below allowed_prefixes whose names may lead to private addresses; others may not."""
    new_since: Annotated[
        tuple[str, ...] | None, BeforeValidator(_several), Flag("RUN", multiple=True, group=FlagGroup.IMAGES)
    ] = None
    """An earlier run: scan only what it, and the runs that it followed, have not scanned. Default: none; all images."""
    provenance: Annotated[
        bool, Flag(group=FlagGroup.OUTPUT, help="Do not read what the files say of their own origin.")
    ] = True
    """Read what each file says of its own origin (docs/provenance.md); it changes no score and no verdict."""
    trust_list: Annotated[str | None, Flag("PATH", group=FlagGroup.OUTPUT)] = None
    """PEM file, or folder of them, of trusted signers. Default: what `fakescan provenance update-trust` has fetched."""
    dedupe: Annotated[bool, Flag(group=FlagGroup.ENGINES)] = False
    """Judge images whose files have the same bytes once; each keeps its own row."""
    retry_errors: Annotated[bool, Flag(group=FlagGroup.FAULTS)] = False
    """Scan the rows again that ended in an error, and look again at images of which a variant could not be judged."""
    break_lease: Annotated[bool, Flag(group=FlagGroup.FAULTS)] = False
    """Take the run over although another scan seems to be writing it."""
    max_error_rate: Annotated[float, Field(ge=0, le=1), Flag("SHARE", group=FlagGroup.FAULTS)] = 0.05
    """Exit with a failure when a larger share of the rows ended in an error; unless given, from the sixth error on, or
    when every row is one."""
    max_fetch_error_rate: Annotated[float, Field(ge=0, le=1), Flag("SHARE", group=FlagGroup.FAULTS)] = 0.2
    """Stop when more than this share of 10,000 rows in a row could not be fetched; 1 never stops."""
    store_patience_s: Annotated[float, Field(ge=0)] = 1800.0
    """Seconds for which a store that answers nothing is waited for; then the scan stops, to be resumed."""
    max_bytes: Annotated[int, Field(ge=1)] = 64 * 2**20
    """Objects larger than this many bytes are not fetched (`too_large`)."""
    max_pixels: Annotated[int, Field(ge=1)] = 100_000_000
    """Images with more pixels than this are not decoded (`too_many_pixels`)."""
    slice: Annotated[RunSlice | None, BeforeValidator(parse_slice), Flag("I/N", group=FlagGroup.OUTPUT)] = None
    """Do the I-th of N slices of the run, such as 3/8, while other scans do the others. Default: the whole run."""
    shard_rows: Annotated[int | None, Field(ge=1, le=4096), Flag("N", group=FlagGroup.OUTPUT)] = None
    """Images per part. Default: 256, fewer for small sources and large images, more from 257 million images on."""
    fetch_concurrency: Annotated[int, Field(ge=1, le=1024)] = 32
    """Requests in flight to the object store per fetching process."""
    fetch_timeout_s: Annotated[float, Field(gt=0)] = 60.0
    """Seconds that one GET may take."""
    decode_timeout_s: Annotated[float, Field(ge=0.1)] = TIMEOUT_S
    """Seconds that one image may take to be decoded, or to be read from a disk or unpacked; then it is `poison`."""
    decode_memory_gib: Annotated[float | None, Field(ge=1)] = None
    """GiB of memory that an image may take when it is done alone. Default: 40 bytes for each of `max_pixels`."""
    input_store: Store = Store()
    """Credentials and endpoint of the source."""
    output_store: Store = Store()
    """Credentials and endpoint of the output."""

    def work_limits(self) -> WorkLimits:
        """What fetching and decoding may take for one image."""
        return WorkLimits.of(
            self.decode_timeout_s, self.decode_memory_gib, max_pixels=self.max_pixels, max_bytes=self.max_bytes
        )

    @property
    def source_store(self) -> Store:
        """The store of the source, which keeps within the allowed prefixes at every redirect."""
        if self.allowed_prefixes is None:
            return self.input_store
        return self.input_store.within(Boundary(self.allowed_prefixes, tuple(map(str.lower, self.private_hosts))))

    def has_too_many_errors(self, failed: int, rows: int) -> bool:
        """Whether so many failed rows of a run make the scan a failure.

        A handful is none unless the rate was given, or nothing else is there: one broken image among ten is no reason
        to look for what is wrong, and one of one is.
        """
        is_given = "max_error_rate" in self.model_fields_set
        return failed > self.max_error_rate * rows and (is_given or failed > FEW_ERRORS or failed == rows)

    @model_validator(mode="after")
    def _one_cut(self) -> Self:
        if self.limit is not None and self.sample is not None:
            raise ValueError("limit and sample exclude each other; give one of them")
        return self

    @model_validator(mode="after")
    def _a_list_is_used(self) -> Self:
        if self.trust_list is not None and not self.provenance:
            raise ValueError("trust_list: without provenance no signer is checked; leave one of the two out")
        return self

    @model_validator(mode="after")
    def _one_strip(self) -> Self:
        if self.stability_share is not None and self.stability != "sample":
            raise ValueError("stability_share: it is the share that stability sample takes; give that, or leave it out")
        if self.unstable != "keep" and self.stability == "none":
            raise ValueError("unstable: no verdict is tried without stability; give flagged, sample or all")
        if self.decode != "exact" and self.stability != "none":
            raise ValueError("decode: images are looked at again as they are, so stability needs exact; leave one out")
        return self
