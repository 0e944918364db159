"""What tests that call the command line or look at its output need, wherever they stand."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import fakescan
from tests.screen import Screen

PAIRS = Path(__file__).parents[2] / "samples" / "pairs"
Rows = dict[str, dict[str, Any]]
"""Rows of a scan by their URIs."""


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """`main` takes SIGTERM over, as the process that it is made for."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment that says of the terminal only that it is one."""
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")


@pytest.fixture
def make_screen() -> Iterator[Callable[[int], Screen]]:
    """Terminals of any width."""
    made: list[Screen] = []

    def make(columns: int) -> Screen:
        made.append(Screen(columns))
        return made[-1]

    yield make
    for screen in made:
        screen.close()


@pytest.fixture
def screen(make_screen: Callable[[int], Screen]) -> Screen:
    """A terminal of 80 columns."""
    return make_screen(80)


@pytest.fixture(scope="session")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four sound images, one that is read in spite of damage, and some that cannot be; for reading only."""
    folder = tmp_path_factory.mktemp("sources") / "mixed"
    folder.mkdir()
    for name in ("macaque-real.webp", "macaque-inpainting.webp", "city-checkerboard.png", "tunnel-warp.jpg"):
        (folder / name).write_bytes((PAIRS / name).read_bytes())
    jpeg = (PAIRS / "tunnel-real.jpg").read_bytes()
    (folder / "no-end.jpg").write_bytes(jpeg[:-2])
    (folder / "cut.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    (folder / "empty.jpg").touch()
    (folder / "words.jpg").write_text("no image")
    (folder / "vector.png").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    return folder


@pytest.fixture(scope="session")
def turned(mixed: Path) -> Path:
    """The sample pairs, turned and mirrored in all eight ways: 64 real and 64 fake images."""
    root = mixed.parent / "turned"
    for file in sorted(PAIRS.iterdir()):
        subject, kind = file.stem.split("-")
        folder = root / "pictures" / ("real" if kind == "real" else f"fake/{kind}")
        folder.mkdir(parents=True, exist_ok=True)
        with Image.open(file) as image:
            pixels = np.asarray(image.convert("RGB").resize((112, 112)))
        for number in range(8):
            picture = np.rot90(pixels, number % 4)
            picture = picture[:, ::-1] if number >= 4 else picture
            Image.fromarray(np.ascontiguousarray(picture)).save(folder / f"{subject}-{number}.png")
    return root


@pytest.fixture(scope="session")
def scanned_mixed(ray_cluster: str, mixed: Path, turned: Path, tmp_path_factory: pytest.TempPathFactory) -> Rows:
    """What a scan with the model that ships says of both folders: vLLM, and everything is explained."""
    outcome = fakescan.scan(mixed.parent, tmp_path_factory.mktemp("audit") / "run", explain="all")
    return {row["uri"]: row for row in fakescan.open_run(outcome.url).to_arrow().to_pylist()}
