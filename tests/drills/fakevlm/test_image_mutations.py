"""Twelve thousand damaged image files, in a process of their own: an image or an ImageError, soon, in little memory."""

import json
import random
import resource
import subprocess
import sys
import time
import warnings
from collections import Counter

import pytest

from fakevlm.errors import ImageError
from fakevlm.image_file import read_image
from tests.odd_images import odd_images

pytestmark = pytest.mark.unit

MUTATIONS = 12_000
MAX_SECONDS = 10.0
MAX_GROWTH = 300_000
"""KiB of memory that one file of a few kilobytes and at most a million pixels may add."""
VALUES = (0, 1, 127, 128, 255)


def mutated(data: bytes, dice: random.Random) -> bytes:
    """A few bytes changed, put in, taken out, or the end cut off; half the time among the first 600."""
    file = bytearray(data)
    for _ in range(dice.choice((1, 1, 2, 4, 16))):
        place = dice.randrange(max(1, len(file) if dice.random() < 0.5 else min(len(file), 600)))
        kind = dice.random()
        if kind < 0.7 and file:
            file[place] = dice.choice((*VALUES, dice.randrange(256), file[place] ^ 1 << dice.randrange(8)))
        elif kind < 0.8:
            del file[place : place + dice.randrange(8)]
        elif kind < 0.9:
            file[place:place] = dice.randbytes(dice.randrange(8))
        else:
            del file[place + 1 :]
    return bytes(file)


def main() -> None:
    warnings.simplefilter("ignore")
    files = [odd.data for odd in odd_images()]
    outcomes: Counter[str] = Counter()
    faults = []
    for number in range(MUTATIONS):
        dice = random.Random(number)
        data = mutated(files[dice.randrange(len(files))], dice)
        started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            content = read_image(data, max_pixels=1_000_000)
            outcomes["noted" if content.note else "read"] += 1
        except ImageError as error:
            outcomes[error.code] += 1
        growth = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        if time.monotonic() - started > MAX_SECONDS or growth > MAX_GROWTH:
            faults.append(f"{number}: {time.monotonic() - started:.1f} s, {growth} KiB")
    json.dump({"outcomes": outcomes, "faults": faults}, sys.stdout)


def test_no_damage_ends_the_process_takes_long_or_much_memory() -> None:
    code = "from tests.drills.fakevlm.test_image_mutations import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(done.stdout)
    assert result["faults"] == []
    assert sum(result["outcomes"].values()) == MUTATIONS
    assert min(result["outcomes"][name] for name in ("read", "noted", "truncated", "unsupported_format")) > 20


def test_damaged_jpeg_files_are_read_and_refused_as_by_pillow_alone() -> None:
    code = (
        "import warnings; warnings.simplefilter('ignore')\n"
        "from tests.jpeg_both_ways import compare\n"
        "from tests.odd_images import odd_images\n"
        "files = [odd.data for odd in odd_images() if odd.data.startswith(b'\\xff\\xd8')]\n"
        "found = compare(files, range(20_000))\n"
        "assert not found.different, found.different\n"
        "assert found.in_one_call > 2_000 and len(found.outcomes) >= 5, found\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-2000:]
