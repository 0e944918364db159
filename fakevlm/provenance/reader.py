"""Reads what a file says about its origin. Never raises."""

import json
import re
from collections.abc import Iterator
from typing import Any

from fakevlm.provenance import aigc, content_credentials, exif, generators, iptc, software
from fakevlm.provenance.containers import FileMetadata, walk
from fakevlm.provenance.encoding import as_text
from fakevlm.provenance.generators import Text
from fakevlm.provenance.record import Provenance
from fakevlm.provenance.statement import Statement, decide
from fakevlm.provenance.trust import TrustLists
from fakevlm.provenance.xmp import Xmp, read_xmp

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
_WORTH_PARSING = re.compile(rb"DigitalSource|AISystem|AIPrompt|Credit|AIGC|UserComment|provenance|CreatorTool|Steps|\0")
"""XMP without any of these says nothing of the origin; most of it is a camera's settings or an editor's history."""


def read(data: bytes, *, trust: TrustLists | None = None) -> Provenance:
    """The record of a file's bytes; `Provenance()` for what is no image, or says nothing.

    Without `trust` no signer is trusted: Content Credentials are `c2pa_untrusted` or `c2pa_expired`.
    """
    try:
        return _read(data, trust)
    except Exception as error:  # noqa: BLE001 - whatever a file does, it costs its own record and nothing else
        return Provenance(detail=json.dumps({"fault": type(error).__name__}))


def _read(data: bytes, trust: TrustLists | None) -> Provenance:
    found = walk(data)
    if found is None:
        return Provenance()
    packets = [read_xmp(packet) for packet in found.xmp if _WORTH_PARSING.search(packet)]
    statements: list[Statement] = []
    detail: dict[str, Any] = {}
    if found.has_manifest:
        credentials = content_credentials.read(data, found.format, trust)
        statements += credentials.statements
        detail["c2pa"] = credentials.facts
    elif url := next((xmp.manifest_url for xmp in packets if xmp.manifest_url), ""):
        detail["c2pa"] = {"state": "remote_only", "url": url}
    for xmp in packets or [Xmp()]:
        statements += iptc.statements(xmp, found.iim)
    statements += _labels(found, packets)
    texts = list(generators.statements(_texts(found, packets)))
    statements += texts or software.text_statements(Text(*text) for text in found.texts)
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


def _labels(found: FileMetadata, packets: list[Xmp]) -> Iterator[Statement]:
    labels: list[Statement | None] = []
    for xmp in packets:
        labels += [aigc.label_in("XMP", text, is_label=True) for text in xmp.values.get("AIGC", ())[:4]]
        fields = {name[5:]: texts[0] for name, texts in xmp.values.items() if name.startswith("AIGC/")}
        labels.append(aigc.label_of_fields("XMP", fields))
    for text in _texts(found, packets):
        if text.place.upper() == "AIGC":
            labels.append(aigc.label_in(text.place, text.text, is_label=True))
        elif text.place in _LABELLED:
            labels.append(aigc.label_in(text.place, text.text))
    labels += [aigc.label_in("segment", as_text(segment), is_label=True) for segment in found.labels]
    return (label for label in labels if label is not None)


def _names(found: FileMetadata, packets: list[Xmp]) -> Iterator[Statement]:
    for tags in found.exif:
        yield from software.exif_statements(tags)
    for xmp in packets:
        yield from software.creator_tool_statements(xmp.first("CreatorTool"))
