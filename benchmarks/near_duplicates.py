"""Near-duplicates among millions of hashes: time, memory, and how many of the copies are found.

    python benchmarks/near_duplicates.py --rows 1000000            # half a minute
    python benchmarks/near_duplicates.py                           # 10,000,000, some minutes, 2 GB

The hashes are invented, with the kinds of copies that buckets have: half of the images are no copy of any other; the
others are of pictures with 2 to 20,000 images, each of which differs from its picture in 0 to 24 bits. With `--alike`
pictures are not independent: each is of one of 2,000 layouts, as product shots and screenshots are, and has three of
four bits from it, which makes sorting by bits harder.

- `clusters`: `picture_clusters`, in this process: seconds, CPU seconds, and how far the process's peak memory rises
- `copies`: of images that differ in so many bits from the picture that they were made of, the share that ends up in
  one cluster with it
- `brute force`: some hashes that are alone are compared with each of the others; what is within the limit was missed
"""

import argparse
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import Report
from fakevlm.near_duplicates import LIMIT
from fakevlm.near_duplicates.clusters import picture_clusters

LAYOUTS = 2_000
MAX_COPIES = 20_000
COMPARED = 300
"""Lone hashes that are compared with all others."""
LOW_FOUND = 98.0
"""Of copies at all distances, %."""
PEAK_BYTES = 250.0
"""Ceiling of bytes for each hash, those of the hashes left out."""


def invented(rows: int, *, alike: bool, seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int8]]:
    """Hashes, uint8[rows, 32]; for each the row of the picture that it is a copy of; the bits in which it differs."""
    rng = np.random.default_rng(seed)
    originals = _originals(rows, rng)
    hashes = rng.integers(0, 256, (rows, 32), np.uint8)
    if alike:
        layouts = rng.integers(0, 256, (LAYOUTS, 32), np.uint8)
        which = rng.integers(0, LAYOUTS, rows)
        for start in range(0, rows, 2**18):
            some = slice(start, start + 2**18)
            shape = hashes[some].shape
            own = rng.integers(0, 256, shape, np.uint8) & rng.integers(0, 256, shape, np.uint8)  # 1 in 4 bits
            hashes[some] = (layouts[which[some]] & ~own) | (hashes[some] & own)
    bits = np.zeros(rows, np.int8)
    copies = np.flatnonzero(originals != np.arange(rows))
    # Copies of equal bytes are common; the others differ in few bits, most of them.
    bits[copies] = np.where(rng.random(len(copies)) < 0.3, 0, np.minimum(LIMIT, rng.geometric(0.12, len(copies))))
    for start in range(0, len(copies), 2**17):
        block = copies[start : start + 2**17]
        flipped = np.zeros((len(block), 256), np.bool_)
        for step in range(LIMIT):  # some bits are drawn twice: then it is one less
            chosen = np.flatnonzero(bits[block] > step)
            flipped[chosen, rng.integers(0, 256, len(chosen))] = True
        hashes[block] = hashes[originals[block]] ^ np.packbits(flipped, axis=1)
        bits[block] = flipped.sum(axis=1)
    return hashes, originals, bits


def _originals(rows: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """For each row the row of its picture's first image: half are alone, the others in pictures of all sizes."""
    alone = rows // 2
    sizes = list[int]()
    left = rows - alone
    while left:
        # As many images in pictures of 2 as of 20, 200 and so on.
        size = min(left, int(2 * 10 ** rng.uniform(0, np.log10(min(MAX_COPIES, rows) / 2))))
        sizes += [size] * min(max(1, 20_000 // size), left // size)
        left = rows - alone - sum(sizes)
    groups = np.repeat(np.arange(alone + len(sizes)), [1] * alone + sizes)
    place = rng.permutation(rows)
    firsts = np.full(len(groups), rows, np.int64)
    np.minimum.at(firsts, groups, place)
    originals = np.empty(rows, np.int64)
    originals[place] = firsts[groups]
    return originals


def peak_bytes() -> int:
    """Most memory that this process has had since `forget_peak`."""
    return 1024 * int(re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[0])


def forget_peak() -> int:
    """Begin anew with the peak; returns what the process has now."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak_bytes()


def found(hashes: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The clusters; seconds, CPU seconds and the bytes by which the peak memory has risen."""
    began, cpu, before = time.monotonic(), time.process_time(), forget_peak()
    clusters = picture_clusters(hashes)
    costs = (time.monotonic() - began, time.process_time() - cpu, float(peak_bytes() - before))
    return clusters, np.array(costs)


def kept(folder: Path | None, name: str, make: Callable[[], tuple[NDArray[Any], ...]]) -> tuple[NDArray[Any], ...]:
    """Arrays that an earlier call has left in the folder, or else new ones."""
    file = None if folder is None else folder / f"{name}.npz"
    if file is not None and file.exists():
        with np.load(file) as there:
            return tuple(there[part] for part in there.files)
    arrays = make()
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez(file, *arrays)
    return arrays


def missed(hashes: NDArray[np.uint8], clusters: NDArray[np.int64], rng: np.random.Generator) -> tuple[int, int]:
    """Of some hashes that are alone how many have another within the limit, by comparing each with all."""
    alone = np.flatnonzero(np.bincount(clusters, minlength=len(clusters)) == 1)
    chosen = rng.choice(alone, min(COMPARED, len(alone)), replace=False)
    words = hashes.view(np.uint64)
    near = np.zeros(len(chosen), np.int64)
    for start in range(0, len(words), 2**16):
        some = words[start : start + 2**16]
        for number, row in enumerate(chosen):
            near[number] += int((np.bitwise_count(some ^ words[row]).sum(axis=1, dtype=np.int16) <= LIMIT).sum())
    return len(chosen), int((near > 1).sum())


def main() -> None:
    """Invent hashes, find their clusters, and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--alike", action="store_true", help="pictures of 2,000 layouts instead of independent ones")
    parser.add_argument("--folder", type=Path, help="keeps hashes and clusters, for a trial in several calls")
    parser.add_argument("--no-brute-force", action="store_true", help="leave the comparison with all out")
    settings = parser.parse_args()
    report = Report("near_duplicates", {"rows": settings.rows, "alike": settings.alike})
    print(f"{settings.rows:,} hashes\nmachine: {report.machine}\n", flush=True)
    hashes, originals, bits = kept(settings.folder, "hashes", lambda: invented(settings.rows, alike=settings.alike))
    clusters, measured = kept(settings.folder, "clusters", lambda: found(hashes))
    costs = [float(cost) for cost in measured]
    report.add(
        "clusters", seconds=costs[0], cpu_s=costs[1], bytes_a_hash=costs[2] / settings.rows,
        pictures=float(len(np.unique(clusters))), true_pictures=float(len(np.unique(originals))),
    )  # fmt: skip
    copies = originals != np.arange(settings.rows)
    together = clusters == clusters[originals]
    for low, high in ((0, 0), (1, 8), (9, 16), (17, 20), (21, LIMIT)):
        chosen = copies & (bits >= low) & (bits <= high)
        if chosen.any():
            report.add(
                f"copies, {low} to {high} bits", images=float(chosen.sum()), found=100 * float(together[chosen].mean())
            )
    report.add("copies, all", images=float(copies.sum()), found=100 * float(together[copies].mean()))
    far = 0
    for start in range(0, settings.rows, 2**18):
        some = slice(start, start + 2**18)
        far += int((np.bitwise_count(hashes[some] ^ hashes[clusters[some]]).sum(axis=1, dtype=np.int16) > LIMIT).sum())
    if not settings.no_brute_force:
        began = time.monotonic()
        compared, near = missed(hashes, clusters, np.random.default_rng(1))
        report.add("brute force", compared=float(compared), missed=float(near), seconds=time.monotonic() - began)
    report.require("bytes for each hash", costs[2] / settings.rows, PEAK_BYTES, at_least=False)
    report.require("images beyond the limit from their picture's first", float(far), 0, at_least=False)
    report.require("copies found, %", 100 * float(together[copies].mean()), LOW_FOUND)
    sys.exit(report.finish())


if __name__ == "__main__":
    main()
