"""Values of a report whose shape nobody warrants."""

from typing import Any


def string(value: object) -> str:
    return value if isinstance(value, str) else ""


def an_object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def objects(value: object) -> list[dict[str, Any]]:
    return [part for part in value if isinstance(part, dict)] if isinstance(value, list) else []
