"""Prints the verdicts of a scan, one by one: `.venv/bin/python tools/show_results.py RUN`, as `make demo` does."""

import sys
from pathlib import PurePath

import pyarrow.dataset
from rich.console import Console
from rich.table import Table


def main() -> None:
    """One line for each image: name, verdict, score, explanation."""
    columns = ["uri", "verdict", "score", "explanation", "error_code"]
    rows = pyarrow.dataset.dataset(f"{sys.argv[1]}/parts").to_table(columns=columns).to_pylist()
    table = Table("image", "verdict", "score", "explanation", box=None, pad_edge=False)
    for row in sorted(rows, key=lambda row: row["uri"]):
        score = "" if row["score"] is None else f"{row['score']:.2f}"
        verdict, text = row["verdict"] or row["error_code"], row["explanation"] or ""
        table.add_row(PurePath(row["uri"]).name, verdict, score, text.removeprefix("This is a fake image. "))
    Console(highlight=False).print(table)


if __name__ == "__main__":
    main()
