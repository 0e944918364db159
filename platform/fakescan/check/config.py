"""Settings of a check."""

from typing import Annotated

from pydantic import Field

from fakescan.engine.judging_options import Explain
from fakescan.engine.judging_settings import JudgingSettings
from fakescan.isolation.child import TIMEOUT_S
from fakescan.settings.flag import Flag, FlagGroup
from fakescan.storage.store import Store


class CheckConfig(JudgingSettings):
    """A check of single images. The limits are those of a scan, so that both say the same of a file."""

    explain: Annotated[Explain, Flag("all|fakes|none", group=FlagGroup.VERDICTS)] = "all"
    """Which images get an explanation: all, those judged fake, or none, which is quickest."""
    max_bytes: Annotated[int, Field(ge=1), Flag("N", group=FlagGroup.FAULTS)] = 64 * 2**20
    """Files larger than this many bytes are not read (`too_large`)."""
    max_pixels: Annotated[int, Field(ge=1), Flag("N", group=FlagGroup.FAULTS)] = 100_000_000
    """Images with more pixels than this are not decoded (`too_many_pixels`)."""
    decode_timeout_s: Annotated[float, Field(ge=0.1), Flag("S", group=FlagGroup.FAULTS)] = TIMEOUT_S
    """Seconds that one image may take to be decoded; then it is `poison`."""
    input_store: Store = Store()
    """Credentials and endpoint of the images."""
