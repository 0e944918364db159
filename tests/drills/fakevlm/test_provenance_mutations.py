"""Twenty thousand damaged files with metadata, in a process of their own: a record, soon, in no more memory."""

import json
import random
import resource
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from fakevlm.provenance import MAX_DETAIL, read
from tests.drills.fakevlm.test_image_mutations import mutated
from tests.image_bytes import picture, saved
from tests.odd_images import odd_images
from tests.provenance_files import JPEG, PNG, WEBP, claims
from tests.signed_files import GENERATED, Authority, Ingredient, Signer, action, of_ingredients

pytestmark = pytest.mark.unit

MUTATIONS = 20_000
MAX_SECONDS = 1.0
MAX_GROWTH = 40_000
"""KiB that the process may have grown by after the first fifth of the files."""


def signed() -> list[bytes]:
    """Files with manifests, in each format and with what a manifest may be made of."""
    authority = Authority.make()
    signer, expired = Signer(authority), Signer(authority, days=(-400, -100))
    files = {
        "JPEG": JPEG,
        "PNG": PNG,
        "WEBP": WEBP,
        "GIF": saved(picture(48, 32, "P"), "GIF"),
        "TIFF": saved(picture(48, 32), "TIFF"),
        "AVIF": saved(picture(48, 32), "AVIF"),
        "HEIF": saved(picture(48, 32), "HEIF"),
    }
    made = [signer.sign(file, format) for format, file in files.items()]
    chain = signer.sign(
        PNG,
        "PNG",
        [of_ingredients("c2pa.opened", 0), action("c2pa.edited", "compositeWithTrainedAlgorithmicMedia")],
        ingredients=[Ingredient(made[0], "JPEG"), Ingredient(made[1], "PNG", "componentOf")],
    )
    remote = signer.sign(JPEG, "JPEG", [GENERATED], remote="http://127.0.0.1:9/manifest.c2pa")
    taken = [signer.sign(file, format, [action("c2pa.created", "digitalCapture")]) for format, file in files.items()]
    return [*made, *taken, chain, remote, expired.sign(WEBP, "WEBP")]


def main() -> None:
    trust = Authority.make("Another").trust
    kinds = [signed(), [claim.file for claim in claims().values()], [odd.data for odd in odd_images()]]
    outcomes: Counter[str] = Counter()
    faults = []
    settled = 0
    for number in range(MUTATIONS):
        dice = random.Random(number)
        files = dice.choices(kinds, weights=(5, 4, 1))[0]
        data = mutated(files[dice.randrange(len(files))], dice)
        started = time.monotonic()
        found = read(data, trust=trust if number % 2 else None)
        seconds = time.monotonic() - started
        outcomes[found.provenance] += 1
        detail = json.loads(found.detail or "{}")
        outcomes[detail.get("c2pa", {}).get("state", "no manifest")] += 1
        if seconds > MAX_SECONDS or len((found.detail or "").encode()) > MAX_DETAIL:
            faults.append(f"{number}: {seconds:.1f} s")
        if number == MUTATIONS // 5:
            settled = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    growth = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - settled
    json.dump({"outcomes": outcomes, "faults": faults, "growth": growth}, sys.stdout)


def test_no_damage_ends_the_process_takes_long_or_gathers_memory() -> None:
    code = "from tests.drills.fakevlm.test_provenance_mutations import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(done.stdout)
    assert result["faults"] == []
    assert result["growth"] < MAX_GROWTH
    origins = ("ai_generated", "ai_edited", "captured", "none")
    states = ("untrusted_signer", "expired", "content_changed", "broken", "remote_only", "no manifest")
    assert min(result["outcomes"][name] for name in (*origins, *states)) > 20, result


def test_the_system_sees_no_connection(tmp_path: Path) -> None:
    """By the calls of the process to the kernel, the library's own code included."""
    program = shutil.which("strace")
    if program is None:
        pytest.skip("strace is not installed")
    calls = tmp_path / "calls"
    code = (
        "from fakevlm.provenance import read\n"
        "from tests.drills.fakevlm.test_provenance_mutations import Authority, signed\n"
        "trust = Authority.make().trust\n"
        "print([read(file, trust=trust).provenance for file in signed()])"
    )
    command = [program, "-f", "-e", "trace=network", "-o", str(calls), sys.executable, "-c"]
    done = subprocess.run([*command, code], capture_output=True, text=True, timeout=250)
    if done.returncode and "ptrace" in done.stderr:
        pytest.skip("processes may not be traced here")
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("ai_generated") >= 7
    assert "connect(" not in calls.read_text()
    # That one would be seen.
    control = "import socket; socket.socket().connect_ex(('127.0.0.1', 9))"
    subprocess.run([*command, control], check=True, timeout=60)
    assert "connect(" in calls.read_text()
