"""What the pages of `fakescan serve` and `fakescan report` have in common: the colours and the symbols of outcomes.

A page is sent as it is written, but for these places, so that it needs no request more:

    <!-- look: symbols -->    in its HTML
    /* look: colours */       in its styles
"""

from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Final

ICON: Final = "favicon.svg"
_PLACES: Final = {"<!-- look: symbols -->\n": "symbols.svg", "/* look: colours */\n": "colours.css"}
_HERE = resources.files(__package__)


def page_files(folder: Traversable, icon: str) -> Iterator[tuple[str, bytes]]:
    """The files of a page, by their paths below its folder, and at `icon` the icon of all pages.

    Files whose names begin with a dot are left out.
    """
    yield from ((path, _whole(file)) for path, file in _files_in(folder, ""))
    yield icon, (_HERE / ICON).read_bytes()


def _files_in(folder: Traversable, path: str) -> Iterator[tuple[str, Traversable]]:
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if file.is_dir():
            yield from _files_in(file, f"{path}{file.name}/")
        elif not file.name.startswith("."):
            yield path + file.name, file


def _whole(file: Traversable) -> bytes:
    data = file.read_bytes()
    for place, name in _PLACES.items():
        if file.name.endswith((".html", ".css")):
            data = data.replace(place.encode(), (_HERE / name).read_bytes())
    return data
