"""Sets text on a blank sheet: fonts, broken lines, columns."""

import io
import re
from collections.abc import Sequence
from html.parser import HTMLParser

import numpy as np
from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT = 900, 1200
"""Pixels of a sheet before the camera."""
ALPHABET = frozenset(map(chr, range(32, 127))) | frozenset("ÀÁÂÄÇÈÉÊËÍÎÏÑÓÔÖÚÜßàáâãäçèéêëíîïñóôõöùúûü«»“”’–…")
"""What is set: a glyph that a font lacks would come out as a box, like the garbled text of a forgery."""
Font = ImageFont.FreeTypeFont
Ink = tuple[int, int, int]


class _Paragraphs(HTMLParser):
    """Collects the text of the paragraphs of an HTML page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._open = False

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag == "p" or (tag == "div" and ("class", "para") in attributes):
            self.found.append("")
            self._open = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("p", "div"):
            self._open = False

    def handle_data(self, data: str) -> None:
        if self._open:
            self.found[-1] += data


def paragraphs(html: str) -> list[str]:
    """The paragraphs of an HTML page that are long enough to set, white space folded."""
    parser = _Paragraphs()
    parser.feed(html)
    folded = (re.sub(r"\s+", " ", text).strip() for text in parser.found)
    return [text for text in folded if 80 <= len(text) <= 1500 and ALPHABET.issuperset(text)]


def covers_alphabet(font: bytes) -> bool:
    """Whether a font file has a glyph for every character that is set."""
    face = ImageFont.truetype(io.BytesIO(font), 24)
    missing = bytes(face.getmask("\uffff"))
    return all(bytes(face.getmask(character)) != missing for character in ALPHABET - {" "})


class Sheet:
    """A blank sheet and the means to set text on it."""

    def __init__(self, rng: np.random.Generator, fonts: Sequence[bytes], texts: Sequence[str]) -> None:
        self.rng = rng
        self.texts = texts
        self.ink: Ink = _ink(rng)
        paper = rng.uniform(228, 255) + rng.uniform(-1, 1) * np.array([2, 0, -12])
        self.image = Image.new("RGB", (WIDTH, HEIGHT), tuple(int(min(255, value)) for value in paper))
        self.draw = ImageDraw.Draw(self.image)
        body, head = (fonts[int(index)] for index in rng.integers(len(fonts), size=2))
        self._body, self._head = body, head

    def font(self, size: int, heading: bool = False) -> Font:
        return ImageFont.truetype(io.BytesIO(self._head if heading else self._body), size)

    def text(self) -> str:
        """A paragraph, drawn at random."""
        return self.texts[int(self.rng.integers(len(self.texts)))]

    def words(self, count: int) -> str:
        """So many words from the start of a paragraph."""
        return " ".join(self.text().split()[:count]).strip(" ,;:.")

    def number(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high))

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def column(self, left: int, top: int, right: int, bottom: int, size: int, justify: bool = False) -> int:
        """Fill a column with paragraphs down to `bottom`; return where it ended."""
        font = self.font(size)
        y, indent = top, self.number(0, 2) * size
        while y < bottom - size:
            y = (
                self.paragraph(self.text(), left, y, right, bottom, font, indent, justify)
                + self.number(0, 2) * size // 2
            )
        return y

    def paragraph(
        self,
        text: str,
        left: int,
        top: int,
        right: int,
        bottom: int,
        font: Font,
        indent: int = 0,
        justify: bool = False,
    ) -> int:
        """Set one paragraph, cut off at `bottom`; return the top of the next line."""
        leading = int(font.size * 1.35)
        lines = _broken(text, font, right - left, indent)
        for number, words in enumerate(lines):
            if top + leading > bottom:
                break
            x = left + (indent if number == 0 else 0)
            if justify and number < len(lines) - 1 and len(words) > 2:
                gap = (right - x - sum(font.getlength(word) for word in words)) / (len(words) - 1)
                for word in words:
                    self.draw.text((x, top), word, self.ink, font)
                    x += font.getlength(word) + gap
            else:
                self.draw.text((x, top), " ".join(words), self.ink, font)
            top += leading
        return top

    def rule(self, left: int, y: int, right: int, width: int = 1) -> None:
        self.draw.line((left, y, right, y), self.ink, width)


def _ink(rng: np.random.Generator) -> Ink:
    """Mostly near black, now and then blue or brown."""
    base = rng.integers(5, 60)
    tint = [(0, 0, 0), (0, 10, 90), (40, 15, 0)][int(rng.choice(3, p=[0.75, 0.15, 0.1]))]
    red, green, blue = (int(base + extra) for extra in tint)
    return red, green, blue


def _broken(text: str, font: Font, width: float, indent: int) -> list[list[str]]:
    """The words of a text, line by line."""
    lines: list[list[str]] = [[]]
    used, space = float(indent), font.getlength(" ")
    for word in text.split():
        length = font.getlength(word)
        if lines[-1] and used + length > width:
            lines.append([])
            used = 0.0
        lines[-1].append(word)
        used += length + space
    return lines
