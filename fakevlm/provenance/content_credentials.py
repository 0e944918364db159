"""C2PA manifests: who signed, whether it holds, and what the chain of manifests says of the origin.

The library validates; what its codes mean for us is decided here, by the codes and never by its one word for all of
them. It is loaded with the first manifest, and opens no connection: not for manifests elsewhere, not for certificates.
"""

import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from fakevlm.provenance.record import Basis, Origin
from fakevlm.provenance.source_types import origin_of, term_of
from fakevlm.provenance.statement import Statement, name
from fakevlm.provenance.trust import TrustLists

_TYPES = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "GIF": "image/gif",
    "TIFF": "image/tiff",
    "AVIF": "image/avif",
    "HEIF": "image/heif",
}
_KEY_USAGES = (
    "1.3.6.1.5.5.7.3.4",  # e-mail protection
    "1.3.6.1.5.5.7.3.36",  # document signing
    "1.3.6.1.5.5.7.3.8",  # time stamping
    "1.3.6.1.5.5.7.3.9",  # OCSP signing
    "1.3.6.1.4.1.311.76.59.1.9",  # Microsoft's for C2PA
    "1.3.6.1.4.1.62558.2.1",  # C2PA's own
)
"""What a signer's certificate may be made for."""

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
_HARMLESS = ("timeStamp.", "signingCredential.ocsp.", "ingredient.")
"""About a time stamp, which then does not count; about asking for a revocation; about what is said in ingredients,
which is looked at there."""

_AI = (Origin.AI_GENERATED, Origin.AI_EDITED)
_MAX_JSON = 8 << 20
_MAX_MANIFESTS = 32
"""Of a chain of edits; a longer one is cut at its old end."""
_MAX_ACTIONS = 500
_MAX_CODES = 8

State = str
"""trusted, untrusted_signer, nonconforming, expired, content_changed, broken, remote_only; the weakest last."""
_BASES = {
    "trusted": Basis.C2PA_TRUSTED,
    "nonconforming": Basis.C2PA_UNTRUSTED,
    "untrusted_signer": Basis.C2PA_UNTRUSTED,
    "expired": Basis.C2PA_EXPIRED,
}
"""States in which what is said counts at all, the strongest first."""


class Credentials(NamedTuple):
    """What a file's manifest says, and what is to be recorded of it in any case."""

    statements: list[Statement]
    facts: dict[str, Any]


class _Said(NamedTuple):
    """What a manifest and those that it is derived from say."""

    origin: Origin
    generator: str | None
    words: dict[str, Any]
    contains: tuple[Origin, ...] = ()
    state: State = "trusted"
    """The weakest of the manifests that the origin is taken from."""
    signer: str | None = None


def read(data: bytes, format: str, trust: TrustLists | None) -> Credentials:
    """The credentials in a file. Never raises: a manifest that cannot be read is `broken`."""
    facts: dict[str, Any] = {"state": "broken", "checked": trust is not None}
    try:
        store = _store(data, format, trust)
    except _RemoteError as error:
        return Credentials([], {**facts, "state": "remote_only", "url": str(error)})
    except _UnreadableError as error:
        return Credentials([], {**facts, "codes": [str(error)]})
    manifests = store.get("manifests")
    label = store.get("active_manifest")
    if not isinstance(label, str) or not isinstance(manifests, dict) or not isinstance(manifests.get(label), dict):
        return Credentials([], {**facts, "codes": ["claim.missing"]})
    results = _dict(store.get("validation_results"))
    failures = _codes(_dict(results.get("activeManifest")).get("failure"))
    passed = _codes(_dict(results.get("activeManifest")).get("success"))
    state = state_of(failures, passed)
    signer = _signer(manifests[label])
    facts |= {"state": state, "signer": signer, **_certificate(manifests[label])}
    if failures:
        facts["codes"] = list(dict.fromkeys(failures))[:_MAX_CODES]
    if state not in _BASES:
        del facts["signer"]
        return Credentials([], facts)
    chain = _Chain(manifests, results)
    said = chain.said(label)
    weakest = max(state, said.state, key=list(_BASES).index)
    origin = Origin.SIGNED_OTHER if said.origin is Origin.NONE else said.origin
    speaker = (said.signer or signer) if list(_BASES).index(said.state) > list(_BASES).index(state) else signer
    statement = Statement(origin, _BASES[weakest], said.generator, speaker, said.words, said.contains)
    if chain.void:
        facts["void_ingredients"] = chain.void
    return Credentials([statement], facts)


class _RemoteError(Exception):
    """The manifest is elsewhere; the message is where."""


class _UnreadableError(Exception):
    """The library could not read the manifest; the message is why."""


def _store(data: bytes, format: str, trust: TrustLists | None) -> dict[str, Any]:
    """The library's report on the manifest store of a file."""
    from c2pa import C2paError, Reader

    try:
        with Reader(_TYPES[format], io.BytesIO(data), context=_context(trust, os.getpid())) as reader:
            text = reader.json()
    except C2paError.RemoteManifest as error:
        raise _RemoteError(str(error).removeprefix("RemoteManifest: ")) from None
    except (C2paError, OSError, ValueError, TypeError, RuntimeError) as error:
        raise _UnreadableError(" ".join(str(error).split())[:200] or type(error).__name__) from None
    if len(text) > _MAX_JSON:
        raise _UnreadableError(f"a report of {len(text)} characters")
    try:
        return _dict(json.loads(text))
    except (ValueError, RecursionError):
        raise _UnreadableError("a report that is not JSON") from None


@lru_cache(maxsize=4)
def _context(trust: TrustLists | None, process: int) -> Any:
    """The library's settings; one for a process and its trust lists, because certificates are parsed for it.

    That of a parent is of no use to its fork.
    """
    from c2pa import Context

    settings: dict[str, Any] = {
        "version": 1,
        "verify": {
            "verify_after_reading": True,
            "verify_trust": True,
            "verify_timestamp_trust": True,
            "remote_manifest_fetch": False,
            "ocsp_fetch": False,
        },
        "core": {"allowed_network_hosts": []},
        "trust": {"trust_config": "\n".join(_KEY_USAGES)},
    }
    if trust is not None:
        settings["trust"]["trust_anchors"] = trust.pem
    return Context.from_dict(settings)


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


class _Chain:
    """Walks from a manifest to those that it names as its ingredients."""

    def __init__(self, manifests: dict[str, Any], results: dict[str, Any]) -> None:
        self._manifests = manifests
        self._seen: set[str] = set()
        self._later = [
            delta
            for delta in _dicts(results.get("ingredientDeltas"))
            if isinstance(delta.get("validationDeltas"), dict)
        ]
        self.void = 0
        """Ingredients whose own manifests do not hold."""

    def said(self, label: str) -> _Said:
        """What the manifest says, with what it takes from its ingredients."""
        manifest = _dict(self._manifests.get(label))
        self._seen.add(label)
        base, contains, has_parent = _Said(Origin.NONE, None, {}), [], False
        for ingredient in _dicts(manifest.get("ingredients")):
            has_parent = has_parent or ingredient.get("relationship") == "parentOf"
            found = self._ingredient(label, ingredient)
            if found is None:
                continue
            if ingredient.get("relationship") == "parentOf":
                base = found
            elif ingredient.get("relationship") == "componentOf":
                contains += [found.origin, *found.contains]
        said = _own_words(manifest, base, has_parent=has_parent)
        parts = tuple(dict.fromkeys([*said.contains, *(part for part in contains if part is not Origin.NONE)]))
        origin = said.origin
        if parts and (origin is Origin.NONE or (origin is Origin.CAPTURED and _has_ai(parts))):
            origin = Origin.COMPOSITE
        return said._replace(origin=origin, contains=parts)

    def _ingredient(self, owner: str, ingredient: Mapping[str, Any]) -> _Said | None:
        """What an ingredient says; None for one without a manifest that holds."""
        label = ingredient.get("active_manifest")
        if not isinstance(label, str) or label not in self._manifests:
            return None
        if label in self._seen or len(self._seen) >= _MAX_MANIFESTS:
            return None
        results = [_dict(_dict(ingredient.get("validation_results")).get("activeManifest"))]
        suffix = f"{owner}/c2pa.assertions/{ingredient.get('label') or ''}"
        results += [
            delta["validationDeltas"] for delta in self._later if _ends(delta.get("ingredientAssertionURI"), suffix)
        ]
        passed = [code for part in results for code in _codes(part.get("success"))]
        failures = [code for part in results for code in _codes(part.get("failure"))]
        # A hash that was wrong when it was opened is among them: a manifest that was put under another picture.
        failures += _codes(ingredient.get("validation_status"))
        failures = [code.removeprefix("ingredient.") for code in failures]
        state = state_of(failures, passed)
        if state not in _BASES:
            self.void += 1
            return None
        found = self.said(label)
        signer = found.signer or _signer(_dict(self._manifests[label]))
        return found._replace(state=max(state, found.state, key=list(_BASES).index), signer=signer)


def _own_words(manifest: Mapping[str, Any], base: _Said, *, has_parent: bool) -> _Said:
    """What a manifest says by its actions and its metadata, of a picture whose parent says `base`."""
    program, signer = _claim_generator(manifest), _signer(manifest)
    made: list[_Said] = []
    changes: list[_Said] = []
    placed: list[Origin] = []
    watermarked = False
    for action in _actions(manifest):
        kind = str(action.get("action") or "")
        watermarked = watermarked or "watermarked" in kind
        source = action.get("digitalSourceType")
        if not isinstance(source, str):
            continue
        words = {"action": kind, "digital_source_type": term_of(source)}
        found = _Said(origin_of(source), _agent(action) or program, words, signer=signer)
        if kind == "c2pa.placed":
            placed += [found.origin] if found.origin is not Origin.NONE else []
        else:
            (made if kind in ("c2pa.created", "c2pa.opened") else changes).append(found)
    if not made and (source := _metadata_source(manifest)):
        made = [_Said(origin_of(source), program, {"digital_source_type": term_of(source)}, signer=signer)]
    start = _first(made, lambda said: said.origin is not Origin.NONE) or base
    if start.origin is Origin.NONE and made:
        start = made[0]
    change = _first(changes, lambda said: said.origin in _AI) or _first(changes, lambda said: True)
    said = start
    if change is not None and not made and not has_parent:
        said = change  # nothing else is said of how it began
    elif change is not None and change.origin in _AI and start.origin is not Origin.AI_GENERATED:
        said = change._replace(origin=Origin.AI_EDITED)
    known = {**said.words, "watermarked": True} if watermarked else said.words
    contains = tuple(dict.fromkeys([*base.contains, *placed]))
    return said._replace(generator=said.generator or program, words=known, contains=contains)


def _first(said: list[_Said], wanted: Callable[[_Said], bool]) -> _Said | None:
    return next(filter(wanted, said), None)


def _has_ai(parts: Iterable[Origin]) -> bool:
    return any(part in _AI for part in parts)


def _actions(manifest: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The actions of a manifest in their order, each with what a template says of its kind."""
    count = 0
    for assertion in _dicts(manifest.get("assertions")):
        if not str(assertion.get("label")).startswith("c2pa.actions"):
            continue
        data = _dict(assertion.get("data"))
        templates = {str(template.get("action")): template for template in _dicts(data.get("templates"))}
        agents = data.get("softwareAgents")
        for action in _dicts(data.get("actions")):
            count += 1
            if count > _MAX_ACTIONS:
                return
            template = {**templates.get("*", {}), **templates.get(str(action.get("action")), {})}
            index = action.get("softwareAgentIndex")
            if isinstance(agents, list) and isinstance(index, int) and 0 <= index < len(agents):
                template["softwareAgent"] = agents[index]
            yield {**template, **action}


def _metadata_source(manifest: Mapping[str, Any]) -> str:
    """The source type in a manifest's metadata assertions; "" where there is none."""
    for assertion in _dicts(manifest.get("assertions")):
        label = str(assertion.get("label"))
        if label.startswith(("stds.iptc", "c2pa.metadata", "cawg.metadata", "stds.schema-org")):
            for key, value in _dict(assertion.get("data")).items():
                if key.rpartition(":")[2].lower() == "digitalsourcetype":
                    value = value.get("@id") if isinstance(value, dict) else value
                    if isinstance(value, str):
                        return value
    return ""


def _agent(action: Mapping[str, Any]) -> str | None:
    agent = action.get("softwareAgent")
    if isinstance(agent, dict):
        agent = _with_version(agent)
    return name(agent) if isinstance(agent, str) else None


def _claim_generator(manifest: Mapping[str, Any]) -> str | None:
    infos = manifest.get("claim_generator_info")
    for info in _dicts(infos) if isinstance(infos, list) else _dicts([infos]):
        if found := name(_with_version(info)):
            return found
    claim = manifest.get("claim_generator")
    return name(claim) if isinstance(claim, str) else None


def _with_version(info: Mapping[str, Any]) -> str:
    parts = [info.get("name"), info.get("version")]
    return " ".join(part for part in parts if isinstance(part, str))


def _signer(manifest: Mapping[str, Any]) -> str | None:
    """The organisation in the certificate, else the name in it."""
    info = _dict(manifest.get("signature_info"))
    return name(_string(info.get("issuer"))) or name(_string(info.get("common_name")))


def _certificate(manifest: Mapping[str, Any]) -> dict[str, str]:
    info = _dict(manifest.get("signature_info"))
    found = {"signed_at": _string(info.get("time")), "certificate": _string(info.get("common_name"))}
    return {key: text for key, text in found.items() if text}


def _codes(statuses: object) -> list[str]:
    """The codes, without those about the person or organisation that a manifest names beside its signer (CAWG)."""
    codes = []
    for status in _dicts(statuses):
        code = str(status.get("code"))
        is_of_identity = "/cawg." in str(status.get("url")) and code.startswith(("signingCredential.", "timeStamp."))
        if not is_of_identity and not code.startswith("cawg."):
            codes.append(code)
    return codes


def _ends(url: object, suffix: str) -> bool:
    return isinstance(url, str) and url.endswith(suffix)


def _string(value: object) -> str:
    return value if isinstance(value, str) else ""


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _dicts(value: object) -> list[dict[str, Any]]:
    return [part for part in value if isinstance(part, dict)] if isinstance(value, list) else []
