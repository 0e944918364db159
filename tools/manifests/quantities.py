"""Kubernetes' quantities, such as 500m and 48Gi, as numbers."""

import re

_FORM = re.compile(r"([+-]?(?:\d+(?:\.\d*)?|\.\d+))(m|[kMGTPE]i?|Ki|[eE][+-]?\d+)?")
_BINARY: dict[str, float] = {f"{letter}i": 2.0 ** (10 * power) for power, letter in enumerate("KMGTPE", 1)}
_DECIMAL = {"": 1.0, "m": 1e-3, "k": 1e3} | {letter: 10.0 ** (3 * power) for power, letter in enumerate("MGTPE", 2)}


def number(quantity: str | float) -> float | None:
    """A quantity in its base unit (cores, bytes, pieces); None where it is none."""
    match = _FORM.fullmatch(str(quantity))
    if match is None:
        return None
    unit = match[2] or ""
    if unit in _BINARY:
        return float(match[1]) * _BINARY[unit]
    return float(match[1]) * _DECIMAL[unit] if unit in _DECIMAL else float(f"{match[1]}{unit}")
