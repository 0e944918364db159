"""A contact sheet of all artifacts on given photographs: what a person looks at after changing a family.

python -m fakevlm.forge.sheet PHOTOGRAPH... -o sheet.png
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from fakevlm.data.record import SEVERITIES
from fakevlm.forge.family import FAMILIES, forge
from fakevlm.forge.forged import NotApplicableError, Pixels
from fakevlm.forge.photo import crop, shrink
from fakevlm.image_file import read_image

_NAME = 110
"""Width of the column of names, in pixels."""


def contact_sheet(photos: list[Image.Image], *, edge: int = 128, zoom: int = 2, seed: int = 0) -> Image.Image:
    """Families down, photographs and in each the original and the three severities across, enlarged `zoom` times.

    A black cell means that the artifact does not show in that crop. Each photograph is the donor of the one before.
    """
    cell, columns = edge * zoom, len(SEVERITIES) + 1
    sheet = Image.new("RGB", (_NAME + cell * columns * len(photos), cell * len(FAMILIES)))
    draw = ImageDraw.Draw(sheet)
    for row, family in enumerate(FAMILIES):
        draw.text((4, row * cell + cell // 2), family, fill="white")
        for number, photo in enumerate(photos):
            rng = np.random.default_rng([seed, row, number])
            real = crop(photo, edge, rng, shares=(0.6, 1.0))
            donor = crop(photos[(number + 1) % len(photos)], edge, rng)
            for column, severity in enumerate((None, *SEVERITIES)):
                rgb: Pixels = real
                if severity is not None:
                    try:
                        rgb = forge(real, family, severity, np.random.default_rng([seed, row, number]), donor).rgb
                    except NotApplicableError:
                        rgb = np.zeros_like(real)
                enlarged = Image.fromarray(rgb).resize((cell - 2, cell - 2), Image.Resampling.NEAREST)
                sheet.paste(enlarged, (_NAME + (number * columns + column) * cell, row * cell))
    return sheet


def _main() -> None:
    parser = argparse.ArgumentParser(description="Show all artifacts on photographs.")
    parser.add_argument("photographs", nargs="+", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--edge", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    photos = [read_image(path.read_bytes(), max_pixels=10**8).rgb for path in arguments.photographs]
    sheet = contact_sheet([shrink(photo, arguments.edge) for photo in photos], edge=arguments.edge, seed=arguments.seed)
    sheet.save(arguments.output)


if __name__ == "__main__":
    _main()
