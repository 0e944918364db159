"""`fakescan data forge`: photographs in, labelled pairs of real and forged images out."""

from typing import TYPE_CHECKING, Any

import click

from fakescan.cli.options.command import SettingsCommand
from fakescan.cli.options.option import option, ray_address
from fakescan.settings.flag import FlagGroup

if TYPE_CHECKING:
    from fakescan.forge.config import ForgeConfig
    from fakescan.forge.driver import ForgeOutcome


@click.command(
    cls=SettingsCommand,
    settings="fakescan.forge.config:ForgeConfig",
    without=("shares",),
    examples=[
        ("Make pairs of your photographs", "fakescan data forge photos -o forged"),
        ("Make three splits", "fakescan data forge photos -o set --split-shares train=0.8,val=0.1,test=0.1"),
        ("Make only what is hard to see", "fakescan data forge photos -o forged --severity subtle"),
    ],
)
@click.argument("photographs", metavar="REAL_FOLDER")
@option(
    "--split-shares",
    "shares",
    metavar="NAME=SHARE,…",
    group=FlagGroup.DATA,
    unset="all train",
    help="Splits and their shares of the photographs, such as train=0.8,val=0.1,test=0.1.",
)
@ray_address()
@click.pass_obj
def forge(verbose: bool, /, ray_address: str | None, **flags: Any) -> None:
    """Make a labelled training set of REAL_FOLDER: crops of its photographs, and each once more with one artifact.

    Subfolders named animal, human, object, scene, satellite, doc or deepfake say what the photographs show. The
    explanations are true by construction. The same command again resumes.
    """
    config = forge_config(flags)
    from fakescan.forge.driver import run_forge

    _report(config, run_forge(config, ray_address=ray_address, verbose=verbose))


def forge_config(flags: dict[str, Any]) -> "ForgeConfig":
    """The dataset that the flags describe. Raises UserError."""
    from fakescan.cli.options.flags import settings_of
    from fakescan.forge.config import ForgeConfig
    from fakevlm.data.split import parse_shares

    flags |= {name: _names(flags[name]) for name in ("families", "severities")}
    flags["shares"] = parse_shares(flags["shares"]) if flags["shares"] else None
    return settings_of(ForgeConfig, flags, command="data forge", required={"output": "--output"})


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def _report(config: "ForgeConfig", outcome: "ForgeOutcome") -> None:
    from fakescan.storage.url import redact

    counts = outcome.photographs
    left_out = [
        f"{counts[status]:,} {words}"
        for status, words in (
            ("too_small", f"under {config.edge} pixels"),
            ("unsuitable", "of a category that none of the families suits"),
            ("unreadable", "unreadable"),
        )
        if counts[status]
    ]
    pairs = sum(outcome.families.values())
    click.echo(f"{pairs:,} pairs of {counts['forged']:,} photographs in {redact(config.output)}")
    for split, records in outcome.records.items():
        click.echo(f"  data_json/{split}.json: {records:,} images, half of them forged")
    click.echo("  " + "  ".join(f"{family} {count:,}" for family, count in sorted(outcome.families.items())))
    if left_out:
        click.echo(f"left out: {', '.join(left_out)}")
    for path, message in list(outcome.unreadable.items())[:5]:
        click.echo(f"  {path}: {message}")
    if len(outcome.unreadable) > 5:
        click.echo(f"  … and {len(outcome.unreadable) - 5:,} more, all in forge.json")
    if outcome.flat:
        click.echo(f"{outcome.flat:,} pairs left out: no artifact would show in those photographs")
    if not outcome.done_now:
        click.echo("all was there already")
