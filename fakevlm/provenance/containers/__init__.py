"""Walks an image file's own structure to its metadata, within limits that no file can exceed."""

from fakevlm.provenance.containers.metadata import LIGHT, FileMetadata
from fakevlm.provenance.containers.walk import walk

__all__ = ["LIGHT", "FileMetadata", "walk"]
