"""Which objects of a listing are images to scan, by the patterns and extensions of their names."""

import mimetypes
import re
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fakescan.sources.reading import LeftOut, LeftOutReason
from fakescan.storage.url import redact
from fakevlm.errors import UserError

IMAGE_EXTENSIONS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".avif", ".mpo"),
    *(".heic", ".heif", ".hif"),
)
"""Names that are taken for images unless the user says otherwise."""

_UNREGISTERED = """
    .md .rst .log .yaml .yml .toml .ini .cfg .conf .properties .lock .jsonl .ndjson .geojson .sql .bib .ipynb .adoc
    .rs .go .java .kt .swift .rb .php .lua .r .jl .scala .ts .tsx .jsx .cc .cpp .cxx .hpp .cu .cmake .proto .ps1 .bash
    .parquet .arrow .feather .avro .orc .npy .npz .pkl .pickle .mat .hdf5 .tfrecord .tfrecords .mdb .lmdb .db .sqlite
    .sqlite3 .rds .dta .sav .xlsx .xlsm .xlsb .docx .pptx .odt .ods .odp .epub .lance .crc .idx .shp .dbf .gpkg
    .safetensors .pt .pth .ckpt .onnx .gguf .tflite .pb .msgpack .caffemodel
    .7z .rar .zst .lz4 .lz .lzma .sz .tbz .tzst .iso .dmg .deb .rpm .whl .jar .apk .egg .gem
    .mkv .flv .wmv .m4v .m4a .mts .m2ts .vob .mxf .ogv .ogg .oga .flac .wma .ttf .otf .woff .woff2 .eot
    .md5 .sha1 .sha256 .sha512 .asc .sig .pem .crt .key .xmp .aae .url .lnk
    .psd .psb .xcf .kra .jxl .jp2 .j2k .jpx .exr .hdr .tga .dds .icns .cur .dcm .nii .fits
    .dng .nef .nrw .cr2 .cr3 .arw .srf .sr2 .orf .rw2 .raf .pef .srw .3fr .erf .mef .mos .iiq .kdc .dcr .x3f
"""
"""What `mimetypes` lacks. Pictures that are not read are among it: a camera's raw file begins like TIFF."""

_MAGIC = re.compile(r"[*?\[]")
_BRACES = re.compile(r"\{([^{}]*(?:,|\.\.)[^{}]*)\}")
_RANGE = re.compile(r"^(\d+)\.\.(\d+)$")
_EXTENSION = r"(?P<extension>\.[^./]+)?$"
_MACOS = r"(^|/)(\._[^/]*|\.DS_Store|__MACOSX/.*)$"
_MEMBER = r"(?s)^tar://(.*?)::(.*)$"
_PARQUET_ROW = r"(?i)(\.parquet)#row=\d+(&image=\d+)?(&column=[^&#]*)?$"
_MAX_BRACES = 100_000


def _other_extensions() -> frozenset[str]:
    registry = mimetypes.MimeTypes()  # its own table: with what a machine's files add, listings would differ
    known = {*registry.types_map[0], *registry.types_map[1], *registry.encodings_map, *registry.suffix_map}
    unspecific = {".bin"}
    return frozenset({name.lower() for name in known} | {*_UNREGISTERED.split()}) - {*IMAGE_EXTENSIONS, *unspecific}


OTHER_EXTENSIONS = _other_extensions()
"""Extensions, in lower case, of what is known to be no image that is read."""


class NameKind(IntEnum):
    """What a name says of an object."""

    OTHER = 0
    """No image, or none that was asked for."""
    IMAGE = 1
    CONTAINER = 2
    UNSAID = 3
    """Nothing: it has no extension, or an unknown one."""


@dataclass(frozen=True)
class NameFilter:
    """Keeps the names that match one of the `globs`, if there are any, and none of the `excludes`, and are images.

    Images are names with one of the `extensions` that were asked for, or all with `every`. Where none were asked for,
    `by_content` takes those of `IMAGE_EXTENSIONS` and leaves names that say nothing to their content; without it every
    name is taken. `anchor` is a pattern that must match as well: the one in the source itself.
    """

    globs: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    extensions: tuple[str, ...] | None = None
    every: bool = False
    by_content: bool = False
    anchor: str = ""
    against: Literal["name", "address", "member"] = "name"
    """What patterns are matched against: the name below the source, a whole address, or the name in a tar file."""

    @staticmethod
    def of(
        globs: list[str] | None, extensions: tuple[str, ...] | None, excludes: list[str] | None = None
    ) -> "NameFilter":
        """From the user's settings, None where there are none. Raises UserError for what is no pattern."""
        for setting, patterns in (("glob", globs), ("exclude", excludes)):
            for pattern in patterns or ():
                _check_pattern(setting, pattern)
        every = extensions is not None and not {"*", "any"}.isdisjoint(extensions)
        if every:
            extensions = None
        if extensions is not None:
            extensions = tuple(name.lower() if name[:1] in ("", ".") else f".{name.lower()}" for name in extensions)
        by_content = not every and extensions is None and not globs
        return NameFilter(tuple(globs or ()), tuple(excludes or ()), extensions, every, by_content)

    @property
    def asked(self) -> bool:
        """Whether the user asked for certain names."""
        return bool(self.globs) or self.extensions is not None or self.every

    def within(self, pattern: str) -> "NameFilter":
        """The same for a source that is a pattern, which takes whatever it matches unless extensions are asked for."""
        return replace(self, anchor=pattern, by_content=False)

    def members(self, *, named: bool) -> "NameFilter":
        """The same for what is inside a tar file: one `named` in full, or one that the globs have chosen."""
        by_content = self.extensions is None and not self.every
        globs = self.globs if named else ()
        return replace(self, globs=globs, anchor="", by_content=by_content, against="member")

    def addresses(self, *, named: bool) -> "NameFilter":
        """The same for the addresses in a list: one `named` in full, or one that the globs have chosen.

        Every address is taken unless extensions are asked for, since many end in none at all.
        """
        globs = self.globs if named else ()
        return replace(self, globs=globs, anchor="", by_content=False, against="address")

    @property
    def name_start(self) -> str:
        """Prefix of every matching name, so that a store need not list the others."""
        magic = _MAGIC.search(self.anchor)
        return self.anchor[: magic.start()] if magic else self.anchor

    def apply(self, table: pa.Table, root: str, left_out: LeftOut) -> pa.Table:
        """The entries to keep. `root` is what all URIs begin with, before the names; the others are counted.

        Names that say nothing are kept: whoever calls has looked at the content, or takes them anyway.
        """
        if self.against == "address" and not self.asked:  # chosen one by one, so only what is excluded is left out
            return self._matching(table, root, left_out)
        table = self.matching(table, root, left_out)
        kinds = self.kinds(table)
        keep = (kinds == NameKind.IMAGE) | (kinds == NameKind.UNSAID)
        return leave_out(table, keep, LeftOutReason.EXTENSION, left_out)

    def matching(self, table: pa.Table, root: str, left_out: LeftOut) -> pa.Table:
        """The entries that the patterns let pass, without metadata; the others are counted."""
        return self._matching(without_metadata(table, left_out), root, left_out)

    def kinds(self, table: pa.Table, containers: str | None = None) -> NDArray[np.int8]:
        """The `NameKind` of each entry; containers are those whose URI a regular expression matches.

        A container is an image only if its extension was asked for.
        """
        kinds = np.full(table.num_rows, NameKind.IMAGE, np.int8)
        asked_for = np.zeros(table.num_rows, np.bool_)
        if self.extensions is not None:
            asked_for = _mask(pc.is_in(extensions_of(table), value_set=pa.array(self.extensions, pa.string())))
            kinds[~asked_for] = NameKind.OTHER
        elif self.by_content:
            found = extensions_of(table)
            image = _mask(pc.is_in(found, value_set=pa.array(IMAGE_EXTENSIONS)))
            if not image.all():
                other = _mask(pc.is_in(found, value_set=pa.array(sorted(OTHER_EXTENSIONS))))
                kinds[~image] = np.where(other[~image], NameKind.OTHER, NameKind.UNSAID)
        if containers is not None:
            kinds[_mask(pc.match_substring_regex(table["uri"], containers)) & ~asked_for] = NameKind.CONTAINER
        return kinds

    def _matching(self, table: pa.Table, root: str, left_out: LeftOut) -> pa.Table:
        if not self.globs and not self.anchor and not self.excludes:
            return table
        names = self._names(table, root)
        keep = pa.chunked_array([pa.array(np.ones(table.num_rows, np.bool_))])
        if self.anchor:
            keep = pc.match_substring_regex(names, f"^{translate(self.anchor)}$")
        if self.globs:
            keep = pc.and_(keep, pc.match_substring_regex(names, self._expression(self.globs)))
        if self.excludes:
            keep = pc.and_not(keep, pc.match_substring_regex(names, self._expression(self.excludes)))
        return _kept(table, keep, LeftOutReason.PATTERN, left_out)

    def _names(self, table: pa.Table, root: str) -> pa.ChunkedArray:
        if self.against == "member":
            names = pc.replace_substring_regex(table["uri"], _MEMBER, r"\1")
            return pc.replace_substring_regex(names, r"^(\./|/)+", "")
        if self.against == "address":  # a member of a tar file is called as if that were a folder
            names = pc.replace_substring_regex(_without_query(table["uri"]), _MEMBER, r"\2/\1")
            return pc.replace_substring_regex(names, _PARQUET_ROW, r"\1")
        return pc.replace_substring_regex(table["uri"], f"^{re.escape(root)}/*", "") if root else table["uri"]

    def _expression(self, patterns: tuple[str, ...]) -> str:
        start = "(^|/)" if self.against == "address" else "^"
        return "|".join(
            f"{start if '/' in pattern else '(^|/)'}{translate(pattern.lstrip('/'))}$" for pattern in patterns
        )


def _check_pattern(setting: str, pattern: str) -> None:
    """Raises UserError, naming the setting, for a pattern that nothing can match, or that is none."""
    if not pattern.strip("/"):
        raise UserError(f"{setting}: {pattern!r} is no pattern of names; write one such as '*.jpg' or 'thumbs/**'")
    try:
        pc.match_substring_regex(pa.array([""]), translate(pattern))
    except pa.ArrowInvalid:
        raise UserError(f"{setting}: {pattern!r} is no pattern; a [ begins a set of letters such as [a-z]") from None


def without_metadata(table: pa.Table, left_out: LeftOut) -> pa.Table:
    """The entries without what macOS leaves beside files: `._NAME`, `.DS_Store` and folders called `__MACOSX`."""
    paths = pc.replace_substring_regex(table["uri"], _MEMBER, r"\1")
    return _kept(table, pc.invert(pc.match_substring_regex(paths, _MACOS)), LeftOutReason.HIDDEN, left_out)


def leave_out(table: pa.Table, keep: NDArray[np.bool_], reason: LeftOutReason, left_out: LeftOut) -> pa.Table:
    """The entries that are kept; the others are counted, also by their extension."""
    if keep.all():
        return table
    counts = pc.value_counts(extensions_of(table.filter(pa.array(~keep)))).to_pylist()
    left_out.add_extensions({item["values"]: item["counts"] for item in counts})
    return _kept(table, pa.chunked_array([pa.array(keep)]), reason, left_out)


def _kept(table: pa.Table, keep: pa.ChunkedArray, reason: LeftOutReason, left_out: LeftOut) -> pa.Table:
    """The entries that are kept; the others are counted."""
    if lost := table.num_rows - (pc.sum(keep).as_py() or 0):
        first = pc.index(keep, False).as_py()
        left_out.add(reason, redact(table["uri"][first].as_py()), lost)
    return table.filter(keep) if lost else table


def _mask(found: pa.ChunkedArray) -> NDArray[np.bool_]:
    return np.asarray(found.to_numpy(), np.bool_)


def extensions_of(table: pa.Table) -> pa.ChunkedArray:
    """The file name extension of each URI in lower case, with its dot; empty if there is none. Queries do not count."""
    paths = pc.replace_substring_regex(_without_query(table["uri"]), _MEMBER, r"\1")
    return pc.utf8_lower(pc.struct_field(pc.extract_regex(paths, _EXTENSION), [0]))


def _without_query(uris: pa.ChunkedArray) -> pa.ChunkedArray:
    web = pc.match_substring_regex(uris, r"^(?i)https?://")
    return pc.if_else(web, pc.replace_substring_regex(uris, r"[?#].*$", ""), uris)


def extension_of(path: str) -> str:
    """The file name extension of one path, in lower case, with its dot; empty if there is none."""
    _, dot, extension = path.rpartition("/")[2].rpartition(".")
    return f".{extension}".lower() if dot and extension else ""


def says_nothing(path: str) -> bool:
    """Whether the name of a file tells neither an image nor anything else, as `NameKind.UNSAID` of one path."""
    found = extension_of(path)
    return found not in IMAGE_EXTENSIONS and found not in OTHER_EXTENSIONS and re.search(_MACOS, path) is None


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
