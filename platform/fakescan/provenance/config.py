"""Settings of `fakescan provenance`."""

from typing import Annotated

from pydantic import Field

from fakescan.settings.flag import Flag, FlagGroup
from fakescan.settings.strict_model import StrictModel
from fakescan.storage.store import Store


class ProvenanceConfig(StrictModel):
    """What is read of single files."""

    trust_list: Annotated[str | None, Flag("PATH", group=FlagGroup.VERDICTS)] = None
    """PEM file, or folder of them, of trusted signers. Default: what `fakescan provenance update-trust` fetched."""
    max_bytes: Annotated[int, Field(ge=1), Flag("N", group=FlagGroup.FAULTS)] = 64 * 2**20
    """Files larger than this many bytes are not read (`too_large`)."""
    timeout_s: Annotated[float, Field(ge=0.1), Flag("S", group=FlagGroup.FAULTS)] = 30.0
    """Seconds that one file may take to be read; then it is `poison`."""
    input_store: Store = Store()
    """Credentials and endpoint of the files."""
