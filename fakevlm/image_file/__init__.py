"""Reads an image file into an RGB Pillow image the right way up, or says what is wrong with it."""

from fakevlm.image_file.effort import Effort, decoding_effort
from fakevlm.image_file.reader import ImageFileContent, Reduced, read_image
from fakevlm.image_file.signature import FORMATS

__all__ = ["FORMATS", "Effort", "ImageFileContent", "Reduced", "decoding_effort", "read_image"]
