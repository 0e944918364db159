"""The label of China's GB 45438-2025 for generated and synthesised content, in each of the ways it is written down.

In XMP under http://www.tc260.org.cn/ns/AIGC/1.0/, in a PNG text `AIGC`, in EXIF as `{"AIGC": {...}}`, and bare in a
segment of a JPEG. Each holds a JSON object, often with its quotes escaped as in HTML.
"""

import html
import json
import re
from collections.abc import Iterator
from typing import Any

from fakevlm.provenance.record import Basis, Origin
from fakevlm.provenance.statement import Statement

_KEYS = ("ContentProducer", "ProduceID", "ReservedCode1", "ContentPropagator", "PropagateID", "ReservedCode2")
_SERVICE_KEYS = ("ServiceProvider", "ServiceUser")
"""Tencent Cloud's."""
_IS = ("1", "aigc", "true")
"""`AIGC` is MiniMax's."""
_MEANINGS = {"2": "may be AI-generated", "3": "is suspected to be AI-generated"}
"""What those who pass a picture on say of it: a declaration, and a suspicion. Neither says that it is."""
_FIELD = re.compile(r"[\"']?(Label|ContentProducer|ProduceID)[\"']?\s*[:=]\s*[\"']?([^\"',}\r\n]{1,200})")
_MAX_OBJECTS = 8
_MAX_TEXT = 64 << 10
"""Characters that a label is looked for in."""
_MAX_IN_VAIN = 16 << 10
"""Characters that turn out to be no JSON object, after which no other is looked for."""
_CHARACTER = re.compile(r"&#?[0-9A-Za-z]{1,32};?")
_MAX_CHARACTERS = 400
"""Characters that are written as in HTML; a label has its quotes."""


def label_in(place: str, text: str, *, is_label: bool = False) -> Statement | None:
    """What a label in a text says; None where there is no label.

    `is_label`: the text stands where only a label stands. Elsewhere the object must have the standard's keys.
    """
    text = text[:_MAX_TEXT]
    for _ in range(3):
        unescaped = _CHARACTER.sub(_unescaped, text, _MAX_CHARACTERS)
        if unescaped == text:
            break
        text = unescaped
    for found in _objects(text):
        label = _label_of(found, is_label)
        if label is not None:
            return _statement(place, label)
    if is_label or "AIGC" in text[:40]:  # cut, or no JSON
        fields = dict(_FIELD.findall(text[:4000]))
        if "Label" in fields and (is_label or len(fields) > 1):
            return _statement(place, fields)
    return None


def may_be_label(text: str) -> bool:
    """Whether a text has one of the words that a label has, and should be given to `label_in`."""
    return any(key in text for key in (*_KEYS, *_SERVICE_KEYS)) or "aigc" in text[:_MAX_TEXT].lower()


def label_of_fields(place: str, fields: dict[str, str]) -> Statement | None:
    """What a label says whose keys are fields of their own, as a structure of XMP has them."""
    return _statement(place, fields) if "Label" in fields else None


def _unescaped(found: re.Match[str]) -> str:
    return html.unescape(found[0])


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """The JSON objects in a text."""
    decoder = json.JSONDecoder()
    at = text.find("{")
    in_vain = 0
    for _ in range(_MAX_OBJECTS):
        if at < 0 or in_vain > _MAX_IN_VAIN:
            return
        try:
            found, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            in_vain += (error.pos if isinstance(error, json.JSONDecodeError) else len(text)) - at
            end = at + 1
        else:
            if isinstance(found, dict):
                yield found
        at = text.find("{", end)


def _label_of(found: dict[str, Any], is_label: bool) -> dict[str, Any] | None:
    inner = next((value for key, value in found.items() if key.upper() == "AIGC"), None)
    if isinstance(inner, str):
        inner = next(_objects(inner), {"Label": inner})
    if isinstance(inner, dict):
        found, is_label = inner, True
    keys = _KEYS + _SERVICE_KEYS
    if "Label" in found and (is_label or any(key in found for key in keys)):
        return found
    if all(key in found for key in _SERVICE_KEYS):
        return {"Label": "1", **found}
    return found if is_label and any(key in found for key in keys) else None


def _statement(place: str, label: dict[str, Any]) -> Statement:
    value = label.get("Label")
    value = str(value).strip() if isinstance(value, (str, int)) else ""
    says = Origin.AI_GENERATED if value.lower() in _IS else Origin.NONE
    producer = next(
        (label[key] for key in ("ContentProducer", "ServiceProvider") if isinstance(label.get(key), str)), ""
    )
    words: dict[str, Any] = {"field": place, "label": value}
    if meaning := _MEANINGS.get(value):
        words["meaning"] = meaning
    for key in (*_KEYS, *_SERVICE_KEYS):
        if isinstance(label.get(key), (str, int)) and str(label[key]).strip():
            words[key] = str(label[key])
    return Statement(says, Basis.AIGC_LABEL, producer.strip() or None, words=words)
