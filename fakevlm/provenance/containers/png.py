"""Text, EXIF, XMP and manifests in the chunks of a PNG, those after the pixels included."""

import binascii
import string

from fakevlm.provenance.containers.metadata import MAX_EXIF, MAX_TEXT, MAX_XMP, FileMetadata

_XMP = b"XML:com.adobe.xmp"
_RAW_PROFILE = b"Raw profile type "
_PROFILES = (b"xmp", b"exif", b"APP1", b"iptc", b"8bim")
_MAX_KEYWORD = 80


def walk(data: bytes, found: FileMetadata) -> None:
    """Collects the metadata. Checksums are not looked at, and a cut chunk is read as far as it goes."""
    at, size = 8, len(data)
    for _ in range(found.limits.pieces):
        if at + 8 > size:
            return
        length = int.from_bytes(data[at : at + 4])
        kind = data[at + 4 : at + 8]
        at += 8
        if kind == b"caBX":
            found.has_manifest = True
        elif kind == b"eXIf":
            found.add_exif(data[at : at + min(length, MAX_EXIF + 1)])
        elif kind in (b"tEXt", b"zTXt", b"iTXt"):
            _text(kind, data[at : at + min(length, MAX_XMP + 1024)], found)
        elif kind == b"IEND":
            return
        at += length + 4
    found.cut = True


def _text(kind: bytes, body: bytes, found: FileMetadata) -> None:
    keyword, zero, value = body[:_MAX_KEYWORD].partition(b"\0")
    if not zero:
        return
    if keyword.startswith(_RAW_PROFILE) and keyword[len(_RAW_PROFILE) :] not in _PROFILES:
        return
    value = body[len(keyword) + 1 :]
    limit = MAX_XMP if keyword == _XMP or keyword.startswith(_RAW_PROFILE) else MAX_TEXT
    packed = kind == b"zTXt"
    if packed:
        value = value[1:]
    elif kind == b"iTXt":
        packed = value[:1] == b"\x01"
        rest = value[2:].split(b"\0", 2)  # the language, the keyword in it, the text
        if len(rest) < 3:
            return
        value = rest[2]
    if packed:
        value = found.unpacked(value, limit)
    if keyword == _XMP:
        found.add_xmp(value)
    elif keyword.startswith(_RAW_PROFILE):
        _raw_profile(keyword[len(_RAW_PROFILE) :], value, found)
    else:
        found.add_text(keyword, value, utf8=kind == b"iTXt")


def _raw_profile(name: bytes, value: bytes, found: FileMetadata) -> None:
    """What ImageMagick writes: a name, a length and hexadecimal digits, each on lines of their own."""
    lines = value.strip().split(b"\n", 2)
    if len(lines) < 3:
        return
    digits = lines[2].translate(None, string.whitespace.encode())
    try:
        block = binascii.unhexlify(digits[: len(digits) & ~1])
    except binascii.Error:
        return
    if name == b"xmp":
        found.add_xmp(block)
    elif name in (b"exif", b"APP1"):
        if block.startswith(b"http://ns.adobe.com/xap/1.0/\0"):
            found.add_xmp(block[29:])
        else:
            found.add_exif(block)
    elif name in (b"iptc", b"8bim"):
        found.add_iim(block)
