"""`fakescan check`: verdicts on single images, for people or as JSON lines."""

import json
import shutil
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from fakescan.cli.exit_status import EXIT_FAILED, fail
from fakescan.cli.options.command import SettingsCommand
from fakescan.cli.options.option import option
from fakescan.settings.flag import FlagGroup
from fakescan.terminal.messages import say

if TYPE_CHECKING:
    from fakescan.check.checker import CheckedImage

_INDENT = " " * 4
_MAX_NAME = 500


@click.command(
    cls=SettingsCommand,
    settings="fakescan.check.config:CheckConfig",
    without=("replicas", "gpus_per_replica"),
    examples=[
        ("Judge two images", "fakescan check photo.jpg https://example.org/picture.png"),
        ("Judge an image in a bucket", "fakescan check s3://bucket/photo.jpg --model lingcco/fakeVLM"),
        ("Results for a program, without explanations", "fakescan check --json --explain none photo.jpg"),
    ],
)
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@option("--json", "as_json", is_flag=True, group=FlagGroup.OUTPUT, help="Print a line of JSON for each image.")
@click.pass_obj
def check(verbose: bool, /, files: tuple[str, ...], as_json: bool, **flags: Any) -> None:
    """Judge single images, and say why: verdict, score and explanation of each FILE, without Ray.

    FILE is a local file, a URL (s3://, gs://, az://, https://), or - for standard input. The results are those of a
    scan. The exit status is 1 when an image has no verdict.
    """
    from fakescan.check.checker import Checker
    from fakescan.check.config import CheckConfig
    from fakescan.cli.options.flags import settings_of

    config = settings_of(CheckConfig, flags, command="check")
    failed = 0
    with Checker(config, verbose=verbose) as checker:
        for name, image in zip(files, checker.check(files), strict=True):
            failed += image.verdict is None
            if as_json:
                print(json.dumps(json.loads(image.model_dump_json())), flush=True)
            else:
                print("\n".join(lines_of(name, image)), flush=True)
        if checker.warning and failed < len(files):
            say(f"warning: {checker.warning}")
    if failed:
        fail(f"no verdict on {failed} of {len(files)} images", EXIT_FAILED)


def lines_of(name: str, image: "CheckedImage") -> Iterator[str]:
    """The result for people: a line to find it by, and below it what it says."""
    from fakescan.storage.url import redact
    from fakescan.terminal.console import printable_line

    shown = printable_line(redact(name))
    if len(shown) > _MAX_NAME:
        shown = f"{shown[:_MAX_NAME]}…"
    width = max(shutil.get_terminal_size((80, 24)).columns, 40)
    if image.verdict is None or image.score is None:
        yield f"{'error':<9}         {shown}"
        texts = [f"{image.error_code}: {image.error_message}"]
    else:
        words = image.finding or image.verdict
        yield f"{words:<9}  {image.score:.3f}  {shown}  ({image.format}, {image.width} x {image.height})"
        said = image.explanation or ""
        texts = [
            image.remark or "",
            f"in the model's own words: {said}" if said and image.remark else said,
            image.how_sure or "",
            f"note: {image.error_message}" if image.error_message else "",
        ]
    for text in texts:
        yield from textwrap.wrap(
            printable_line(" ".join(text.split())), width, initial_indent=_INDENT, subsequent_indent=_INDENT
        )
