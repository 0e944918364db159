"""`fakescan rejudge`: verdicts of a finished run with another threshold or calibration."""

from typing import Any

import click

from fakescan.cli.options.command import Command
from fakescan.cli.options.option import option
from fakescan.cli.options.store_flags import with_store
from fakescan.cli.options.value_type import Text


@click.command(
    cls=Command,
    examples=[("Call fewer images fake", "fakescan rejudge s3://bucket/audit -o s3://bucket/strict --threshold 0.9")],
)
@click.argument("run", type=Text(path="dir"))
@option("-o", "--output", required=True, metavar="URL", help="Folder or URL prefix of the new run.")
@option("--threshold", type=float, metavar="P", unset="as in the run", help="Score from which an image counts as fake.")
@option("--calibration", metavar="FILE", unset="the run's", help="File or URL that `fakescan calibrate` wrote.")
@with_store("output", "both runs")
def rejudge(run: str, output: str, threshold: float | None, calibration: str | None, **flags: Any) -> None:
    """Write verdicts of the finished RUN anew, from its logits, into a new run.

    Nothing is fetched or judged again. RUN stays as it is, and `fakescan verify` proves the new one.
    """
    from fakescan.cli.options.flags import store_from_flags
    from fakescan.engine.judging_options import read_calibration, refuse_foreign, with_threshold
    from fakescan.run.folder import RunFolder
    from fakescan.run.rejudge import rejudge as make
    from fakescan.storage.preflight import check_readable, check_writable
    from fakescan.storage.url import redact
    from fakevlm.errors import UserError
    from fakevlm.reading import outcome_name

    if threshold is None and calibration is None:
        raise UserError("threshold: name what is to change, with --threshold or --calibration")
    if threshold is not None and not 0 < threshold < 1:
        raise UserError(f"threshold: {threshold:g} does not lie between 0 and 1")
    store = store_from_flags("output", flags)
    check_readable(run, store)
    folder = RunFolder(run, store)
    identity = folder.open().identity
    stored = identity.ask.calibration
    if calibration is not None:
        stored = read_calibration(calibration, store)
        refuse_foreign(stored, redact(calibration), identity.weights_sha256)
    check_writable(output, store)
    result = make(folder, RunFolder(output, store), with_threshold(stored, threshold))
    print(f"results: {output.rstrip('/')}/parts/*.parquet   (run {result.run.run_id}, from {result.run.rejudged_from})")
    changed = sum(result.changed.values())
    print(f"rows: {result.run.rows:,}, of which {changed:,} have another verdict")
    for (before, now), count in result.changed.most_common():
        then, new = (outcome_name(name, result.run.known_meaning) for name in (before, now))
        print(f"  {then} -> {new:<12} {count:>8,}")
    if result.unexplained:
        print(f"{result.unexplained:,} rows have no explanation of their verdict: only judging again would give one")
    if result.unlooked:
        print(f"{result.unlooked:,} rows have no stability strip that now would: only judging again would give one")
