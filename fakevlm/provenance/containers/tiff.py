"""A TIFF is its own EXIF block, with XMP, IPTC and manifests under tags of their own."""

from fakevlm.provenance.containers.metadata import FileMetadata
from fakevlm.provenance.exif import read_tags

_XMP, _IPTC, _PHOTOSHOP, _C2PA = 0x02BC, 0x83BB, 0x8649, 0xCD41


def walk(data: bytes, found: FileMetadata) -> None:
    """Collects the metadata of the first page."""
    tags = read_tags(data)
    if packet := tags.values.get(_XMP):
        found.add_xmp(packet)
    for tag in (_IPTC, _PHOTOSHOP):
        if block := tags.values.get(tag):
            found.add_iim(block)
    found.has_manifest = _C2PA in tags.numbers
    found.add_tags(tags)
