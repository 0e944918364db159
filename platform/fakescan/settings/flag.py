"""How a field of a settings class is given on the command line; `fakescan.cli.options.flags` makes the options."""

from dataclasses import dataclass
from enum import StrEnum


class FlagGroup(StrEnum):
    """Headings that options stand under in --help, in their order there."""

    SOURCE = "Source"
    DATA = "Data"
    IMAGES = "Which images"
    VERDICTS = "Verdicts"
    MEASURES = "Measures"
    ARTIFACTS = "Artifacts"
    SERVER = "Server"
    ENGINES = "Engines"
    OUTPUT = "Output"
    FAULTS = "Faults"
    OPTIONS = "Options"
    """For commands that have too few options to divide them."""
    GENERAL = "General"
    CREDENTIALS = "Credentials"


@dataclass(frozen=True)
class Flag:
    """Stands in a field's annotation. The field's docstring is the flag's help, unless `help` says it shorter.

    A sentence `Default: …` at the end of the docstring tells in words what holds without the flag.
    """

    metavar: str | None = None
    """Placeholder of the value in --help; none for a switch."""
    name: str | None = None
    """The flag's spelling, such as `-o/--output`. Default: the field's name."""
    help: str | None = None
    """Help text, in place of the field's docstring."""
    multiple: bool = False
    """Whether the flag may be repeated."""
    group: FlagGroup = FlagGroup.OPTIONS
    """Heading in --help."""
