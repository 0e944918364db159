"""Help: every option under a heading and with its default, pages that fit 80 columns, and examples that work."""

import os
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from fakescan.cli.main import cli, main
from fakescan.cli.options.command import Command, Group, SettingsCommand
from fakescan.cli.options.help_page import group_of
from fakescan.cli.options.option import Option
from fakescan.cli.options.store_flags import StoreOption
from fakescan.settings.flag import FlagGroup

pytestmark = pytest.mark.unit

MANY = 10
"""A command with more options of its own than this divides them."""


def commands(name: str = "fakescan", command: click.Command = cli) -> Iterator[tuple[str, click.Command]]:
    """Every command with its whole name."""
    yield name, command
    for child in getattr(command, "commands", {}).values():
        yield from commands(f"{name} {child.name}", child)


EVERY = dict(commands())


def options_of(command: click.Command) -> list[click.Option]:
    found = [
        parameter for parameter in command.get_params(click.Context(command)) if isinstance(parameter, click.Option)
    ]
    return [option for option in found if "--help" not in option.opts]


@pytest.mark.parametrize("name", EVERY)
def test_help_has_two_names_in_whatever_context_the_options_were_listed_first(name: str) -> None:
    (option,) = [option for option in EVERY[name].get_params(click.Context(EVERY[name])) if "--help" in option.opts]
    assert option.opts == ["-h", "--help"]


def shown(capfd: pytest.CaptureFixture[str], name: str, *arguments: str) -> str:
    with pytest.raises(SystemExit) as exit:
        main([*name.split()[1:], *arguments])
    out, err = capfd.readouterr()
    assert (exit.value.code, err) == (0, "")
    return out


@pytest.mark.parametrize("name", EVERY)
def test_every_option_has_a_heading_and_says_what_holds_without_it(name: str) -> None:
    command = EVERY[name]
    assert isinstance(command, Command | Group)
    options = options_of(command)
    for option in options:
        assert isinstance(option, Option), option.opts
        assert option.help, option.opts
        assert option.note or option.is_eager, f"{option.opts[0]} does not say its default"
    own = [option for option in options if group_of(option) not in (FlagGroup.GENERAL, FlagGroup.CREDENTIALS)]
    if len(own) > MANY or isinstance(command, SettingsCommand):
        undivided = [option.opts[0] for option in own if group_of(option) is FlagGroup.OPTIONS]
        assert undivided == [], "options without a heading"
    assert {"--verbose", "--log-file"} <= {spelling for option in options for spelling in option.opts}


@pytest.mark.parametrize("name", EVERY)
def test_help_fits_80_columns_and_names_every_option(
    name: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    page = shown(capfd, name, "--help")
    assert [line for line in page.splitlines() if len(line) > 80] == []
    command = EVERY[name]
    words = page.replace(",", " ").split()
    for option in options_of(command):
        assert set(option.opts) <= set(words), option.opts
        if option.note and not isinstance(option, StoreOption):
            assert f"[{option.note}]" in " ".join(page.split()), option.opts
    headings = [line.removesuffix(":") for line in page.splitlines() if line and not line.startswith((" ", "Usage"))]
    groups = [group for group in FlagGroup if group in headings]
    assert [heading for heading in headings if heading in groups] == groups, "headings in another order"


@pytest.mark.parametrize("name", [name for name, command in EVERY.items() if isinstance(command, Group)])
def test_a_group_without_arguments_shows_its_help(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    page = shown(capfd, name)
    assert page == shown(capfd, name, "--help")
    assert page.startswith(f"Usage: {name} [OPTIONS] {'[read] FILE' if name == 'fakescan provenance' else 'COMMAND'}")
    assert "Commands:" in page


def test_credentials_are_the_last_options_and_one_row_each(capfd: pytest.CaptureFixture[str]) -> None:
    page = shown(capfd, "fakescan scan", "--help")
    section = page.partition("Credentials:")[2].partition("Examples:")[0]
    assert " ".join(section.split()).startswith(
        "--input-… for the source, --output-… for the output, --model-… for the checkpoint."
    )
    assert section.count("--input-endpoint, --output-endpoint, --model-endpoint URL") == 1
    assert len(section.splitlines()) < 18


def test_an_option_that_nobody_has_described_is_seen() -> None:
    """What the tests above rely on: a new option without a default in words has no note, and no heading."""
    assert Option(["--new"], metavar="N").note == ""
    assert group_of(Option(["--new"])) is FlagGroup.OPTIONS
    assert Option(["--new"], type=int, default=0).note == "default: 0"
    assert Option(["--new"], is_flag=True).note == "default: no"
    assert Option(["--new"], required=True).note == "required"
    assert Option(["--new"], multiple=True, default=("a", "b")).note == "default: a, b"


@pytest.mark.parametrize("name", [name for name, command in EVERY.items() if isinstance(command, SettingsCommand)])
def test_commands_with_many_options_have_examples_that_parse(name: str) -> None:
    command = EVERY[name]
    assert isinstance(command, Command)
    assert len(command.examples) >= 3
    for words, line in command.examples:
        assert words
        assert len(line) <= 76
        program, *arguments = line.partition(" > ")[0].split()
        assert program == "fakescan"
        cli.make_context("fakescan", list(arguments))  # the command's name, at least
        target: click.Command = cli
        while isinstance(target, click.Group):
            # `provenance` takes files where the name of its command is left out.
            target = target.commands[arguments.pop(0) if arguments[0] in target.commands else "read"]
        target.make_context(target.name, arguments)


def test_train_lists_the_settings_of_its_file(capfd: pytest.CaptureFixture[str]) -> None:
    page = " ".join(shown(capfd, "fakescan train", "--help").split())
    assert "lora.rank Inner dimension of the additions. [default: 16]" in page
    assert "storage_path Folder or URL prefix in which the run's folder is made. [required]" in page
    assert "max_steps Optimizer steps after which the run ends; raise it to extend one. [default: as many as" in page


@pytest.mark.parametrize(
    "arguments",
    [
        ["scan", "--output", ""],
        ["scan", "--glob", ""],
        ["scan", "--input-profile", ""],
        ["evaluate", "--compare", "a", ""],
    ],
    ids=lambda arguments: arguments[1],
)
def test_an_empty_value_is_refused(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        main(arguments)
    out, err = capfd.readouterr()
    assert (exit.value.code, out) == (2, "")
    (line,) = err.splitlines()
    assert arguments[1] in line
    assert "it is empty" in line


@pytest.mark.parametrize("arguments", [[], ["--help"], ["data"], ["keys", "--help"], ["verify", "--help"]])
def test_help_starts_light(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom fakescan.cli.main import main\n"
        f"try:\n    main({arguments!r})\nexcept SystemExit:\n    pass\n"
        "heavy = {'pydantic', 'ray', 'vllm', 'torch', 'pyarrow', 'numpy', 'fsspec', 'yaml', 'rich', 'asyncio'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env={**os.environ, "COLUMNS": "80"}
    )
    assert done.stderr.strip() == "[]"
    assert "Usage: fakescan" in done.stdout
