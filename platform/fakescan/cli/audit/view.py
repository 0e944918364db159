"""`fakescan view`: the page of a report, its full images and its labels, on this machine."""

import os
import shlex
from typing import Any

import click

from fakescan.cli.audit.places import run_folder
from fakescan.cli.options.command import Command
from fakescan.cli.options.option import option
from fakescan.cli.options.store_flags import with_store
from fakescan.cli.options.value_type import Text


@click.command(
    cls=Command,
    examples=[
        ("Look at a run", "fakescan view s3://bucket/audit"),
        ("Its report is somewhere else", "fakescan view s3://bucket/audit --report audit-report"),
    ],
)
@click.argument("run", type=Text(path="dir"))
@option("--report", "place", metavar="URL", unset="RUN/report", help="Folder or URL prefix of the report.")
@option("--port", type=click.IntRange(0, 65535), default=0, metavar="N", help="Port on 127.0.0.1; 0: any that is free.")
@option("--reviewer", metavar="NAME", unset="your user name", help="Who gives labels, as the label files name them.")
@with_store("input", "the images")
@with_store("output", "the run and the report")
def view(run: str, place: str | None, port: int, reviewer: str | None, **flags: Any) -> None:
    """Show the report of RUN in your browser, with the full images, and write the labels that you give to RUN/labels.

    Only this machine can reach it, at the address that is printed. Images are read with your credentials when you look
    at them. Stop it with Ctrl-C.
    """
    import asyncio

    from fakescan.cli.options.flags import store_from_flags
    from fakescan.report.build import read_report
    from fakescan.report.view.label_log import LabelLog
    from fakescan.report.view.report_files import ReportFiles
    from fakescan.report.view.row_images import RowImages
    from fakescan.report.view.server import ViewServer, serve
    from fakescan.run.folder import RunFolder
    from fakescan.sources.listing import local_uri
    from fakescan.storage.url import file_path, redact, scheme_of
    from fakevlm.errors import UserError

    folder = run_folder(run, flags)
    opened = folder.open()
    images = store_from_flags("input", flags)
    place = place or f"{folder.url}/report"
    if scheme_of(place) == "file":
        place = local_uri(file_path(place))
    target = RunFolder(place, folder.store)
    report = read_report(target)
    again = shlex.join(["fakescan", "report", redact(folder.url), "-o", redact(place)])
    if report is None:
        raise UserError(f"report: {redact(place)} holds no report of this version; make it first: {again}")
    if report.run.run_id != opened.run_id:
        raise UserError(f"report: {redact(place)} is of another run; make it again: {again}")
    with RowImages(folder, opened, images.resolved()) as shown:
        server = ViewServer(ReportFiles(target), shown, LabelLog(folder), reviewer=reviewer or _user())
        try:
            asyncio.run(serve(server, port, _say))
        except OSError as error:
            why = os.strerror(error.errno).lower() if error.errno else str(error)
            raise UserError(f"port: cannot listen on 127.0.0.1:{port} ({why}); name another --port") from None
        except KeyboardInterrupt:
            print()


def _say(url: str) -> None:
    print(url, flush=True)


def _user() -> str:
    import getpass

    try:
        return getpass.getuser()[:200] or "reviewer"
    except (OSError, KeyError):
        return "reviewer"
