"""Where a long stretch of keys can be cut, whatever they are called: found with requests for single keys."""

from collections.abc import Callable

MAX_CUTS = 40
"""Cuts that are looked for at once."""

_LOWEST = "0"
"""No cut is made between keys that differ in a character before this one. Servers that keep keys as files in folders
list `a/b` before `a-b` and `a.b`, the protocol says after; at later characters both orders have the same keys on either
side of a cut."""

_HIGH = "\U0010fffd"
"""Ends a cut, so that it comes after the keys that begin with what is before it, and is no folder's name: such servers
take a name to start after for the folder with all that it holds."""

_SURROGATES = range(0xD800, 0xE000)

FirstAfter = Callable[[str], str | None]
"""The first key after a name; None if there is none."""


def find_cuts(prefix: str, position: str, end: str | None, first_after: FirstAfter) -> list[str]:
    """Names in ascending order after `position` and before `end`, after each of which there are keys.

    All keys after `position` begin with `prefix`. They begin with more than that in common: where the last one first
    differs from the one at `position`, by so many characters as there are cuts and one more. Numbers are cut by a
    digit, hashes by a letter, dates by what changes in them. Asks once for each cut, and log2(length) times before.
    """

    def first(name: str) -> str | None:
        key = first_after(name) if end is None or name < end else None
        return None if key is None or (end is not None and key > end) else key

    common = _common_length(prefix, position, first)
    begins, letter = position[:common], position[common : common + 1]
    if letter < _LOWEST:
        key = first(begins + _LOWEST)
        letter = "" if key is None else key[common : common + 1]
    cuts: list[str] = []
    while letter and len(cuts) < MAX_CUTS and (key := first(begins + letter + _HIGH)) is not None:
        if not key.startswith(begins) or key[common : common + 1] < letter:  # an order of names that is not this one
            return []
        cuts.append(begins + letter + _HIGH)
        letter = key[common : common + 1]
    return cuts


def _common_length(prefix: str, position: str, first: FirstAfter) -> int:
    """How many characters the last key has in common with the one at `position`."""
    low, high = len(prefix), len(position) + 1
    while high - low > 1:
        middle = (low + high) // 2
        beyond = successor(position[:middle])
        if beyond is not None and first(beyond) is not None:
            high = middle
        else:
            low = middle
    return high - 1


def successor(text: str) -> str | None:
    """The first name after all that begin with `text`; None if there is none."""
    while text:
        if following := _after(text[-1]):
            return text[:-1] + following
        text = text[:-1]
    return None


def _after(letter: str) -> str:
    """The next character in the order of UTF-8; empty after the last."""
    code = ord(letter) + 1
    if code in _SURROGATES:
        code = _SURROGATES.stop
    return chr(code) if code <= 0x10FFFF else ""


def is_in_order(names: list[str]) -> bool:
    """Whether names ascend, by their bytes or by those of one folder after the other."""
    return names == sorted(names) or names == sorted(names, key=by_folder)


def by_folder(name: str) -> str:
    """A key of sorting: the order of servers that keep keys as files in folders."""
    return name.replace("/", "\0")
