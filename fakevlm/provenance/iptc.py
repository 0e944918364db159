"""IPTC's fields for the origin of a picture, in XMP: its source type, those for AI of 2025.1, and Google's credit."""

import re
from collections.abc import Iterator, Sequence

from fakevlm.provenance.encoding import as_text
from fakevlm.provenance.record import Basis, Origin
from fakevlm.provenance.source_types import origin_of, term_of
from fakevlm.provenance.statement import Statement
from fakevlm.provenance.xmp import Xmp

_SOURCE_TYPES = ("digitalsourcetype", "digitalsourcefiletype")
"""IPTC's property, and the one that Google writes as well; their capitals have changed over the years."""
_AI_FIELDS = ("AISystemUsed", "AISystemVersionUsed", "AIPromptInformation", "AIPromptWriterName")
_CREDIT = re.compile(
    r"(?P<verb>Made|Created|Generated|AI[- ]Generated|Edited|AI[- ]Edited) (?:with|by|using) Google(?: AI| Photos)?",
    re.IGNORECASE,
)
_CREDIT_RECORD = b"\x1c\x02\x6e"
"""IPTC-IIM 2:110, the credit in the older form of these fields."""
_MAX_TYPES = 20


def statements(xmp: Xmp, iim_credits: Sequence[str]) -> Iterator[Statement]:
    """What the fields say; the first of them decides."""
    types = [text for name, texts in xmp.values.items() if name.lower() in _SOURCE_TYPES for text in texts][:_MAX_TYPES]
    fields = {name: text for name in _AI_FIELDS if (text := xmp.first(name).strip())}
    program = " ".join(fields[name] for name in _AI_FIELDS[:2] if name in fields) or None
    credit = next((text for text in (xmp.first("Credit").strip(), *iim_credits) if _CREDIT.fullmatch(text)), "")
    if types:
        ranked = sorted(types, key=lambda value: list(Origin).index(origin_of(value)))
        says = origin_of(ranked[0])
        if says is Origin.NONE and (fields or credit):
            # People or programs made it, and AI had a part in it.
            says = Origin.AI_EDITED
        words = {"digital_source_type": term_of(ranked[0]), **fields, **({"credit": credit} if credit else {})}
        yield Statement(says, Basis.IPTC, program or ("Google AI" if credit else None), words=words)
    elif credit:
        edited = "edit" in _CREDIT.fullmatch(credit)["verb"].lower()  # type: ignore[index]
        says = Origin.AI_EDITED if edited else Origin.AI_GENERATED
        yield Statement(says, Basis.IPTC, program or "Google AI", words={"credit": credit, **fields})
    elif fields:
        yield Statement(Origin.AI_GENERATED, Basis.IPTC, program, words=dict(fields))


def credits_of(blocks: list[bytes]) -> Iterator[str]:
    """The credits in image resources of Photoshop or records of IPTC-IIM."""
    for block in blocks:
        at = block.find(_CREDIT_RECORD)
        if at >= 0:
            length = int.from_bytes(block[at + 3 : at + 5])
            yield as_text(block[at + 5 : at + 5 + min(length, 256)]).strip()
