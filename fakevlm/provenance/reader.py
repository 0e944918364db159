"""Reads what a file says about its origin. Never raises."""

from fakevlm.provenance.record import Provenance
from fakevlm.provenance.trust import TrustLists


def read(data: bytes, *, trust: TrustLists | None = None) -> Provenance:
    """The record of a file's bytes; `Provenance()` for what is no image, or says nothing.

    Without `trust` no signer is trusted: Content Credentials are `c2pa_untrusted` or `c2pa_expired`.
    """
    return Provenance()
