"""What the codes of a validation come to."""

from fakevlm.provenance.content_credentials.json_values import objects
from fakevlm.provenance.record import Basis

_CHANGED = ("assertion.dataHash.mismatch", "assertion.bmffHash.mismatch", "assertion.boxesHash.mismatch",
            "assertion.collectionHash.mismatch")  # fmt: skip
_BROKEN = (
    "claimSignature.mismatch", "claimSignature.missing", "claim.", "manifest.", "hashedURI.", "assertion.hashedURI.",
    "assertion.missing", "assertion.undeclared", "assertion.dataHash.malformed", "assertion.bmffHash.malformed",
    "assertion.boxesHash.", "assertion.cbor.invalid", "assertion.json.invalid", "algorithm.", "general.error",
)  # fmt: skip
"""Codes, or how they begin, after which nothing in a manifest can be believed."""
_EXPIRED = ("signingCredential.expired", "claimSignature.outsideValidity")
_SIGNER = ("signingCredential.", "claimSignature.")
_HARMLESS = ("timeStamp.", "signingCredential.ocsp.", "ingredient.unknownProvenance")
"""About a time stamp, which then does not count; a revocation not asked for; an ingredient without a manifest."""

State = str
"""trusted, untrusted_signer, nonconforming, expired, content_changed, broken, remote_only; the weakest last."""
BASES = {
    "trusted": Basis.C2PA_TRUSTED,
    "nonconforming": Basis.C2PA_UNTRUSTED,
    "untrusted_signer": Basis.C2PA_UNTRUSTED,
    "expired": Basis.C2PA_EXPIRED,
}
"""States in which what is said counts at all, the strongest first."""


def state_of(failures: list[str], passed: list[str]) -> State:
    """What the codes of a manifest's validation come to."""
    if any(code in _CHANGED for code in failures):
        return "content_changed"
    if any(code.startswith(_BROKEN) for code in failures):
        return "broken"
    if any(code in _EXPIRED for code in failures):
        return "expired"
    telling = [code for code in failures if not code.startswith(_HARMLESS) or code.endswith(".revoked")]
    if any(code.startswith(_SIGNER) for code in telling) or "signingCredential.trusted" not in passed:
        return "untrusted_signer"
    return "nonconforming" if telling else "trusted"


def codes_of(statuses: object) -> list[str]:
    """The codes, without those about the person or organisation that a manifest names beside its signer (CAWG)."""
    codes = []
    for status in objects(statuses):
        code = str(status.get("code"))
        is_of_identity = "/cawg." in str(status.get("url")) and code.startswith(("signingCredential.", "timeStamp."))
        if not is_of_identity and not code.startswith("cawg."):
            codes.append(code)
    return codes
