"""What single files say of their origin, each read in a process that a hostile one may end."""

from collections.abc import Iterator, Sequence
from functools import partial

from fakescan.check.named_files import fetch, refuse_folders
from fakescan.isolation.child import Child, Death, WorkLimits, alone
from fakescan.isolation.time_limit import Timed
from fakescan.provenance.config import ProvenanceConfig
from fakescan.settings.strict_model import StrictModel
from fakescan.sources.fetch import Fetched, Fetcher
from fakevlm.errors import ErrorCode, ImageError
from fakevlm.image_file.signature import identify
from fakevlm.provenance import Basis, Origin, Provenance, TrustLists, read, sentence

_BLOCK = 8
"""Files that are fetched together and are in memory at the same time."""


class FileProvenance(StrictModel):
    """What is known of one file. The fields that a scan's results have too are called as there."""

    uri: str
    sha256: str | None = None
    num_bytes: int | None = None
    format: str | None = None
    provenance: Origin | None = None
    """None on an error."""
    provenance_basis: Basis | None = None
    provenance_generator: str | None = None
    provenance_signer: str | None = None
    provenance_detail: str | None = None
    """JSON in a string, as in the results."""
    words: str | None = None
    """The record in a sentence."""
    error_code: ErrorCode | None = None
    error_message: str | None = None
    trust_list: dict[str, str] | None = None
    """Source, date and hash of the list that signers were checked against; None without one."""


def read_files(
    names: Sequence[str], config: ProvenanceConfig, trust: TrustLists | None, *, verbose: bool = False
) -> Iterator[FileProvenance]:
    """Reads files, URLs, and `-` for standard input, in their order.

    Raises UserError before anything is read where a name is not one of a single file. Whatever is wrong with one file
    is in its `error_code`.
    """
    store = config.input_store.resolved()
    refuse_folders(names, store, command="provenance reads")
    fetcher = Fetcher(store, max_bytes=config.max_bytes, concurrency=_BLOCK)
    limits = WorkLimits.of(config.timeout_s, None, max_pixels=1, max_bytes=config.max_bytes)
    # What native code prints is not for the terminal.
    with Child(Timed(partial(read, trust=trust), limits.timeout_s), limits, show=verbose) as child:
        for first in range(0, len(names), _BLOCK):
            for uri, fetched in fetch(names[first : first + _BLOCK], fetcher):
                yield _record(uri, fetched, child, trust)


def _record(uri: str, fetched: Fetched, child: Child[bytes, Provenance], trust: TrustLists | None) -> FileProvenance:
    facts = FileProvenance(
        uri=uri,
        sha256=fetched.sha256,
        num_bytes=fetched.num_bytes,
        error_code=fetched.error_code,
        error_message=fetched.error_message,
        trust_list=None if trust is None else trust.facts(),
    )
    if fetched.data is None:
        return facts
    try:
        format = identify(fetched.data)
    except ImageError as error:
        return facts.model_copy(update={"error_code": error.code, "error_message": error.message})
    found = alone(child, fetched.data)
    if isinstance(found, Death):
        failed = {"format": format, "error_code": ErrorCode.POISON, "error_message": found.message("reading")}
        return facts.model_copy(update=failed)
    return facts.model_copy(
        update={
            "format": format,
            "provenance": found.provenance,
            "provenance_basis": found.basis,
            "provenance_generator": found.generator,
            "provenance_signer": found.signer,
            "provenance_detail": found.detail,
            "words": sentence(found),
        }
    )
