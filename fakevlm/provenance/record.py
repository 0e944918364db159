"""The record of what a file says about its own origin. It is no verdict, and no part of a score."""

from enum import StrEnum
from typing import NamedTuple

MAX_NAME = 200
"""Characters of a generator's or a signer's name."""
MAX_DETAIL = 4096
"""Bytes of the detail in UTF-8."""


class Origin(StrEnum):
    """What a file says it is. The list is closed: readers of the results may switch over it."""

    AI_GENERATED = "ai_generated"
    """Made by a model."""
    AI_EDITED = "ai_edited"
    """A picture that a model has changed, or that a model's work is a part of. Not a fake: retouched photographs are
    labelled like this."""
    CAPTURED = "captured"
    """Taken by a camera or a scanner, phones that compute a picture from several frames included."""
    COMPOSITE = "composite"
    """Put together from several pictures; the detail says under `contains` where one of them is a model's."""
    SIGNED_OTHER = "signed_other"
    """Has Content Credentials that say nothing of the above: cameras and editors sign too."""
    NONE = "none"
    """Says nothing that is known, which says nothing about the picture: most uploads lose their metadata."""


class Basis(StrEnum):
    """Where the origin is said, the strongest first. Only `c2pa_trusted` is evidence; everybody can write the rest."""

    C2PA_TRUSTED = "c2pa_trusted"
    """Content Credentials, unchanged since a signer of the trust list made them."""
    C2PA_UNTRUSTED = "c2pa_untrusted"
    """Content Credentials, unchanged, of a signer that is not on the trust list, or without a trust list to ask."""
    C2PA_EXPIRED = "c2pa_expired"
    """Content Credentials, unchanged, of a certificate that has expired, with no trusted timestamp from before."""
    IPTC = "iptc"
    """IPTC's or Google's fields in XMP or IPTC-IIM."""
    TEXT = "text"
    """A generator's own text: its prompt, its settings, its workflow."""
    AIGC_LABEL = "aigc_label"
    """The label of China's GB 45438-2025."""
    EXIF = "exif"
    """The name of a generator in EXIF or in a field for the name of the software."""


class Provenance(NamedTuple):
    """What a file says about its origin: five columns of the results, `provenance_*` but for the first.

    `detail` is text: one JSON object of at most `MAX_DETAIL` bytes, or None where nothing at all was found. Its keys,
    all of them optional:

    - `sources`: list of objects, one for each source that was found, the one that decided first: `basis` or `state`,
      `says` (an `Origin`), and what it says in its own words.
    - `c2pa`: object with `state` (trusted, untrusted_signer, expired, content_changed, broken, remote_only), `codes`
      (failures as the C2PA library names them), `checked` (false without a trust list) and what the manifest says.
    - `contains`: list of `Origin`, of parts of the picture.
    - `conflict`: true where sources contradict each other.
    - `fault`: the name of an error of the reader's own, with the origin `none`; no file is known to cause one.
    - `cut`: true where something was left out for length.

    All of it is text that a stranger wrote: show it as text, never as markup.
    """

    provenance: Origin = Origin.NONE
    basis: Basis | None = None
    """None where the origin is `none`, and for `signed_other` never."""
    generator: str | None = None
    """The program or model as the file names it, in at most `MAX_NAME` characters."""
    signer: str | None = None
    """The organisation in the certificate of Content Credentials whose signature holds; the basis says if it is
    trusted. None for other sources."""
    detail: str | None = None

    @property
    def is_evidence(self) -> bool:
        """Whether a trusted signer stands for it; anything else is a claim."""
        return self.basis is Basis.C2PA_TRUSTED
