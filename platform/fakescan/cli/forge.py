"""`fakescan data forge`: photographs in, labelled pairs of real and forged images out."""

from typing import TYPE_CHECKING, Any

import click

from fakescan.cli.store_flags import with_store
from fakevlm.errors import UserError

if TYPE_CHECKING:
    from fakescan.forge.config import ForgeConfig
    from fakescan.forge.driver import ForgeOutcome


@click.command()
@click.argument("photographs", metavar="REAL_FOLDER")
@click.option("-o", "--output", required=True, metavar="OUT", help="Folder of the dataset; resumed if it holds one.")
@click.option("--per-photo", type=int, metavar="N", help="Pairs from each photograph (default: 4).")
@click.option("--edge", type=int, metavar="PX", help="Width and height of the images (default: 336).")
@click.option("--seed", type=int, metavar="N", help="Another seed, other crops and artifacts (default: 0).")
@click.option("--families", metavar="A,B", help="Only these artifacts (default: all that suit the category).")
@click.option("--severity", metavar="subtle,visible,strong", help="Only these severities (default: all).")
@click.option("--category", metavar="NAME", help="Of photographs outside folders named after one (default: scene).")
@click.option("--split-shares", metavar="NAME=SHARE,…", help="Such as train=0.8,val=0.1,test=0.1 (default: all train).")
@click.option("--workers", type=int, metavar="N", help="Photographs at once (default: the cluster's CPUs).")
@click.option("--ray-address", metavar="ADDR", help="Ray cluster (default: RAY_ADDRESS, else a local one).")
@with_store("input", "the photographs")
@with_store("output", "the dataset")
@click.pass_context
def forge(context: click.Context, /, ray_address: str | None, **flags: Any) -> None:
    """Make a labelled training set of REAL_FOLDER: crops of its photographs, and each once more with one artifact.

    Subfolders named animal, human, object, scene, satellite, doc or deepfake say what the photographs show. The
    explanations are true by construction. The same command again resumes.
    """
    config = _config(flags)
    from fakescan.forge.driver import run_forge

    outcome = run_forge(config, ray_address=ray_address, verbose=bool(context.obj))
    _report(config, outcome)


def _config(flags: dict[str, Any]) -> "ForgeConfig":
    from pydantic import ValidationError

    from fakescan.cli.flags import store_from_flags
    from fakescan.forge.config import ForgeConfig
    from fakescan.settings.yaml_file import one_line
    from fakevlm.data.split import parse_shares

    settings = {name: value for name, value in flags.items() if name in ForgeConfig.model_fields}
    settings |= {"input_store": store_from_flags("input", flags), "output_store": store_from_flags("output", flags)}
    settings |= {"families": _names(flags["families"]), "severities": _names(flags["severity"])}
    if flags["split_shares"]:
        settings["shares"] = parse_shares(flags["split_shares"])
    try:
        return ForgeConfig.model_validate({name: value for name, value in settings.items() if value is not None})
    except ValidationError as error:
        raise UserError(one_line(error)) from None


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
