"""The first step of a listing: folders, found level by level until there are enough to keep all threads busy."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa

from fakescan.sources.listers.ordered_listing import Segment

LISTERS = 16
"""Listing requests at once."""

_SPLIT_SEGMENTS = 4 * LISTERS
_SPLIT_LEVELS = 6

Split = tuple[pa.Table, list[str]]
"""What is directly in a folder, and the folders in it."""


def split_root(root: str, split: Callable[[str], Split | None]) -> list[Segment]:
    """The root as segments in the order of folder and name. `split` returns None for what is listed as a whole."""
    segments = [Segment(root)]
    whole: set[str] = set()
    with ThreadPoolExecutor(LISTERS, thread_name_prefix="fakescan-split") as pool:
        for _ in range(_SPLIT_LEVELS):
            asked = [one.prefix for one in segments if one.table is None and one.prefix not in whole]
            unlisted = sum(one.table is None for one in segments)
            if not asked or unlisted >= _SPLIT_SEGMENTS:
                break
            answers = dict(zip(asked, pool.map(split, asked), strict=True))
            whole |= {prefix for prefix, answer in answers.items() if answer is None}
            deeper: list[Segment] = []
            for segment in segments:
                answer = None if segment.table is not None else answers.get(segment.prefix)
                if answer is None:
                    deeper.append(segment)
                    continue
                table, folders = answer
                if table.num_rows:
                    deeper.append(Segment("", table=table))
                deeper += [Segment(folder) for folder in folders]
            segments = deeper
    return segments
