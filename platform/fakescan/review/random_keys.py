"""A number for each image that decides about its turn: the same for the same address and seed, in every run."""

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

_DIGITS = 16


def random_keys(rows: pa.Table, seed: int) -> NDArray[np.uint64]:
    """uint64[rows], as good as random. Needs `source_key` and `uri`.

    Images with the lowest keys are drawn: so a larger sample holds the smaller one, and a scan of the same bucket with
    another model gives a sample with many of the same images, whose labels are there already (permanent random numbers,
    Brewer, Early and Joyce 1972).
    """
    keys = rows["source_key"]
    if keys.null_count or not pc.all(pc.match_substring_regex(keys, "^[0-9a-f]{64}$"), min_count=0).as_py():
        known = keys.to_pylist()
        uris = rows["uri"].to_pylist()
        digits = [_digits(key, uri) for key, uri in zip(known, uris, strict=True)]
    else:
        digits = [key[:_DIGITS] for key in keys.to_pylist()]
    numbers = np.frombuffer(bytes.fromhex("".join(digits)), np.dtype(">u8")).astype(np.uint64)
    return mixed(numbers ^ mixed(np.array([seed % 2**64], np.uint64)))


def mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Steele, Lea and Flood's splitmix64 (2014): neighbours become strangers."""
    with np.errstate(over="ignore"):
        z = numbers + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def _digits(key: str | None, uri: str) -> str:
    """The key of an image; a run from before there were keys has those of its addresses."""
    if key is not None and len(key) == 64 and set(key) <= set("0123456789abcdef"):
        return key[:_DIGITS]
    return hashlib.sha256(uri.encode(errors="surrogateescape")).hexdigest()[:_DIGITS]
