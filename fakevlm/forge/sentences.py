"""The words of the clues: for each family what can be seen and why it betrays synthesis; and what is true of real ones.

`{where}` is a phrase such as `in the upper left`, `{degree}` an adjective such as `faint` or `strong`; with a capital
letter they begin a sentence. Any `what` goes with any `why` of its family. A family's keywords are in each of its
`what` sentences and in no sentence of another family, so that an explanation can be traced back to the family it names.
"""

from typing import NamedTuple


class Sentences(NamedTuple):
    """The sentences about one family."""

    keywords: tuple[str, ...]
    """Whole words in lower case that name this family and no other."""
    what: tuple[str, ...]
    why: tuple[str, ...]


FAKE: dict[str, Sentences] = {
    "checkerboard": Sentences(
        ("checkerboard", "chessboard", "upsampling"),
        (
            "A {degree} checkerboard pattern covers the surfaces {where}.",
            "The pixels {where} alternate in a {degree} checkerboard of bright and dark cells.",
            "{Where}, small bright and dark cells form a {degree} checkerboard.",
            "{Degree} checkerboard texture shows {where}, on objects and background alike.",
            "Look {where}: a {degree} chessboard of small cells is printed over everything.",
            "A {degree} and regular chessboard grid lies over the picture {where}.",
        ),
        (
            "Upsampling layers leave such a grid; a lens never does.",
            "Such a fixed grid comes from upsampling in a generator.",
            "No sensor and no lens makes a pattern this regular.",
            "It is the trace of a network that enlarges small maps.",
        ),
    ),
    "smoothing": Sentences(
        ("waxy", "plastic", "smoothed", "tiles", "decoder"),
        (
            "Fine detail {where} is replaced by {degree} waxy tiles.",
            "The texture {where} looks waxy, with {degree} flat tiles and no grain.",
            "{Where}, surfaces turn into {degree} waxy tiles without detail.",
            "Objects {where} break into small plastic tiles, a {degree} loss of detail.",
            "A {degree} plastic look {where} hides all fine texture.",
            "Detail {where} was smoothed away, and {degree} flat tiles remain.",
        ),
        (
            "A decoder with too few codes rebuilds pictures this way.",
            "That is how a weak decoder restores a picture.",
            "A camera keeps the fine grain that is missing here.",
            "A network with little memory loses such detail; a lens does not.",
        ),
    ),
    "repetition": Sentences(
        ("repeats", "repeated", "cloned", "identical", "copies", "copying", "lattice"),
        (
            "The same small patch repeats {where} in a {degree} lattice.",
            "{Where}, one piece of texture is cloned again and again, a {degree} pattern.",
            "{Degree} copies of one patch stand side by side {where}.",
            "A {degree} row of identical patches repeats {where}.",
            "Identical pieces are cloned {where} at equal distances, a {degree} lattice.",
            "One square of the picture appears many times {where}, as {degree} copies.",
        ),
        (
            "Nature never makes the same piece again.",
            "Natural surfaces vary from place to place.",
            "A generator that lacks detail covers space by copying.",
            "Even walls and leaves differ from piece to piece.",
        ),
    ),
    "splice": Sentences(
        ("pasted", "splice", "spliced", "foreign", "mismatch"),
        (
            "A region {where} seems pasted in, with {degree} differences in colour and grain.",
            "{Where}, a pasted region with a {degree} border does not match its surroundings.",
            "The part {where} is a {degree} splice of foreign content.",
            "A foreign piece with a soft outline sits {where}, a {degree} mismatch.",
            "Content of another picture was pasted {where}, and its {degree} border is soft.",
            "A {degree} soft border {where} surrounds a spliced region.",
        ),
        (
            "Its colour and grain come from a different scene.",
            "One exposure cannot hold two scenes like this.",
            "The scene does not continue across that border.",
            "Objects on both sides of the border do not belong together.",
        ),
    ),
    "self_blend": Sentences(
        ("ghost", "doubled", "twice", "oval", "swap", "swapped"),
        (
            "Contours {where} appear twice inside a {degree} tinted oval.",
            "A {degree} ghost of the subject lies over itself {where}.",
            "{Where}, doubled outlines and a {degree} tint cover an oval.",
            "The subject {where} is doubled by a {degree} shifted layer of itself.",
            "A {degree} oval {where} shows doubled edges in another colour.",
            "{Degree} ghost contours {where} reveal a blend of the subject with itself.",
        ),
        (
            "Swapped faces and heads leave such a mask.",
            "A single exposure gives every subject one outline.",
            "It is the mark of a swap that was blended in.",
            "Its tint is one that the surroundings lack.",
        ),
    ),
    "warp": Sentences(
        ("warped", "warp", "bend", "bends", "bending", "distorted", "distortion"),
        (
            "Shapes {where} are warped, with a {degree} bend in every line.",
            "{Where}, a {degree} distortion bends the contours.",
            "The geometry {where} is distorted by a {degree} local bend.",
            "A {degree} warp pulls the contours {where} out of shape.",
            "Edges {where} flow like liquid, a {degree} distortion.",
            "Objects {where} lose their shape in a {degree} warp.",
        ),
        (
            "Solid objects keep their shape; generators often do not.",
            "A lens bends the whole frame, never one spot.",
            "Such local bending has no cause in the scene.",
            "The surroundings stay straight, which no lens explains.",
        ),
    ),
    "garbled_text": Sentences(
        ("text", "letters", "writing", "glyphs", "garbled", "alphabet", "words"),
        (
            "The letters {where} are garbled, {degree} strokes without meaning.",
            "{Where}, the writing consists of {degree} strokes that form no words.",
            "A {degree} jumble of false letters stands {where}.",
            "Lines of text {where} wobble and run together, a {degree} jumble.",
            "{Degree} garbled glyphs replace the words {where}.",
            "The glyphs {where} belong to no alphabet, a {degree} error in the text.",
        ),
        (
            "Generators imitate the look of writing, not its meaning.",
            "Printed letters stand upright on a straight line.",
            "No printer sets letters that collide like this.",
            "A page that people made can be read.",
        ),
    ),
    "lighting": Sentences(
        ("lighting", "lit", "shading", "lamp", "shadows", "sun", "brightness"),
        (
            "The lighting {where} runs against the rest, a {degree} ramp from bright to dark.",
            "{Where}, a {degree} shading gradient ends at a sudden outline.",
            "A region {where} is lit from its own side, with {degree} contrast.",
            "The brightness {where} follows a {degree} ramp that the surroundings lack.",
            "{Degree} shading {where} contradicts the lighting of the scene.",
            "One region {where} is lit as if by a lamp of its own, a {degree} error.",
        ),
        (
            "A single sun cannot do this.",
            "All shadows in one scene follow the same source.",
            "No lamp ends its effect at such an outline.",
            "The direction of lighting must agree within a scene.",
        ),
    ),
    "colour_bleeding": Sentences(
        ("bleed", "bleeds", "leak", "leaks", "fringes"),
        (
            "Colours {where} bleed past their outlines, a {degree} shift.",
            "{Where}, colour leaks over edges and leaves {degree} fringes.",
            "A {degree} colour bleed runs along the contours {where}.",
            "The colour {where} is shifted against the outlines and leaves {degree} fringes.",
            "{Degree} coloured fringes bleed from the objects {where}.",
            "Colour {where} does not stay inside its shapes but leaks out, a {degree} error.",
        ),
        (
            "Generators decode colour more coarsely than detail.",
            "A sensor records colour and outline in the same place.",
            "Lens faults are thinner and grow toward the corners.",
            "Colour and contour belong to one surface and must agree.",
        ),
    ),
    "inpainting": Sentences(
        ("hole", "filled", "inpainted", "erased", "streaks", "smear", "guessed"),
        (
            "A hole {where} was filled with {degree} streaks.",
            "{Where}, a filled hole leaves a {degree} smear without texture.",
            "The texture stops {where} at a {degree} smear that was inpainted.",
            "Something was erased {where}, and {degree} streaks of nearby colours remain.",
            "An inpainted region {where} has no grain, only {degree} streaks.",
            "The surroundings flow as {degree} streaks into a hole {where}.",
        ),
        (
            "Texture and grain do not stop like that by themselves.",
            "Its content was guessed from the border alone.",
            "A sensor leaves grain in every part of the frame.",
            "Diffusion from the border carries no detail.",
        ),
    ),
    "frequency": Sentences(
        ("ripples", "ringing", "rings", "spectrum", "frequencies", "echoes", "wavelength"),
        (
            "{Degree} ripples of one width follow every contour {where}.",
            "{Where}, contours carry {degree} ringing and fine detail is gone.",
            "Part of the spectrum is missing {where}, which leaves {degree} ripples.",
            "Echoes of every contour run {where} as {degree} ripples.",
            "{Degree} ringing of a single wavelength covers the texture {where}.",
            "The spectrum {where} has been cut, and {degree} echoes surround all objects.",
        ),
        (
            "A filter rings like this, a lens does not.",
            "Missing frequencies betray the filters of a network.",
            "Natural scenes contain all frequencies.",
            "Such waves belong to no object in the scene.",
        ),
    ),
    "halo": Sentences(
        ("halo", "halos", "rim", "rims", "sharpened", "sharpening", "glow", "overshoot"),
        (
            "{Degree} bright and dark halos line the contours {where}.",
            "{Where}, edges are sharpened too far and wear {degree} halos.",
            "A {degree} bright rim follows the outlines {where}.",
            "The contours {where} glow with {degree} halos on both sides.",
            "Sharpening {where} went too far and left {degree} rims.",
            "A {degree} halo separates objects from their background {where}.",
        ),
        (
            "Generators exaggerate contours; optics soften them.",
            "Optics never brighten the air around an object.",
            "No lens draws rims of that width.",
            "The overshoot comes from a filter, not from the scene.",
        ),
    ),
    "banding": Sentences(
        ("bands", "banding", "posterised", "steps", "tones", "quantisation"),
        (
            "Gradients {where} fall into {degree} bands of flat colour.",
            "{Where}, tones jump in {degree} steps instead of gradually.",
            "Only a few tones remain {where}, with {degree} banding.",
            "The picture {where} is posterised into {degree} flat areas.",
            "{Degree} steps run through soft gradients {where}.",
            "Soft transitions {where} break into {degree} bands.",
        ),
        (
            "A sensor records hundreds of tones.",
            "A network with too few output values causes this.",
            "Shades in nature change without jumps.",
            "Such coarse quantisation does not come from a camera.",
        ),
    ),
}

REAL = Sentences(
    (),
    (
        "Nothing in this picture was painted, pasted or generated.",
        "No region was pasted, filled, cloned or warped.",
        "The picture is a plain crop without any edited region.",
        "No part of it was edited or generated.",
        "No artifact was added anywhere in the frame.",
        "There is no splice, no filled hole and no cloned patch.",
    ),
    (
        "Edges, texture and grain are as they were recorded.",
        "All of its content comes from one source.",
        "Shapes and texture were left as they are.",
        "The frame holds one recording from corner to corner.",
        "Neither shapes nor shading were altered in any place.",
        "All regions belong together.",
    ),
)
"""Only what the program knows: that it has changed nothing but the size and the colours of the whole."""

DEGREES: dict[str, tuple[str, ...]] = {
    "subtle": ("faint", "slight", "weak", "barely visible"),
    "visible": ("clear", "visible", "plain", "noticeable"),
    "strong": ("strong", "heavy", "severe", "glaring"),
}
"""Adjectives by severity; none begins with a vowel, so that `a` fits before each."""

PLACES: dict[str, tuple[str, ...]] = {
    "whole": ("across the whole frame", "over the entire picture"),
    "upper half": ("across the upper half", "in the upper half"),
    "lower half": ("across the lower half", "in the lower half"),
    "left half": ("across the left half", "in the left half"),
    "right half": ("across the right half", "in the right half"),
    "upper left": ("in the upper left", "at the upper left"),
    "top": ("near the top", "at the top"),
    "upper right": ("in the upper right", "at the upper right"),
    "left": ("on the left", "at the left side"),
    "centre": ("in the centre", "in the middle"),
    "right": ("on the right", "at the right side"),
    "lower left": ("in the lower left", "at the lower left"),
    "bottom": ("near the bottom", "at the bottom"),
    "lower right": ("in the lower right", "at the lower right"),
}
"""Phrases for each place in the frame."""
