"""One image of a request, from its bytes to its turn."""

from dataclasses import dataclass

from fakevlm.image_file import Effort


@dataclass(frozen=True, slots=True)
class Upload:
    """One image of a request."""

    index: int
    name: str | None
    data: bytes
    key: str = ""
    """Name of the key that sent it: keys take turns."""
    effort: Effort | None = None
    """What it takes to decode it; None as long as nobody has looked."""
    work: int = 0
    """The same in pixels; 0 for what is refused before it is decoded."""
