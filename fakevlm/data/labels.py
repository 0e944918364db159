"""Which name of a folder, or value of a field, means real and which fake."""

from collections.abc import Iterable, Mapping

from fakevlm.data.record import FAKE, REAL
from fakevlm.errors import UserError

LABEL_NAMES: Mapping[str, int] = {"real": REAL, "0_real": REAL, "fake": FAKE, "1_fake": FAKE}
"""Label by the names, in lower case, that need no telling."""

_WORDS = {"real": REAL, "fake": FAKE}


def label_names(pairs: Iterable[str]) -> dict[str, int]:
    """LABEL_NAMES and those of `NAME=real` and `NAME=fake`, which take precedence. Raises UserError."""
    given: dict[str, int] = {}
    for pair in pairs:
        name, equals, word = (part.strip() for part in pair.rpartition("="))
        label = _WORDS.get(word.lower())
        if not equals or not name or label is None:
            raise UserError(f"label: {pair!r} is not NAME=real or NAME=fake, such as ai=fake")
        if given.setdefault(name.lower(), label) != label:
            raise UserError(f"label: {name!r} is said to be real and fake")
    return {**LABEL_NAMES, **given}


def folder_label(path: str, names: Mapping[str, int]) -> int | None:
    """The label that the nearest folder of that name above a file gives it; None where there is none."""
    folders = path.lower().replace("\\", "/").split("/")[:-1]
    return next((names[folder] for folder in reversed(folders) if folder in names), None)
