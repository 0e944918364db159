"""What single sources say, and which of them decides."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from fakevlm.provenance.record import MAX_DETAIL, MAX_NAME, Basis, Origin, Provenance

_AI = (Origin.AI_GENERATED, Origin.AI_EDITED)
_SHORTENED = (300, 120, 40)
"""Characters of a text in the detail; less where the detail would be too long."""
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]+")


class Statement(NamedTuple):
    """What one source says."""

    says: Origin
    """`none` where it says something, but nothing of the origin."""
    basis: Basis
    generator: str | None = None
    signer: str | None = None
    words: Mapping[str, Any] = MappingProxyType({})
    """In its own terms, for the detail; JSON values."""
    contains: tuple[Origin, ...] = ()
    """Of parts of the picture."""


def decide(statements: Sequence[Statement], detail: dict[str, Any]) -> Provenance:
    """The record of all statements: by their basis, and with `detail` before them in the record's own.

    1. A trusted signer's word on the origin. 2. A claim of AI, in the order of `Basis`, then of `Origin`. 3. Any other
    claim of an origin, in the same order. 4. A signature that says nothing of the origin, in the same order. A claim of
    AI precedes one of a camera because nobody needs a label to look real, and stripping one takes no signature.
    """
    ranked = sorted(statements, key=_rank)
    if not ranked:
        return Provenance(detail=_json(detail)) if detail else Provenance()
    first = ranked[0]
    said = {statement.says for statement in ranked if statement.says not in (Origin.NONE, Origin.SIGNED_OTHER)}
    contains = list(dict.fromkeys(part for statement in ranked for part in statement.contains))
    facts: dict[str, Any] = {
        "sources": [
            {
                "basis": statement.basis.value,
                "says": statement.says.value,
                **({"generator": statement.generator} if statement.generator else {}),
                **statement.words,
            }
            for statement in ranked
        ],
        **detail,
    }
    if contains:
        facts["contains"] = contains
    if len(said) > 1:
        facts["conflict"] = True
    if first.says is Origin.NONE:
        return Provenance(detail=_json(facts))
    generator = first.generator or next(
        (other.generator for other in ranked if other.says is first.says and other.generator), None
    )
    return Provenance(first.says, first.basis, name(generator), name(first.signer), _json(facts))


def name(text: str | None) -> str | None:
    """A name on one line of at most `MAX_NAME` characters; None for one without letters."""
    line = " ".join(_UNPRINTABLE.sub(" ", (text or "")[: 10 * MAX_NAME]).split())
    return line[:MAX_NAME] or None


def _rank(statement: Statement) -> tuple[int, int, int]:
    says = statement.says
    if says is Origin.NONE:
        order = 5
    elif says is Origin.SIGNED_OTHER:
        order = 4
    elif statement.basis is Basis.C2PA_TRUSTED:
        order = 1
    else:
        order = 2 if says in _AI else 3
    return order, list(Basis).index(statement.basis), list(Origin).index(says)


def _json(facts: dict[str, Any]) -> str:
    """At most `MAX_DETAIL` bytes of JSON: texts are shortened first, then sources are left out."""
    for longest in _SHORTENED:
        text = _dumped(_shortened(facts, longest))
        if len(text.encode()) <= MAX_DETAIL:
            return text
    less = {**_shortened(facts, _SHORTENED[-1]), "cut": True}
    for key in _droppable(less):
        if key == "sources" and less["sources"]:
            less["sources"].pop()
        else:
            less.pop(key, None)
        text = _dumped(less)
        if len(text.encode()) <= MAX_DETAIL:
            return text
    return '{"cut":true}'


def _droppable(facts: dict[str, Any]) -> Iterator[str]:
    for _ in facts.get("sources", ()):
        yield "sources"
    yield from [key for key in facts if key != "cut"]


def _dumped(facts: dict[str, Any]) -> str:
    return json.dumps(facts, ensure_ascii=False, separators=(",", ":"))


def _shortened(value: Any, longest: int) -> Any:
    if isinstance(value, str):
        line = " ".join(_UNPRINTABLE.sub(" ", value[: 4 * longest]).split())
        return line if len(line) <= longest else f"{line[: longest - 1]}…"
    if isinstance(value, dict):
        return {str(key)[:60]: _shortened(part, longest) for key, part in list(value.items())[:20]}
    if isinstance(value, (list, tuple)):
        return [_shortened(part, longest) for part in value[:20]]
    return value if isinstance(value, (bool, int)) or value is None else str(value)[:longest]
