"""What a manifest says of the origin, with those that it names as its ingredients."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from fakevlm.provenance.content_credentials.json_values import an_object, objects, string
from fakevlm.provenance.content_credentials.states import BASES, State, codes_of, state_of
from fakevlm.provenance.record import Origin
from fakevlm.provenance.source_types import origin_of, term_of
from fakevlm.provenance.statement import name

_AI = (Origin.AI_GENERATED, Origin.AI_EDITED)
_MAX_MANIFESTS = 32
"""Of a chain of edits; a longer one is cut at its old end."""
_MAX_ACTIONS = 500
_MAX_INGREDIENTS = 500
"""Of all manifests in the chain, and statuses of theirs that were found later."""
_ACTION_KEYS = ("action", "digitalSourceType", "softwareAgent", "softwareAgentIndex")


class Said(NamedTuple):
    """What a manifest and those that it is derived from say."""

    origin: Origin
    generator: str | None
    words: dict[str, Any]
    contains: tuple[Origin, ...] = ()
    state: State = "trusted"
    """The weakest of the manifests that the origin is taken from."""
    signer: str | None = None


class Chain:
    """Walks from a manifest to those that it names as its ingredients."""

    def __init__(self, manifests: dict[str, Any], results: dict[str, Any]) -> None:
        self._manifests = manifests
        self._seen: set[str] = set()
        self._later = [
            delta
            for delta in objects(results.get("ingredientDeltas"))
            if isinstance(delta.get("validationDeltas"), dict)
        ][:_MAX_INGREDIENTS]
        self._ingredients = 0
        self.void = 0
        """Ingredients whose own manifests do not hold."""

    def said(self, label: str) -> Said:
        """What the manifest says, with what it takes from its ingredients."""
        manifest = an_object(self._manifests.get(label))
        self._seen.add(label)
        base, contains, has_parent = Said(Origin.NONE, None, {}), [], False
        for ingredient in objects(manifest.get("ingredients")):
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

    def _ingredient(self, owner: str, ingredient: Mapping[str, Any]) -> Said | None:
        """What an ingredient says; None for one without a manifest that holds."""
        label = ingredient.get("active_manifest")
        if not isinstance(label, str) or label not in self._manifests:
            return None
        if label in self._seen or len(self._seen) >= _MAX_MANIFESTS or self._ingredients >= _MAX_INGREDIENTS:
            return None
        self._ingredients += 1
        results = [an_object(an_object(ingredient.get("validation_results")).get("activeManifest"))]
        suffix = f"{owner}/c2pa.assertions/{ingredient.get('label') or ''}"
        results += [
            delta["validationDeltas"] for delta in self._later if _ends(delta.get("ingredientAssertionURI"), suffix)
        ]
        passed = [code for part in results for code in codes_of(part.get("success"))]
        failures = [code for part in results for code in codes_of(part.get("failure"))]
        # A hash that was wrong when it was opened is among them: a manifest that was put under another picture.
        failures += codes_of(ingredient.get("validation_status"))
        failures = [code.removeprefix("ingredient.") for code in failures]
        state = state_of(failures, passed)
        if state not in BASES:
            self.void += 1
            return None
        found = self.said(label)
        signer = found.signer or signer_of(an_object(self._manifests[label]))
        return found._replace(state=max(state, found.state, key=list(BASES).index), signer=signer)


def _own_words(manifest: Mapping[str, Any], base: Said, *, has_parent: bool) -> Said:
    """What a manifest says by its actions and its metadata, of a picture whose parent says `base`."""
    program, signer = _claim_generator(manifest), signer_of(manifest)
    made: list[Said] = []
    changes: list[Said] = []
    placed: list[Origin] = []
    watermarked = False
    for action in _actions(manifest):
        kind = str(action.get("action") or "")
        watermarked = watermarked or "watermarked" in kind
        source = action.get("digitalSourceType")
        if not isinstance(source, str):
            continue
        words = {"action": kind, "digital_source_type": term_of(source)}
        found = Said(origin_of(source), _agent(action) or program, words, signer=signer)
        if kind == "c2pa.placed":
            placed += [found.origin] if found.origin is not Origin.NONE else []
        else:
            (made if kind in ("c2pa.created", "c2pa.opened") else changes).append(found)
    if not made and (source := _metadata_source(manifest)):
        made = [Said(origin_of(source), program, {"digital_source_type": term_of(source)}, signer=signer)]
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


def _first(said: list[Said], wanted: Callable[[Said], bool]) -> Said | None:
    return next(filter(wanted, said), None)


def _has_ai(parts: Iterable[Origin]) -> bool:
    return any(part in _AI for part in parts)


def _actions(manifest: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The actions of a manifest in their order, each with what a template says of its kind."""
    count = 0
    for assertion in objects(manifest.get("assertions")):
        if not str(assertion.get("label")).startswith("c2pa.actions"):
            continue
        data = an_object(assertion.get("data"))
        templates = {str(template.get("action")): template for template in objects(data.get("templates"))}
        agents = data.get("softwareAgents")
        for action in objects(data.get("actions")):
            count += 1
            if count > _MAX_ACTIONS:
                return
            merged = (templates.get("*", {}), templates.get(str(action.get("action")), {}))
            template = {key: part[key] for part in merged for key in _ACTION_KEYS if key in part}
            index = action.get("softwareAgentIndex")
            if isinstance(agents, list) and isinstance(index, int) and 0 <= index < len(agents):
                template["softwareAgent"] = agents[index]
            yield {**template, **action}


def _metadata_source(manifest: Mapping[str, Any]) -> str:
    """The source type in a manifest's metadata assertions; "" where there is none."""
    for assertion in objects(manifest.get("assertions")):
        label = str(assertion.get("label"))
        if label.startswith(("stds.iptc", "c2pa.metadata", "cawg.metadata", "stds.schema-org")):
            for key, value in an_object(assertion.get("data")).items():
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
    for info in objects(infos) if isinstance(infos, list) else objects([infos]):
        if found := name(_with_version(info)):
            return found
    claim = manifest.get("claim_generator")
    return name(claim) if isinstance(claim, str) else None


def _with_version(info: Mapping[str, Any]) -> str:
    parts = [info.get("name"), info.get("version")]
    return " ".join(part for part in parts if isinstance(part, str))


def signer_of(manifest: Mapping[str, Any]) -> str | None:
    """The organisation in the certificate, else the name in it."""
    info = an_object(manifest.get("signature_info"))
    return name(string(info.get("issuer"))) or name(string(info.get("common_name")))


def _ends(url: object, suffix: str) -> bool:
    return isinstance(url, str) and url.endswith(suffix)
