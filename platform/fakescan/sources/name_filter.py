"""Which objects of a listing are images to scan, by the patterns and extensions of their names."""

import re
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from fakescan.sources.reading import LeftOut, LeftOutReason
from fakescan.storage.url import redact
from fakevlm.errors import UserError

IMAGE_EXTENSIONS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".avif", ".mpo"),
    *(".heic", ".heif", ".hif"),
)
"""Names that are taken for images unless the user says otherwise."""

_MAGIC = re.compile(r"[*?\[]")
_BRACES = re.compile(r"\{([^{}]*(?:,|\.\.)[^{}]*)\}")
_RANGE = re.compile(r"^(\d+)\.\.(\d+)$")
_EXTENSION = r"(?P<extension>\.[^./]+)?$"
_MAX_EXTENSIONS = 50
_MACOS = r"(^|/)(\._[^/]*|\.DS_Store|__MACOSX/.*)$"
_MAX_BRACES = 100_000


@dataclass(frozen=True)
class NameFilter:
    """Keeps the names that match one of the `globs`, if there are any, and end in one of the `extensions`.

    `extensions` None takes every name. `anchor` is a pattern that must match as well: the one in the source itself.
    `asked`: whether the user asked for any of it.
    """

    globs: tuple[str, ...] = ()
    extensions: tuple[str, ...] | None = None
    anchor: str = ""
    asked: bool = True

    @staticmethod
    def of(globs: list[str] | None, extensions: tuple[str, ...] | None) -> "NameFilter":
        """From the user's settings, None where there are none."""
        asked = bool(globs) or extensions is not None
        if not asked:
            extensions = IMAGE_EXTENSIONS
        elif extensions is not None and "*" in extensions:
            extensions = None
        if extensions is not None:
            extensions = tuple(name.lower() if name[:1] in ("", ".") else f".{name.lower()}" for name in extensions)
        return NameFilter(tuple(globs or ()), extensions, asked=asked)

    def within(self, pattern: str) -> "NameFilter":
        """The same for a source that is a pattern, which takes whatever it matches unless extensions are asked for."""
        return replace(self, anchor=pattern, extensions=self.extensions if self.asked else None)

    def members(self) -> "NameFilter":
        """The same for what is inside the objects that matched."""
        asked_for = self.extensions if self.asked and self.extensions else None
        return NameFilter(extensions=asked_for or (None if self._takes_all else IMAGE_EXTENSIONS))

    @property
    def _takes_all(self) -> bool:
        return self.asked and self.extensions is None and not self.globs

    @property
    def name_start(self) -> str:
        """Prefix of every matching name, so that a store need not list the others."""
        magic = _MAGIC.search(self.anchor)
        return self.anchor[: magic.start()] if magic else self.anchor

    def apply(self, table: pa.Table, root: str, left_out: LeftOut) -> pa.Table:
        """The entries to keep. `root` is what all URIs begin with, before the names; the others are counted."""
        table = self._matching(without_metadata(table, left_out), root, left_out)
        if self.extensions is None:
            return table
        found = _extensions(table)
        keep = pc.is_in(found, value_set=pa.array(self.extensions, pa.string()))
        for item in pc.value_counts(found.filter(pc.invert(keep))).to_pylist():
            names = left_out.by_extension
            name = item["values"] if item["values"] in names or len(names) < _MAX_EXTENSIONS else "others"
            names[name] += item["counts"]
        return _kept(table, keep, LeftOutReason.EXTENSION, left_out)

    def apply_split(self, table: pa.Table, root: str, containers: str, left_out: LeftOut) -> tuple[pa.Table, pa.Table]:
        """Entries to keep, and apart from them those whose URI the regular expression `containers` matches.

        A container is kept as an image only if its extension was asked for.
        """
        table = self._matching(without_metadata(table, left_out), root, left_out)
        inside = pc.match_substring_regex(table["uri"], containers)
        if self.extensions is not None:
            inside = pc.and_not(inside, pc.is_in(_extensions(table), value_set=pa.array(self.extensions, pa.string())))
        images = replace(self, globs=(), anchor="").apply(table.filter(pc.invert(inside)), root, left_out)
        return images, table.filter(inside)

    def _matching(self, table: pa.Table, root: str, left_out: LeftOut) -> pa.Table:
        if not self.globs and not self.anchor:
            return table
        names = pc.replace_substring_regex(table["uri"], f"^{re.escape(root)}/*", "") if root else table["uri"]
        if self.anchor:
            keep = pc.match_substring_regex(names, f"^{translate(self.anchor)}$")
            table, names = _kept(table, keep, LeftOutReason.PATTERN, left_out), names.filter(keep)
        if self.globs:
            starts = [
                f"^{translate(glob.lstrip('/'))}$" if "/" in glob else f"(^|/){translate(glob)}$" for glob in self.globs
            ]
            table = _kept(table, pc.match_substring_regex(names, "|".join(starts)), LeftOutReason.PATTERN, left_out)
        return table


def without_metadata(table: pa.Table, left_out: LeftOut) -> pa.Table:
    """The entries without what macOS leaves beside files: `._NAME`, `.DS_Store` and folders called `__MACOSX`."""
    paths = pc.replace_substring_regex(table["uri"], r"(?s)^tar://(.*?)::.*$", r"\1")
    return _kept(table, pc.invert(pc.match_substring_regex(paths, _MACOS)), LeftOutReason.HIDDEN, left_out)


def _kept(table: pa.Table, keep: pa.ChunkedArray, reason: LeftOutReason, left_out: LeftOut) -> pa.Table:
    """The entries that are kept; the others are counted."""
    if lost := table.num_rows - (pc.sum(keep).as_py() or 0):
        first = pc.index(keep, False).as_py()
        left_out.add(reason, redact(table["uri"][first].as_py()), lost)
    return table.filter(keep) if lost else table


def _extensions(table: pa.Table) -> pa.ChunkedArray:
    """The file name extension of each URI in lower case, with its dot; empty if there is none. Queries do not count."""
    web = pc.match_substring_regex(table["uri"], r"^(?i)https?://")
    paths = pc.if_else(web, pc.replace_substring_regex(table["uri"], r"[?#].*$", ""), table["uri"])
    paths = pc.replace_substring_regex(paths, r"(?s)^tar://(.*?)::.*$", r"\1")
    return pc.utf8_lower(pc.struct_field(pc.extract_regex(paths, _EXTENSION), [0]))


def has_pattern(source: str) -> bool:
    """Whether the source contains `*`, `?` or `[`."""
    return _MAGIC.search(source) is not None


def split_pattern(source: str) -> tuple[str, str]:
    """The folder that a pattern is in, and the pattern below it."""
    magic = _MAGIC.search(source)
    start = source.rindex("/", 0, magic.start()) if magic and "/" in source[: magic.start()] else -1
    if source[: start + 1].endswith("://"):
        raise UserError(f"{source}: the bucket must be named in full, patterns begin after it")
    if start < 0:
        return ".", source
    return source[:start] or "/", source[start + 1 :]


def expand_braces(source: str) -> list[str]:
    """`a{08..10}` as a08, a09, a10 and `{x,y}` as x, y, as in a shell; anything else alone."""
    match = _BRACES.search(source)
    if match is None:
        return [source]
    numbers = _RANGE.match(match.group(1))
    if numbers:
        first, last = numbers.groups()
        if int(last) - int(first) >= _MAX_BRACES:
            raise UserError(f"{source}: the braces stand for more than {_MAX_BRACES} names")
        items = [str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)]
    elif "," in match.group(1):
        items = match.group(1).split(",")
    else:
        return [source]
    return [whole for item in items for whole in expand_braces(source[: match.start()] + item + source[match.end() :])]


def translate(pattern: str) -> str:
    """The RE2 regular expression of a shell pattern: `*` and `?` stay within a folder, `**` does not."""
    result, rest = "", pattern
    while rest:
        if rest.startswith("**/"):
            result, rest = f"{result}(?:.*/)?", rest[3:]
        elif rest.startswith("**"):
            result, rest = f"{result}.*", rest[2:]
        elif rest[0] == "*":
            result, rest = f"{result}[^/]*", rest[1:]
        elif rest[0] == "?":
            result, rest = f"{result}[^/]", rest[1:]
        elif rest[0] == "[" and "]" in rest[2:]:
            end = rest.index("]", 2)
            chosen = rest[1:end].replace("\\", r"\\").replace("[", r"\[")
            result, rest = f"{result}[{'^' + chosen[1:] if chosen[0] == '!' else chosen}]", rest[end + 1 :]
        else:
            result, rest = result + re.escape(rest[0]), rest[1:]
    return f"(?s:{result})"
