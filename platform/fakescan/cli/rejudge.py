"""`fakescan rejudge`: verdicts of a finished run with another threshold or calibration."""

from typing import Any

import click

from fakescan.cli.store_flags import with_store


@click.command()
@click.argument("run")
@click.option("-o", "--output", required=True, metavar="URL", help="Folder or URL prefix of the new run.")
@click.option("--threshold", type=float, metavar="P", help="Score from which an image counts as fake.")
@click.option("--calibration", metavar="FILE", help="File or URL that `fakescan calibrate` wrote.")
@with_store("output", "both runs")
def rejudge(run: str, output: str, threshold: float | None, calibration: str | None, **flags: Any) -> None:
    """Write verdicts of the finished RUN anew, from its logits, into a new run.

    Nothing is fetched or judged again. RUN stays as it is, and `fakescan verify` proves the new one.
    """
    from fakescan.cli.flags import store_from_flags
    from fakescan.engine.judging_options import read_calibration, with_threshold
    from fakescan.run.folder import RunFolder
    from fakescan.run.rejudge import rejudge as make
    from fakescan.storage.preflight import check_readable, check_writable
    from fakevlm.errors import UserError

    if threshold is None and calibration is None:
        raise UserError("threshold: name what is to change, with --threshold or --calibration")
    if threshold is not None and not 0 < threshold < 1:
        raise UserError(f"threshold: {threshold:g} does not lie between 0 and 1")
    store = store_from_flags("output", flags)
    check_readable(run, store)
    folder = RunFolder(run, store)
    stored = folder.open().identity.ask.calibration if calibration is None else read_calibration(calibration, store)
    check_writable(output, store)
    result = make(folder, RunFolder(output, store), with_threshold(stored, threshold))
    print(f"results: {output.rstrip('/')}/parts/*.parquet   (run {result.run.run_id}, from {result.run.rejudged_from})")
    changed = sum(result.changed.values())
    print(f"rows: {result.run.rows:,}, of which {changed:,} have another verdict")
    for (before, now), count in result.changed.most_common():
        print(f"  {before} -> {now:<12} {count:>8,}")
    if result.unexplained:
        print(f"{result.unexplained:,} rows have no explanation of their verdict: only judging again would give one")
