"""Prints the verdicts of a scan, one by one: `.venv/bin/python tools/show_results.py RUN`, as `make demo` does."""

import sys
from pathlib import PurePath

import pyarrow.dataset
from rich.console import Console
from rich.table import Table

from fakescan.run.folder import RunFolder
from fakescan.storage.store import Store
from fakevlm.reading import Meaning, finding
from fakevlm.verdict import Verdict


def main() -> None:
    """One line for each image: name, what its verdict is called, score, explanation."""
    meaning = RunFolder(sys.argv[1], Store()).open().known_meaning or Meaning.FULL
    columns = ["uri", "verdict", "score", "explanation", "error_code"]
    rows = pyarrow.dataset.dataset(f"{sys.argv[1]}/parts").to_table(columns=columns).to_pylist()
    table = Table("image", "verdict", "score", "explanation", box=None, pad_edge=False)
    for row in sorted(rows, key=lambda row: row["uri"]):
        score = "" if row["score"] is None else f"{row['score']:.2f}"
        verdict = finding(Verdict(row["verdict"]), meaning) if row["verdict"] else row["error_code"]
        text = row["explanation"] or ""
        table.add_row(PurePath(row["uri"]).name, verdict, score, text.removeprefix("This is a fake image. "))
    Console(highlight=False).print(table)


if __name__ == "__main__":
    main()
