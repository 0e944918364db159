"""The credentials of a file: what its manifest says, and what is recorded of it in any case."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from fakevlm.provenance.content_credentials.chain import Chain, signer_of
from fakevlm.provenance.content_credentials.json_values import an_object, string
from fakevlm.provenance.content_credentials.library import RemoteError, UnreadableError, store_of
from fakevlm.provenance.content_credentials.states import BASES, codes_of, state_of
from fakevlm.provenance.record import Origin
from fakevlm.provenance.statement import Statement
from fakevlm.provenance.trust import TrustLists

_MAX_CODES = 8


class Credentials(NamedTuple):
    """What a file's manifest says, and what is to be recorded of it in any case."""

    statements: list[Statement]
    facts: dict[str, Any]


def read(data: bytes, format: str, trust: TrustLists | None) -> Credentials:
    """The credentials in a file. Never raises: a manifest that cannot be read is `broken`."""
    facts: dict[str, Any] = {"state": "broken", "checked": trust is not None}
    try:
        store = store_of(data, format, trust)
    except RemoteError as error:
        return Credentials([], {**facts, "state": "remote_only", "url": str(error)})
    except UnreadableError as error:
        return Credentials([], {**facts, "codes": [str(error)]})
    manifests = store.get("manifests")
    label = store.get("active_manifest")
    if not isinstance(label, str) or not isinstance(manifests, dict) or not isinstance(manifests.get(label), dict):
        return Credentials([], {**facts, "codes": ["claim.missing"]})
    results = an_object(store.get("validation_results"))
    failures = codes_of(an_object(results.get("activeManifest")).get("failure"))
    passed = codes_of(an_object(results.get("activeManifest")).get("success"))
    state = state_of(failures, passed)
    signer = signer_of(manifests[label])
    facts |= {"state": state, "signer": signer, **_certificate(manifests[label])}
    if failures:
        facts["codes"] = list(dict.fromkeys(failures))[:_MAX_CODES]
    if state not in BASES:
        del facts["signer"]
        return Credentials([], facts)
    chain = Chain(manifests, results)
    said = chain.said(label)
    weakest = max(state, said.state, key=list(BASES).index)
    origin = Origin.SIGNED_OTHER if said.origin is Origin.NONE else said.origin
    speaker = (said.signer or signer) if list(BASES).index(said.state) > list(BASES).index(state) else signer
    statement = Statement(origin, BASES[weakest], said.generator, speaker, said.words, said.contains)
    if chain.void:
        facts["void_ingredients"] = chain.void
    return Credentials([statement], facts)


def _certificate(manifest: Mapping[str, Any]) -> dict[str, str]:
    info = an_object(manifest.get("signature_info"))
    found = {"signed_at": string(info.get("time")), "certificate": string(info.get("common_name"))}
    return {key: text for key, text in found.items() if text}
