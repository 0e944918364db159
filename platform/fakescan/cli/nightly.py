"""`fakescan nightly`: the scan of the day, of what is new since the newest run before it."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fakescan.cli.options.command import SettingsCommand
from fakescan.cli.options.value_type import Text
from fakescan.cli.reports.reporter import Reporter, with_reports
from fakescan.cli.scan import dry_run_scan, report_scan, scan_config, scan_flags
from fakevlm.errors import UserError

if TYPE_CHECKING:
    from fakescan.scan.config import ScanConfig

_OWN = ("output", "new_since", "limit", "sample")
"""Settings of a scan that this command chooses itself, or that make no night of a chain."""


@click.command(
    cls=SettingsCommand,
    settings="fakescan.scan.config:ScanConfig",
    without=_OWN,
    examples=[
        ("Every night, by cron", "fakescan nightly s3://bucket/new s3://bucket/runs --model lingcco/fakeVLM"),
        ("See what tonight would do", "fakescan nightly s3://bucket/new s3://bucket/runs --dry-run"),
        ("With the settings of a file", "fakescan nightly s3://bucket/new s3://bucket/runs --config scan.yaml"),
    ],
)
@click.argument("source", type=Text(path="file"))
@click.argument("runs", type=Text(path="dir"))
@scan_flags
@with_reports
@click.pass_obj
def nightly(
    verbose: bool,
    /,
    source: str,
    runs: str,
    config: Path | None,
    ray_address: str | None,
    dry_run: bool,
    reporter: Reporter,
    **flags: Any,
) -> None:
    """Scan what is new in SOURCE since the newest run in RUNS, into RUNS/DAY, the day in UTC.

    The first run scans all. The same command on the same day resumes. It is `scan`, which chooses its own --output and
    --new-since.
    """
    settings = nightly_config(source, runs, config, flags)
    if dry_run:
        dry_run_scan(settings, reporter)
    else:
        report_scan(settings, reporter, ray_address=ray_address, verbose=verbose)


def nightly_config(source: str, runs: str, file: Path | None, flags: dict[str, Any]) -> "ScanConfig":
    """The scan of today. Raises UserError, also for settings that this command chooses itself."""
    from fakescan.run.chain import newest_run
    from fakescan.settings.yaml_file import read_yaml
    from fakescan.storage.preflight import check_writable_without_trace

    if file is not None:
        for name in _OWN:
            if read_yaml(file).get(name) is not None:
                raise UserError(f"--config: {file}: {name}: `nightly` takes none; use `scan`, or remove it")
    today = datetime.now(UTC).date()
    flags = {**flags, "source": source, "output": f"{runs.rstrip('/')}/{today.isoformat()}"}
    settings = scan_config(file, flags)
    check_writable_without_trace(settings.output, settings.output_store)  # wrong credentials and addresses, in one line
    earlier = newest_run(runs, today, settings.output_store)
    return settings if earlier is None else scan_config(file, {**flags, "new_since": (earlier,)})
