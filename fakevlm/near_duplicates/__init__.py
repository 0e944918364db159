"""Pictures that look alike: perceptual hashes, pairs of two sets, clusters of one."""

from typing import Final

LIMIT: Final = 24
"""Bits of 256 in which two of `phash`'s hashes of one picture may differ.

Of copies of our sample images, saved anew with JPEG quality 70, at 512 pixels with quality 40, at half size, 1.2 times
as bright or in grey, each was within 20; of different pictures the nearest two differed in 104.
"""
