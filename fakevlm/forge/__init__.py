"""Turns photographs into labelled pairs, real and forged, with explanations that are true by construction.

Needs neither Ray nor PyTorch. `python -m fakevlm.forge.sheet PHOTOGRAPH... -o SHEET.png` shows all artifacts.
"""

from fakevlm.data.record import SEVERITIES, Severity
from fakevlm.forge.clues import fake_answer, family_of, place_of, real_answer, templates
from fakevlm.forge.encoding import Encoding, draw_encoding, encode, encode_pair
from fakevlm.forge.family import FAMILIES, MIN_EDGE, Family, families_for, forge
from fakevlm.forge.forged import Box, Forged, NotApplicableError
from fakevlm.forge.pair import Pair, first_pair, make_pair
from fakevlm.forge.photo import crop, shrink

__all__ = [
    "FAMILIES",
    "MIN_EDGE",
    "SEVERITIES",
    "Box",
    "Encoding",
    "Family",
    "Forged",
    "NotApplicableError",
    "Pair",
    "Severity",
    "crop",
    "draw_encoding",
    "encode",
    "encode_pair",
    "fake_answer",
    "families_for",
    "family_of",
    "first_pair",
    "forge",
    "make_pair",
    "place_of",
    "real_answer",
    "shrink",
    "templates",
]
