"""Types of options' values that shells can complete. What a value may be is checked with the settings, not here."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_FILES = frozenset({"FILE", "DATA", "SOURCE"})
_FOLDERS = frozenset({"FOLDER", "URL", "RUN", "MANIFEST", "MODEL"})


class Text(click.types.StringParamType):
    """Text that may be one of several words, or a path of this machine."""

    def __init__(self, words: Sequence[str] = (), path: str = "") -> None:
        self._words, self._path = words, path

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
        """The words that begin so; or what makes the shell complete names of files (`file`) or folders (`dir`)."""
        from click.shell_completion import CompletionItem

        items = [CompletionItem(word) for word in self._words if word.startswith(incomplete)]
        return items or ([CompletionItem(incomplete, type=self._path)] if self._path else [])


def text_type(metavar: str | None) -> Text:
    """The type of an option whose value is shown as `metavar`: `fakes|all|none`, `FILE`, `URL`, `NAME`, …."""
    parts = (metavar or "").split("|")
    words = [part for part in parts if part.replace("-", "").isalnum() and part.islower()] if len(parts) > 1 else []
    path = "file" if _FILES & set(parts) else "dir" if _FOLDERS & set(parts) else ""
    return Text(words, path)
