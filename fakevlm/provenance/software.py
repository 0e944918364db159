"""Generators that put nothing but their name into a file, in a field for the name of a camera or a program."""

import re
from collections.abc import Iterable, Iterator

from fakevlm.provenance.exif import ARTIST, DESCRIPTION, EXIF_IFD, MAKE, MODEL, SOFTWARE, Tags
from fakevlm.provenance.generators import Text
from fakevlm.provenance.record import Basis, Origin
from fakevlm.provenance.statement import Statement

_NAMES = re.compile(
    r"(?:Adobe Firefly|ComfyUI|DALL[·.\- ]?E|DiffusionBee|Draw Things|Fooocus|Ideogram(?: AI)?|InvokeAI|Leonardo\.?Ai"
    r"|Luma AI|Midjourney|NovelAI|reve\.com|Stable Diffusion(?: web ?UI| XL)?)"
    r"(?:[\s/_-]*[(v]*\d.*)?",
    re.IGNORECASE,
)
"""The whole of a field: programs that make pictures and do nothing else, with or without a version."""
_SIGNATURE = re.compile(r"Signature: *[A-Za-z0-9+/]{40,}={0,2}")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_FIELDS = {MAKE: "Make", MODEL: "Model", SOFTWARE: "Software"}
_MAX_VALUE = 4096
"""Bytes of a field with the zeros or spaces after its text."""
_GROK = frozenset((DESCRIPTION, ARTIST))
_NEUTRAL = frozenset((EXIF_IFD, 0x0112, 0x011A, 0x011B, 0x0128, 0x0213))
"""Tags that any program adds when it writes a file: orientation, resolution, placement of samples."""


def exif_statements(tags: Tags) -> Iterator[Statement]:
    """What the tags of an EXIF block say."""
    for tag, field in _FIELDS.items():
        if len(tags.values.get(tag, b"")) <= _MAX_VALUE:
            yield from _named(Text(field, tags.text(tag)), Basis.EXIF)
    if (
        _GROK <= tags.numbers <= _GROK | _NEUTRAL
        and _SIGNATURE.fullmatch(tags.text(DESCRIPTION))
        and _UUID.fullmatch(tags.text(ARTIST))
    ):
        yield Statement(Origin.AI_GENERATED, Basis.EXIF, "Grok", words={"field": "ImageDescription, Artist"})


def text_statements(texts: Iterable[Text]) -> Iterator[Statement]:
    """What PNG's texts under the names of fields for a program say."""
    for text in texts:
        if text.place in ("Software", "Source", "CreatorTool", "creator_tool", "Author"):
            yield from _named(text, Basis.TEXT)


def creator_tool_statements(value: str) -> Iterator[Statement]:
    """What XMP's name of the program says, which is its form of the EXIF field `Software`."""
    yield from _named(Text("CreatorTool", value), Basis.EXIF)


def _named(text: Text, basis: Basis) -> Iterator[Statement]:
    value = text.text.strip()
    if len(value) < 100 and _NAMES.fullmatch(value):
        yield Statement(Origin.AI_GENERATED, basis, value, words={"field": text.place})
