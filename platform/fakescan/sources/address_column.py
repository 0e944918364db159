"""Which column of a list holds the addresses of the images: by its name and by what its first values look like."""

import re
from collections.abc import Sequence

from fakescan.sources.filters.name_filter import IMAGE_EXTENSIONS
from fakescan.sources.reading import Reading
from fakevlm.errors import UserError

SAMPLE_ROWS = 100
"""Rows whose values are looked at."""

_NAMES = (
    *("image_url", "image_uri", "image_path", "image_file", "image_file_name", "img_url", "img_path"),
    *("image", "img", "picture", "photo"),
    *("uri", "url", "path", "file_path", "file_name", "file", "src", "link"),
)
_SPEAKS_OF_IMAGES = re.compile(r"(image|img|photo|picture)\w*(url|uri|path|file|filename|link|src|href|location)$")
_IMAGE_NAMES = 11
"""So many of `_NAMES` speak of an image; the others may be addresses of a page."""

_IMAGE_ADDRESS = re.compile(rf"({'|'.join(map(re.escape, IMAGE_EXTENSIONS))})([?#].*)?$", re.IGNORECASE)
_ADDRESS = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://[^\s]|^[^\s]*[^\s/]/[^\s/]|^[^\s]*\.[A-Za-z0-9]{1,5}$")
_BASE64 = re.compile(r"^(data:[^,]*,)?[A-Za-z0-9+/\s]{200,}={0,2}\s*$")
_MAX_NAMES = 20
_MAX_ALTERNATIVES = 5
_MAX_LENGTH = 2_048
"""Characters; longer addresses are read, but make no column likelier."""


def plain(name: str) -> str:
    """A column's name without capitals, blanks and punctuation."""
    return re.sub(r"[\W_]+", "", name.casefold())


_RANKS = {plain(name): rank for rank, name in enumerate(_NAMES)}


def name_rank(name: str) -> int | None:
    """Place in the order of likely names, the smaller the likelier; None for a name that says nothing of addresses."""
    short = plain(name)
    if short in _RANKS:
        return _RANKS[short]
    return _IMAGE_NAMES if _SPEAKS_OF_IMAGES.search(short) else None


def is_image_address(value: str) -> bool:
    """Whether it ends as the name of an image does, and has no blanks that a sentence would have."""
    return len(value) < _MAX_LENGTH and _IMAGE_ADDRESS.search(value.strip()) is not None


def looks_like_address(value: str) -> bool:
    """Whether it has the form of a URL or path, or ends as the name of an image does."""
    value = value.strip()
    return len(value) < _MAX_LENGTH and (_ADDRESS.search(value) is not None or is_image_address(value))


def are_addresses(values: Sequence[str]) -> bool:
    """Whether bytes, decoded as far as they can be, are addresses for the most part."""
    return 2 * sum("\0" not in value and looks_like_address(value) for value in values) > len(values)


def names_columns(line: str) -> bool:
    """Whether the first line of a text is a header rather than an address."""
    names = re.split(r"[,;|\t]", line)
    if len(names) == 1 and plain(line)[-3:] not in ("url", "uri"):  # a file may well be called `image`
        return False
    return not looks_like_address(line) and any(name_rank(name) is not None for name in names)


def is_inline_image(value: str) -> bool:
    """Whether it is the image itself, as base64 text or a `data:` URI."""
    return value.startswith("data:image/") or _BASE64.search(value[:_MAX_LENGTH]) is not None


def shown(names: Sequence[str]) -> str:
    """The names of columns for a message."""
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return f"{[name[:50] for name in names[:_MAX_NAMES]]}{more}"


def alternatives(names: Sequence[str]) -> str:
    """The names of columns that were not chosen, for a message."""
    more = [f"{len(names) - _MAX_ALTERNATIVES} more"] if len(names) > _MAX_ALTERNATIVES else []
    return " or ".join([*(repr(name) for name in names[:_MAX_ALTERNATIVES]), *more])


def choose_column(
    names: Sequence[str], samples: Sequence[Sequence[object] | None], list_name: str, reading: Reading
) -> int:
    """Index of the column with the addresses: the one that was named, else the likeliest.

    `samples`: the first values of each column, None for one of a type that addresses are not of. A choice between
    several is noted. Raises `UserError` when there is none.
    """
    if reading.column is not None:
        return _named(reading.column, names, samples, list_name, reading)
    ranks = {index: rank for index, name in enumerate(names) if (rank := name_rank(name)) is not None}
    likely = {index: _texts(samples[index]) for index in ranks if samples[index] is not None}
    inline = [index for index, texts in likely.items() if texts and all(map(is_inline_image, texts))]
    if inline and len(inline) == len(likely):
        raise UserError(
            f"column {names[inline[0]]!r} of {list_name} holds the images themselves as text (base64), not their "
            "addresses: store them as files, or as bytes in a Parquet file"
        )
    enough = max((len(texts) for index, texts in likely.items() if index not in inline), default=0) / 2
    order = sorted(
        (index for index in likely if index not in inline),
        key=lambda index: (-_likelihood(names[index], likely[index], enough), ranks[index], index),
    )
    if not order:
        raise _no_column(names, samples, list_name)
    chosen, *others = order
    if others:
        reading.note(
            f"addresses are read from column {names[chosen]!r}, not from "
            f"{alternatives([names[index] for index in others])}; --column chooses"
        )
    return chosen


def _named(
    column: str, names: Sequence[str], samples: Sequence[Sequence[object] | None], list_name: str, reading: Reading
) -> int:
    if column not in names:
        raise UserError(f"{list_name} has no column {column!r}: its columns are {shown(names)}")
    index = names.index(column)
    if samples[index] is None:
        raise UserError(f"column {column!r} of {list_name} holds no text, so no addresses")
    if names.count(column) > 1:
        reading.note(f"{names.count(column)} columns are called {column!r}: the first is read")
    texts = _texts(samples[index])
    if texts and all(map(is_inline_image, texts)):
        raise UserError(f"column {column!r} of {list_name} holds the images themselves as text, not their addresses")
    return index


def _texts(sample: Sequence[object] | None) -> list[str]:
    return [value for value in sample or () if isinstance(value, str) and value.strip()]


def _likelihood(name: str, texts: list[str], enough: float) -> int:
    """2 for image addresses, 1 for what may be addresses or is not known, 0 for what looks like anything else."""
    if not texts or len(texts) < enough:
        return 0 if enough else 1
    images = sum(map(is_image_address, texts))
    vouched = (name_rank(name) or 0) <= _IMAGE_NAMES and sum("://" in text for text in texts) * 2 > len(texts)
    if images * 2 > len(texts) or vouched:
        return 2
    return int(sum(map(looks_like_address, texts)) * 2 > len(texts))


def _no_column(names: Sequence[str], samples: Sequence[Sequence[object] | None], list_name: str) -> UserError:
    if any("://" in name or is_image_address(name) for name in names):
        return UserError(
            f"{list_name} has no header: its first line holds an address. Write the names of the columns above it, "
            "such as uri, or name a list of nothing but addresses .txt"
        )
    message = f"{list_name} has no column of addresses: its columns are {shown(names)}"
    for name, sample in zip(names, samples, strict=True):
        texts = _texts(sample)
        if texts and all(map(looks_like_address, texts)):
            return UserError(f"{message}; --column {name!r} looks like one")
    return UserError(f"{message}; name one uri, url, path or image_url, or choose with --column")
