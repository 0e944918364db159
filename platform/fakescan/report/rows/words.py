"""What explanations speak of, as a bit mask: categories of words that the models use, found by expressions of RE2."""

from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray


class Word(NamedTuple):
    """One category."""

    name: str
    label: str
    """For people."""
    pattern: str
    """RE2, without regard to case; RE2 is what Arrow and DuckDB search with."""


WORDS: Final = (
    Word("face", "faces and eyes", r"\b(face|faces|facial|eye|eyes|pupils?|mouth|lips|teeth|ears?|nose)\b"),
    Word("skin", "skin", r"\b(skin|pores?|complexion)\b"),
    Word("hair", "hair and fur", r"\b(hairs?|hairline|fur|whiskers?|feathers?)\b"),
    Word("hands", "hands and fingers", r"\b(hands?|fingers?|thumbs?|fingernails?)\b"),
    Word("anatomy", "bodies and limbs", r"\b(anatom\w*|limbs?|arms?|legs?|paws?|body|bodies|posture|proportions?)\b"),
    Word("text", "text and signs", r"\b(text|letters?|lettering|writing|words?|characters?|signs?|glyphs?|logos?)\b"),
    Word("lighting", "light and shadows", r"\b(light|lighting|lit|shadows?|shading|highlights?|illuminat\w*)\b"),
    Word("reflection", "reflections", r"\b(reflect\w*|mirror\w*)\b"),
    Word("perspective", "geometry and perspective", r"\b(perspective|geometr\w*|symmetr\w*|asymmetr\w*|depth|scale)\b"),
    Word("edges", "edges and outlines", r"\b(edges?|outlines?|boundar\w*|contours?|halos?|seams?|rims?)\b"),
    Word("texture", "texture", r"\b(textures?|textured|grain|surfaces?|material\w*)\b"),
    Word("smooth", "smooth or waxy", r"\b(smooth\w*|waxy|plastic|airbrush\w*|glossy|polished)\b"),
    Word("blur", "blur and lost detail", r"\b(blur\w*|fuzz\w*|unclear|details?|sharpness|resolution)\b"),
    Word(
        "pattern", "repeated patterns", r"\b(repeat\w*|repetit\w*|clone\w*|copies|identical|lattice|patterns?|tiles?)\b"
    ),
    Word("colour", "colour", r"\b(colou?rs?|hues?|saturat\w*|tints?|tones?|banding|bands)\b"),
    Word(
        "distorted", "distortion", r"\b(distort\w*|warp\w*|deform\w*|misshap\w*|bent|melt\w*|twist\w*|unnatural\w*)\b"
    ),
    Word("pasted", "pasted or inpainted", r"\b(past(e|ed)|splic\w*|inpaint\w*|blend\w*|foreign|mismatch\w*|filled)\b"),
    Word("background", "background", r"\b(backgrounds?|backdrops?|sky|scenery)\b"),
    Word("objects", "objects and structure", r"\b(objects?|structur\w*|buildings?|windows?|vehicles?|floating)\b"),
    Word(
        "frequency", "grids of pixels", r"\b(checkerboards?|chessboards?|upsampling|frequenc\w*|grids?|pixels?|noise)\b"
    ),
    Word("compression", "compression and editing", r"\b(compress\w*|jpeg|edit\w*|retouch\w*|filters?|sharpen\w*)\b"),
)
"""A category's bit is its place: new ones are added at the end, 31 at most."""


def words_in(explanations: pa.ChunkedArray) -> NDArray[np.int32]:
    """The categories of each explanation, int32[rows]; 0 where there is no explanation."""
    found = np.zeros(len(explanations), np.int32)
    there = np.flatnonzero(explanations.is_valid().to_numpy())
    texts = explanations.take(pa.array(there))
    for bit, word in enumerate(WORDS):
        has = pc.match_substring_regex(texts, word.pattern, ignore_case=True).to_numpy()
        found[there[has]] |= np.int32(1 << bit)
    return found
