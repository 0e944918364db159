"""The vocabulary of digital source types, IPTC's and C2PA's: what each says of a picture's origin.

Sources: cv.iptc.org/newscodes/digitalsourcetype and the rubric of C2PA for media made by generative AI.
"""

from fakevlm.provenance.record import Origin

_ORIGINS = {
    "trainedalgorithmicmedia": Origin.AI_GENERATED,
    "trainedalgorithmicdata": Origin.AI_GENERATED,
    "compositewithtrainedalgorithmicmedia": Origin.AI_EDITED,
    "compositesynthetic": Origin.AI_EDITED,
    "digitalcapture": Origin.CAPTURED,
    "computationalcapture": Origin.CAPTURED,
    "multiframecomputationalcapture": Origin.CAPTURED,
    "negativefilm": Origin.CAPTURED,
    "positivefilm": Origin.CAPTURED,
    "print": Origin.CAPTURED,
    "composite": Origin.COMPOSITE,
    "compositecapture": Origin.COMPOSITE,
}
"""Terms in lower case. Those that say that people or plain programs made a picture (`digitalArt`, `digitalCreation`,
`algorithmicMedia`, `screenCapture`, `humanEdits` ...) have no origin of their own here."""


def term_of(value: str) -> str:
    """The term of a source type: the last part of its address, or the word alone."""
    return value.strip().rstrip("/").rsplit("/", 1)[-1].rsplit(":", 1)[-1]


def origin_of(value: str) -> Origin:
    """What a source type says of the origin; `none` for one that says something else, or is unknown."""
    return _ORIGINS.get(term_of(value).lower(), Origin.NONE)
