"""How a field of a settings class is given on the command line; `fakescan.cli.options.flags` makes the options."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Flag:
    """Stands in a field's annotation. The field's docstring is the flag's help, unless `help` says it shorter."""

    metavar: str | None = None
    """Placeholder of the value in --help; none for a switch."""
    name: str | None = None
    """The flag's spelling, such as `-o/--output`. Default: the field's name."""
    help: str | None = None
    """Help text, in place of the field's docstring."""
    multiple: bool = False
    """Whether the flag may be repeated."""
