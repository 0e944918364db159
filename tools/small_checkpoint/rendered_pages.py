"""Renders document pages: real text in real fonts, set in eight layouts, then scanned or photographed.

What makes a page a real document here is that every glyph comes from a font and every word from a text. The paper, the
light, the lens and the tilt are made up so that a detector does not learn that clean pages are real.
"""

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from tools.small_checkpoint.rendered_scenes import Field, expose, fractal, ramp, unit
from tools.small_checkpoint.typesetting import HEIGHT, WIDTH, Sheet


def article(sheet: Sheet) -> None:
    """A heading over one to three columns."""
    margin, count = sheet.number(50, 100), sheet.number(1, 4)
    size = sheet.number(17, 24) if count == 1 else sheet.number(13, 18)
    right, bottom = WIDTH - margin, HEIGHT - margin
    y = sheet.paragraph(sheet.words(9), margin, margin, right, 400, sheet.font(sheet.number(30, 56), True))
    if sheet.chance(0.6):
        y = sheet.paragraph(sheet.words(14), margin, y + 10, right, y + 90, sheet.font(18))
        sheet.rule(margin, y + 8, right, sheet.number(1, 4))
    width = (right - margin - 28 * (count - 1)) // count
    justify = sheet.chance(0.6)
    for index in range(count):
        left = margin + index * (width + 28)
        sheet.column(left, y + 24, left + width, bottom, size, justify)


def book(sheet: Sheet) -> None:
    """A page of a book with its running head and number."""
    margin, size = sheet.number(90, 150), sheet.number(19, 27)
    sheet.draw.text((margin, 50), sheet.words(5), sheet.ink, sheet.font(15))
    sheet.draw.text((WIDTH - margin - 40, 50), str(sheet.number(2, 640)), sheet.ink, sheet.font(17))
    y = 105
    if sheet.chance(0.4):
        y = sheet.paragraph(sheet.words(6), margin, 170, WIDTH - margin, 330, sheet.font(40, True)) + 30
    sheet.column(margin, y, WIDTH - margin, HEIGHT - 90, size, justify=True)


def letter(sheet: Sheet) -> None:
    """Sender, address, date, a few paragraphs, a signature in another font."""
    margin, font = sheet.number(80, 120), sheet.font(sheet.number(18, 23))
    sheet.draw.text((margin, 70), sheet.words(4), sheet.ink, sheet.font(sheet.number(26, 40), True))
    for line in range(3):
        sheet.draw.text((margin, 180 + 28 * line), f"{sheet.words(2)} {sheet.number(1, 99)}", sheet.ink, font)
    date = f"{sheet.number(1, 29)}.{sheet.number(1, 13)}.{sheet.number(1984, 2026)}"
    sheet.draw.text((WIDTH - margin - 170, 260), date, sheet.ink, font)
    y = 350
    for _ in range(sheet.number(2, 5)):
        y = sheet.paragraph(sheet.text(), margin, y, WIDTH - margin, HEIGHT - 190, font) + 20
    sheet.draw.text((margin, min(y + 30, HEIGHT - 150)), sheet.words(2), (20, 30, 110), sheet.font(38, True))


def form(sheet: Sheet) -> None:
    """Labelled fields, some of them filled in, and boxes to tick."""
    margin, y = 70, 160
    label, filled = sheet.font(15), sheet.font(21, True)
    sheet.draw.text((margin, 70), sheet.words(5), sheet.ink, sheet.font(sheet.number(28, 44), True))
    sheet.rule(margin, 140, WIDTH - margin, 3)
    while y < HEIGHT - 130:
        height, parts = sheet.number(52, 78), sheet.number(1, 4)
        width = (WIDTH - 2 * margin) // parts
        for part in range(parts):
            left = margin + part * width
            sheet.draw.rectangle((left, y, left + width - 10, y + height), outline=sheet.ink)
            sheet.draw.text((left + 6, y + 4), sheet.words(2), sheet.ink, label)
            if sheet.chance(0.3):
                sheet.draw.rectangle((left + width - 48, y + 14, left + width - 26, y + 36), outline=sheet.ink, width=2)
            elif sheet.chance(0.75):
                value = sheet.words(2) if sheet.chance(0.5) else str(sheet.number(10, 10**7))
                shown = value[: max(3, int(width / 13))]
                sheet.draw.text((left + 10, y + 24), shown, (20, 30, 120), filled)
        y += height + sheet.number(8, 26)


def invoice(sheet: Sheet) -> None:
    """A table of items, amounts and a total."""
    margin, y, font = 70, 330, sheet.font(sheet.number(16, 21))
    sheet.draw.text((margin, 70), sheet.words(3), sheet.ink, sheet.font(46, True))
    for line in range(4):
        sheet.draw.text((margin, 160 + 26 * line), f"{sheet.words(3)} {sheet.number(1, 9999)}", sheet.ink, font)
    edges = (margin, margin + 60, 560, 690, WIDTH - margin)
    lined, total = sheet.chance(0.5), 0
    row = sheet.number(30, 44)
    for item in range(sheet.number(8, 20)):
        count, price = sheet.number(1, 40), sheet.number(99, 90000)
        total += count * price
        cells = (str(item + 1), sheet.words(5)[:40], f"{price / 100:.2f}", f"{count * price / 100:,.2f}")
        for left, text in zip(edges, cells, strict=False):
            sheet.draw.text((left + 6, y + 5), text, sheet.ink, font)
        sheet.rule(margin, y, WIDTH - margin)
        if lined:
            for x in edges:
                sheet.draw.line((x, y, x, y + row), sheet.ink)
        y += row
    sheet.rule(margin, y, WIDTH - margin, 3)
    sheet.draw.text((edges[2], y + 14), f"{total / 100:,.2f}", sheet.ink, sheet.font(26, True))
    sheet.paragraph(sheet.text(), margin, y + 80, WIDTH - margin, HEIGHT - 60, sheet.font(14))


def receipt(sheet: Sheet) -> None:
    """A narrow strip of short lines, enlarged to the width of the sheet."""
    font, y = sheet.font(sheet.number(30, 38)), 190
    sheet.draw.text((140, 60), sheet.words(3)[:24], sheet.ink, sheet.font(54, True))
    while y < HEIGHT - 120:
        sheet.draw.text((70, y), sheet.words(3)[:24], sheet.ink, font)
        price = f"{sheet.number(10, 9900) / 100:.2f}"
        sheet.draw.text((WIDTH - 80 - font.getlength(price), y), price, sheet.ink, font)
        y += int(font.size * sheet.rng.uniform(1.2, 1.9))
    for x in range(80, WIDTH - 80, 8):  # a bar code
        sheet.draw.rectangle((x, HEIGHT - 95, x + sheet.number(1, 7), HEIGHT - 30), fill=sheet.ink)


def notice(sheet: Sheet) -> None:
    """A few large lines, as on a poster, a sign or a title page."""
    y, colour = sheet.number(60, 200), tuple(int(x) for x in sheet.rng.integers(0, 160, 3))
    if sheet.chance(0.5):
        sheet.draw.rectangle((30, 30, WIDTH - 30, HEIGHT - 30), outline=colour, width=sheet.number(3, 16))
    while y < HEIGHT - 160:
        font = sheet.font(sheet.number(34, 96), sheet.chance(0.6))
        y = sheet.paragraph(sheet.words(sheet.number(2, 8)), 70, y, WIDTH - 70, HEIGHT - 70, font) + sheet.number(
            10, 90
        )


def listing(sheet: Sheet) -> None:
    """Numbered paragraphs with headings, as in a contract or a manual."""
    margin, y, number = 80, 80, 1
    font = sheet.font(sheet.number(16, 20))
    while y < HEIGHT - 120:
        sheet.draw.text((margin, y), f"{number}.  {sheet.words(5)}", sheet.ink, sheet.font(24, True))
        y = sheet.paragraph(sheet.text(), margin + 40, y + 38, WIDTH - margin, HEIGHT - 70, font) + 20
        number += 1


LAYOUTS: tuple[Callable[[Sheet], None], ...] = (article, book, letter, form, invoice, receipt, notice, listing)


def page(seed: int, fonts: Sequence[bytes], texts: Sequence[str]) -> Image.Image:
    """A document page, scanned (straight, even) or photographed (tilted, unevenly lit, on a table)."""
    rng = np.random.default_rng([seed, 3])
    sheet = Sheet(rng, fonts, texts)
    LAYOUTS[seed % len(LAYOUTS)](sheet)
    scanned = rng.random() < 0.4
    lit = _on_paper(rng, np.asarray(sheet.image, np.float32), uneven=0.03 if scanned else rng.uniform(0.1, 0.4))
    view = _scanned(rng, lit) if scanned else _photographed(rng, lit)
    return expose(rng, view, blur=rng.uniform(0.35, 0.9), noise=rng.uniform(0.6, 1.5) if scanned else rng.uniform(1, 4))


def _on_paper(rng: np.random.Generator, sheet: Field, uneven: float) -> Field:
    """The sheet with the grain of paper and light that falls off; `uneven` is the share lost in the darkest corner."""
    grain = 1 + 0.012 * fractal(rng, HEIGHT, WIDTH, 0.5) + 0.01 * fractal(rng, HEIGHT, WIDTH, 1.4)
    light = 1 - uneven * unit(fractal(rng, HEIGHT, WIDTH, 2.6))
    warm = 1 + rng.uniform(-1, 1) * uneven * 0.3 * np.array([1, 0, -1], np.float32)
    return (sheet * (grain * light)[..., None] * warm).astype(np.float32)


def _scanned(rng: np.random.Generator, sheet: Field) -> Field:
    """Turned by a degree at most, the edges cut off."""
    image = Image.fromarray(np.clip(sheet, 0, 255).astype(np.uint8))
    turned = image.rotate(rng.uniform(-1, 1), Image.Resampling.BICUBIC)
    return np.asarray(turned.crop((20, 25, WIDTH - 20, HEIGHT - 25)), np.float32)


def _photographed(rng: np.random.Generator, sheet: Field) -> Field:
    """Seen at a slant, with a strip of the table around it."""
    corners = np.array([(0, 0), (WIDTH, 0), (WIDTH, HEIGHT), (0, HEIGHT)], np.float64)
    seen = corners * rng.uniform(0.86, 1.02) + rng.uniform(-0.05, 0.05, (4, 2)) * (WIDTH, HEIGHT)
    seen += corners.mean(0) - seen.mean(0)
    rows = []
    for (x, y), (u, v) in zip(seen, corners, strict=True):  # the projective map from the view to the sheet
        rows.append([x, y, 1, 0, 0, 0, -u * x, -u * y, u])
        rows.append([0, 0, 0, x, y, 1, -v * x, -v * y, v])
    system = np.array(rows)
    coefficients = tuple(float(value) for value in np.linalg.solve(system[:, :8], system[:, 8]))
    size, transform, bicubic = (WIDTH, HEIGHT), Image.Transform.PERSPECTIVE, Image.Resampling.BICUBIC
    image = Image.fromarray(np.clip(sheet, 0, 255).astype(np.uint8))
    warped = np.asarray(image.transform(size, transform, coefficients, bicubic), np.float32)
    inside = Image.new("L", size, 255).transform(size, transform, coefficients, bicubic)
    mask = np.asarray(inside, np.float32)[..., None] / 255
    wood = rng.uniform(40, 170, (3, 3)) * np.array([1.1, 0.95, 0.8])
    table = ramp(unit(fractal(rng, HEIGHT, WIDTH // 12 + 1, 1.3)).repeat(12, 1)[:, :WIDTH], wood)
    return (table + mask * (warped - table)).astype(np.float32)
