"""What files say of their own origin, counted, in words for people."""

from collections.abc import Mapping

from fakevlm.provenance import Basis, Origin

LABELS: Mapping[Origin, str] = {
    Origin.AI_GENERATED: "AI-generated",
    Origin.AI_EDITED: "AI-edited",
    Origin.CAPTURED: "captured",
    Origin.COMPOSITE: "composite",
    Origin.SIGNED_OTHER: "signed, origin not said",
    Origin.NONE: "says nothing",
}
"""Short names of origins, for counts and filters."""
_NOT_CHECKED = (
    "no signer was checked, for want of a trust list; fetch one with `fakescan provenance update-trust` before the scan"
)


def by_origin(counts: Mapping[str, int]) -> dict[Origin, dict[str, int]]:
    """Rows by origin and basis, from `Counts.provenance`; the basis is "" for none."""
    found: dict[Origin, dict[str, int]] = {}
    for origin in Origin:
        for name, rows in counts.items():
            kind, _, basis = name.partition("/")
            if kind == origin:
                found.setdefault(origin, {})[basis] = rows
    return found


def counted_words(counts: Mapping[str, int]) -> str:
    """What the files say, such as `AI-generated 12 (10 by a trusted signer); nothing 240`; "" where nobody asked."""
    found = by_origin(counts)
    silent = sum(found.pop(Origin.NONE, {}).values())
    said = []
    for origin, bases in found.items():
        trusted = bases.get(Basis.C2PA_TRUSTED, 0)
        words = f"{LABELS[origin]} {sum(bases.values()):,}"
        said.append(f"{words} ({trusted:,} by a trusted signer)" if trusted else words)
    if not said:
        return f"nothing {silent:,}" if silent else ""
    return f"{', '.join(said)}; nothing {silent:,}"


def unchecked_words(counts: Mapping[str, int], *, has_list: bool) -> str:
    """What is to be known where there are signers and was no list to check them against; "" elsewhere."""
    return _NOT_CHECKED if not has_list and any("/c2pa" in name for name in counts) else ""
