"""Reads what a file says about its origin. Never raises."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from fakevlm.provenance import aigc, content_credentials, exif, generators, iptc, software
from fakevlm.provenance.containers import LIGHT, FileMetadata, walk
from fakevlm.provenance.encoding import as_text
from fakevlm.provenance.generators import Text
from fakevlm.provenance.record import Provenance
from fakevlm.provenance.statement import Statement, decide
from fakevlm.provenance.trust import TrustLists
from fakevlm.provenance.xmp import Xmp, XmpAllowance, read_xmp

_EXIF_TEXTS = {
    exif.USER_COMMENT: "UserComment",
    exif.DESCRIPTION: "ImageDescription",
    exif.MAKE: "Make",
    exif.MODEL: "Model",
    exif.SOFTWARE: "Software",
    exif.XP_COMMENT: "XPComment",
    exif.XP_TITLE: "XPTitle",
    exif.XP_KEYWORDS: "XPKeywords",
}
_LABELLED = ("UserComment", "ImageDescription", "XPComment", "comment", "Comment", "Description")
"""Texts that hold other things too, and sometimes a label of GB 45438."""
_XMP_TEXTS = ("UserComment", "description", "ImageDescription")
_WORTH_PARSING = (
    b"DigitalSource", b"AISystem", b"AIPrompt", b"Credit", b"AIGC", b"UserComment", b"provenance", b"CreatorTool",
    b"Steps", b"\0",
)  # fmt: skip
"""XMP without any of these says nothing of the origin; most of it is a camera's settings or an editor's history."""
_MAX_CHARACTERS = 2 << 20
"""Of all texts in a file; more are not looked at."""
_MAX_LABELS = 16
"""Places that may hold a label; more are not looked at."""


def read(data: bytes, *, trust: TrustLists | None = None) -> Provenance:
    """The record of a file's bytes; `Provenance()` for what is no image, or says nothing.

    Without `trust` no signer is trusted: Content Credentials are `c2pa_untrusted` or `c2pa_expired`.
    """
    try:
        found = walk(data)
        return Provenance() if found is None else _understood(data, found, trust)
    except Exception as error:  # noqa: BLE001 - whatever a file does, it costs its own record and nothing else
        return _faulty(error)


def read_light(data: bytes) -> Provenance | None:
    """The same of a file that says little, within milliseconds.

    None for one that says more, or has Content Credentials, which native code reads: `read` that where it may take its
    time, and break.
    """
    try:
        found = walk(data, LIGHT)
        if found is None:
            return Provenance()
        return None if found.cut or found.has_manifest else _understood(data, found, None)
    except Exception as error:  # noqa: BLE001 - see `read`
        return _faulty(error)


def _faulty(error: Exception) -> Provenance:
    return Provenance(detail=json.dumps({"fault": type(error).__name__}))


def _understood(data: bytes, found: FileMetadata, trust: TrustLists | None) -> Provenance:
    allowance = XmpAllowance()
    packets = [read_xmp(packet, allowance) for packet in found.xmp if any(word in packet for word in _WORTH_PARSING)]
    found.cut = found.cut or allowance.used_up
    statements: list[Statement] = []
    detail: dict[str, Any] = {}
    if found.has_manifest:
        credentials = content_credentials.read(data, found.format, trust)
        statements += credentials.statements
        detail["c2pa"] = credentials.facts
    elif url := next((xmp.manifest_url for xmp in packets if xmp.manifest_url), ""):
        detail["c2pa"] = {"state": "remote_only", "url": url}
    iim_credits = list(iptc.credits_of(found.iim))
    for xmp in packets or [Xmp()]:
        statements += iptc.statements(xmp, iim_credits)
    texts = _within_limit(_texts(found, packets), found)
    statements += _labels(found, packets, texts)
    generated = list(generators.statements(texts))
    statements += generated or software.text_statements(Text(*text) for text in found.texts)
    statements += _names(found, packets)
    if found.cut and (statements or detail):
        detail["cut"] = True
    return decide(statements, detail)


def _texts(found: FileMetadata, packets: list[Xmp]) -> Iterator[Text]:
    for keyword, text in found.texts:
        yield Text(keyword, text)
    for tags in found.exif:
        for tag, name in _EXIF_TEXTS.items():
            if tag in tags.values:
                yield Text(name, tags.text(tag))
    for xmp in packets:
        for name in _XMP_TEXTS:
            for text in xmp.values.get(name, ())[:4]:
                yield Text(name, text)


def _within_limit(texts: Iterable[Text], found: FileMetadata) -> list[Text]:
    """The texts up to the limit of their characters."""
    taken, left = [], _MAX_CHARACTERS
    for text in texts:
        if len(text.text) > left:
            found.cut = True
        else:
            taken.append(text)
            left -= len(text.text)
    return taken


def _labels(found: FileMetadata, packets: list[Xmp], texts: list[Text]) -> Iterator[Statement]:
    for number, label in enumerate(_possible_labels(found, packets, texts)):
        if number >= _MAX_LABELS:
            found.cut = True
            return
        if label is not None:
            yield label


def _possible_labels(found: FileMetadata, packets: list[Xmp], texts: list[Text]) -> Iterator[Statement | None]:
    """What each place that may hold a label says, read when it is asked for."""
    for xmp in packets:
        for text in xmp.values.get("AIGC", ())[:4]:
            yield aigc.label_in("XMP", text, is_label=True)
        if fields := {name[5:]: values[0] for name, values in xmp.values.items() if name.startswith("AIGC/")}:
            yield aigc.label_of_fields("XMP", fields)
    for place, value in texts:
        if place.upper() == "AIGC":
            yield aigc.label_in(place, value, is_label=True)
        elif place in _LABELLED and aigc.may_be_label(value):
            yield aigc.label_in(place, value)
    for segment in found.labels:
        yield aigc.label_in("segment", as_text(segment), is_label=True)


def _names(found: FileMetadata, packets: list[Xmp]) -> Iterator[Statement]:
    for tags in found.exif:
        yield from software.exif_statements(tags)
    for xmp in packets:
        yield from software.creator_tool_statements(xmp.first("CreatorTool"))
