"""Schedules in cron's five fields, as KubeRay and Kubernetes read them."""

import re
import zoneinfo
from collections.abc import Iterator

from tools.manifests.found import Fault

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of the month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of the week", 0, 6, _DAYS),
)
_WORDS = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")
_EVERY = re.compile(r"@every (\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+")
_RANGE = re.compile(r"(\*|\?|[^-/,]+)(?:-([^-/,]+))?(?:/(\d+))?")


def schedule_fault(schedule: str) -> Iterator[Fault]:
    """What is wrong with a schedule, if anything."""
    if "TZ" in schedule:
        yield Fault("schedule", "has a time zone of its own; name it as timeZone")
        return
    if schedule in _WORDS or _EVERY.fullmatch(schedule):
        return
    fields = schedule.split()
    if len(fields) != len(_FIELDS):
        yield Fault("schedule", f"needs five fields, such as `0 2 * * *` (got {schedule!r})")
        return
    for text, (name, low, high, words) in zip(fields, _FIELDS, strict=True):
        if not all(_is_in(part, low, high, words) for part in text.split(",")):
            yield Fault("schedule", f"the {name} must be from {low} to {high}, a range, a list or * (got {text!r})")


def _is_in(part: str, low: int, high: int, words: tuple[str, ...]) -> bool:
    match = _RANGE.fullmatch(part)
    if match is None or (match[3] is not None and int(match[3]) == 0):
        return False
    if match[1] in ("*", "?"):
        return match[2] is None
    ends = [_number(text, low, words) for text in (match[1], match[2] or match[1])]
    return None not in ends and low <= ends[0] <= ends[1] <= high  # type: ignore[operator]


def _number(text: str, low: int, words: tuple[str, ...]) -> int | None:
    if text.lower() in words:
        return words.index(text.lower()) + low
    return int(text) if text.isascii() and text.isdigit() else None


def time_zone_fault(zone: str | None) -> Iterator[Fault]:
    """What is wrong with the name of a time zone, if anything."""
    if zone is None:
        return
    try:
        zoneinfo.ZoneInfo(zone)
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        yield Fault("timeZone", f"is not one, such as Europe/Berlin (got {zone!r})")
