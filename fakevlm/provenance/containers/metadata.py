"""The metadata of a file as its container holds it, and the limits of what is looked at."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from fakevlm.provenance.encoding import as_text
from fakevlm.provenance.exif import Tags, read_tags

MAX_TEXT = 64 << 10
"""Bytes of one text; the rest is left out."""
MAX_XMP = 1 << 20
"""Bytes of one XMP packet; the rest is left out."""
MAX_EXIF = 1 << 20
"""Bytes of one EXIF block; the rest is left out."""
MAX_TEXTS = 256
"""Texts of a file; more are left out."""
MAX_BLOCKS = 32
"""XMP packets, and EXIF blocks, of a file; more are left out."""
MAX_TOTAL = 4 << 20
"""Bytes of all metadata of a file."""
MAX_HANDLED = 2 * MAX_TOTAL
"""Bytes of a file that are unpacked, joined or searched through for its metadata, whether they are kept or not."""
MAX_PIECES = 20_000
"""Chunks, segments or blocks of a file that are walked over."""
_UNPACKING = 4096
"""Bytes in whose time zlib is set up."""
_MAX_RATIO = 1032
"""Bytes that one byte of zlib data can unpack to."""


@dataclass(frozen=True, slots=True)
class WalkLimits:
    """How much of a file is looked at."""

    total: int = MAX_TOTAL
    handled: int = MAX_HANDLED
    pieces: int = MAX_PIECES


WHOLE = WalkLimits()
LIGHT = WalkLimits(total=96 << 10, handled=(192 << 10) + MAX_XMP + 2048, pieces=2000)
"""What most files stay below, but for long histories and workflows: a few milliseconds at most."""


@dataclass(slots=True)
class FileMetadata:
    """What was found, not yet understood. Collected by the walkers, which call the methods."""

    format: str
    """One of fakevlm.image_file.FORMATS."""
    limits: WalkLimits = WHOLE
    texts: list[tuple[str, str]] = field(default_factory=list)
    """(keyword, text) of PNG's text chunks and of comments, whose keyword is "comment"."""
    xmp: list[bytes] = field(default_factory=list)
    exif: list[Tags] = field(default_factory=list)
    iim: list[bytes] = field(default_factory=list)
    """Image resources of Photoshop, or IPTC-IIM records, as they are."""
    labels: list[bytes] = field(default_factory=list)
    """Segments that begin with a label of GB 45438."""
    has_manifest: bool = False
    """Whether there is what looks like a C2PA manifest store."""
    cut: bool = False
    """Whether something was left out for its length or number."""
    _total: int = 0
    _handled: int = 0

    def add_text(self, keyword: bytes | str, text: bytes | str, *, utf8: bool = False) -> None:
        """Adds a text; bytes are UTF-8 where they can be, as many write it where Latin-1 is meant."""
        if len(self.texts) >= MAX_TEXTS:
            self.cut = True
            return
        key = keyword.decode("latin-1") if isinstance(keyword, bytes) else keyword
        if isinstance(text, bytes):
            text = as_text(self._within(text, MAX_TEXT), utf8=utf8)
        self.texts.append((key[:80], text))

    def add_xmp(self, packet: bytes) -> None:
        """Adds an XMP packet."""
        if self.takes(self.xmp) and (packet := self._within(packet, MAX_XMP)):
            self.xmp.append(packet)

    def add_exif(self, block: bytes) -> None:
        """Adds an EXIF block, with or without the words that precede it in a JPEG."""
        block = block[6:] if block[:6] in (b"Exif\0\0", b"Exif\0\xff") else block
        if self.takes(self.exif) and (block := self._within(block, MAX_EXIF)):
            self.add_tags(read_tags(block))

    def add_tags(self, tags: Tags) -> None:
        """Adds the tags of an EXIF block."""
        self.cut = self.cut or tags.cut
        self.exif.append(tags)

    def add_iim(self, block: bytes) -> None:
        """Adds resources of Photoshop or an IPTC-IIM record."""
        if self.takes(self.iim) and (block := self._within(block, MAX_EXIF)):
            self.iim.append(block)

    def add_label(self, segment: bytes) -> None:
        """Adds a label that stands in a segment of its own."""
        if self.takes(self.labels) and (segment := self._within(segment, MAX_TEXT)):
            self.labels.append(segment)

    def takes(self, blocks: Sequence[object]) -> bool:
        """Whether one more is added to these blocks; where not, it is recorded that something was left out."""
        full = len(blocks) >= MAX_BLOCKS
        self.cut = self.cut or full
        return not full

    def room(self, limit: int) -> int:
        """How many bytes may be handled now: `limit`, or less where many were handled before, which is recorded."""
        room = max(0, min(limit, self.limits.handled - self._handled))
        self.cut = self.cut or room < limit
        return room

    def handle(self, size: int) -> None:
        """Counts bytes that were unpacked, joined or searched through."""
        self._handled += size

    def unpacked(self, packed: bytes, limit: int) -> bytes:
        """The first `limit` bytes that zlib data unpacks to; what there is of damaged data."""
        limit = self.room(limit)
        if not limit:
            return b""
        unpack = zlib.decompressobj()
        found = bytearray()
        lost = 0
        # In pieces: one that is damaged does not take with it what comes before.
        for at in range(0, min(len(packed), limit + 4096), 4096):
            piece, room = packed[at : at + 4096], limit + 1 - len(found)
            try:
                found += unpack.decompress(piece, room)
            except zlib.error:
                lost = min(room, _MAX_RATIO * len(piece))  # so much may have been unpacked of it
                break
            if len(found) > limit:
                self.cut = True
            if len(found) > limit or unpack.eof:
                break
        self.handle(_UNPACKING + len(found) + lost)
        return bytes(found[:limit])

    def _within(self, data: bytes, limit: int) -> bytes:
        limit = min(limit, self.limits.total - self._total)
        if len(data) > limit:
            self.cut = True
        data = bytes(data[: max(limit, 0)])
        self._total += len(data)
        return data
