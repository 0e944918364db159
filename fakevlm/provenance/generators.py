"""The texts that generators leave: settings, prompts and workflows, each in its program's own form.

Every form is recognised by its own keys and shape, never by a name somewhere in a text: a photograph with the word
"Firefly" in its description is no work of it. All of them are claims that anybody can write.
"""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from fakevlm.provenance.record import Basis, Origin
from fakevlm.provenance.statement import Statement

# Possessive, so that a text of nothing but spaces or digits is gone through once.
_STEPS = re.compile(r"Steps: *+\d++(?>\s*+[,|]|\s*\n)")
"""How a line of settings of AUTOMATIC1111's web UI begins, which Forge, SD.Next, Civitai and many others write too."""
_SETTING = re.compile(r"\b(?:Sampler: *+\S|CFG scale: *+[\d.]|Seed: *+-?\d|Model hash: *+\w)")
_MAX_DISTANCE = 600
"""Characters between its beginning and one of the other settings, of which it has one at least."""
_MAX_SETTING = 200
_MAX_LINES = 8
"""Places in a text where a line of settings may begin; it is the last of them."""
# With their first letter before the condition on what precedes it: a letter is searched for at the speed of C.
_VERSION = re.compile(r"V(?<!\wV)ersion: *([^,|\n]{1,80})")
_APP = re.compile(r"A(?<!\wA)pp: *([^,|\n]{1,80})")
_MODEL = re.compile(r"M(?<!\wM)odel: *([^,|\n]{1,120})")
_WEB_UI = "Stable Diffusion web UI"

_NODE_CLASS = re.compile(r'"class_type"\s*:\s*"[^"]')
_CHECKPOINT = re.compile(r'"(?:ckpt_name|unet_name|model_name)"\s*:\s*"([^"]{1,120})"')
_PREFIXED = re.compile(r"\s*(?:prompt|workflow)\s*:\s*(?=\{)", re.IGNORECASE)
_JOB = re.compile(r"[Jj](?<!\w[Jj])(?i:ob ID: *+[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b)")
_DREAM = re.compile(r"\s-(?:S|s|C|A) *[\w.]+")
_INVOKE = ("invokeai_metadata", "invokeai_workflow", "invokeai_graph", "sd-metadata")
_INVOKE_KEYS = ("generation_mode", "positive_prompt", "app_version", "model_weights", "image", "nodes", "core_metadata")
_EASY_KEYS = ("num_inference_steps", "guidance_scale", "use_stable_diffusion_model", "sampler_name")
_EASY_TITLES = ("Steps", "Guidance Scale", "Stable Diffusion model", "Sampler", "Seed")
_FOOOCUS_KEYS = ("base_model", "base_model_hash", "styles", "performance", "metadata_scheme", "fooocus_v2_expansion")
_DRAW_THINGS_KEYS = ("c", "uc", "seed", "sampler", "scale", "steps", "model", "size")
_NOVELAI_KEYS = ("uc", "sampler", "seed", "steps", "scale", "noise", "strength", "request_type", "v4_prompt")
_MAX_JSON = 256 << 10
"""Characters of a JSON object that is understood. Its values may take sixty times the memory."""


class Text(NamedTuple):
    """A text and where it stands."""

    place: str
    """Keyword of PNG, or name of the tag or property."""
    text: str


def statements(texts: Iterable[Text]) -> Iterator[Statement]:
    """What the texts of a file say, one statement for each program that wrote any. Never raises for bad texts."""
    texts = list(texts)
    keyed = {place: text for place, text in reversed(texts)}
    seen: set[str] = set()
    for found in (*_by_keyword(keyed), *(said for text in texts for said in _by_form(text))):
        program = found.generator or ""
        if program not in seen:
            seen.add(program)
            yield found


def _by_keyword(keyed: dict[str, str]) -> Iterator[Statement]:
    """What is known by the names of PNG's texts, together with what they hold."""
    if keyed.get("Software", "").strip() == "NovelAI" or _is_novelai(_object(keyed.get("Comment", ""))):
        yield _said(
            "NovelAI", "Software", keyed.get("Source") or keyed.get("Description", ""), model=keyed.get("Source")
        )
    for place in _INVOKE:
        if any(key in _object(keyed.get(place, "")) for key in _INVOKE_KEYS) or _cut_object(keyed.get(place, "")):
            yield _said("InvokeAI", place, keyed[place])
            break
    if _DREAM.search(keyed.get("Dream", "")):
        yield _said("InvokeAI", "Dream", keyed["Dream"])
    names = set(keyed)
    if names & {"negative_prompt", "Negative Prompt"} and (
        len(names & set(_EASY_KEYS)) >= 2 or len(names & set(_EASY_TITLES)) >= 2
    ):
        model = keyed.get("use_stable_diffusion_model") or keyed.get("Stable Diffusion model")
        yield _said("Easy Diffusion", "negative_prompt", keyed.get("prompt") or keyed.get("Prompt", ""), model=model)
    if "fooocus_scheme" in keyed:
        yield _said("Fooocus", "fooocus_scheme", keyed.get("parameters", ""))


def _by_form(text: Text) -> Iterator[Statement]:
    """What is known by the form of one text, wherever it stands."""
    place, value = text
    value = value.strip()
    if prefix := _PREFIXED.match(value):
        value = value[prefix.end() :]
    if value.startswith("{"):
        yield from _of_object(place, value)
    elif (settings := _settings(value)) is not None:
        model = _MODEL.search(settings)
        yield _said(_settings_program(settings), place, value, model=model.group(1).strip() if model else None)
    elif _JOB.search(value):
        yield _said("Midjourney", place, value)


def _settings(value: str) -> str | None:
    """The line of settings in a text; None where there is none."""
    at = len(value)
    for _ in range(_MAX_LINES):
        at = value.rfind("Steps:", 0, at)
        if at < 0:
            return None
        if (at == 0 or not value[at - 1].isalnum()) and (steps := _STEPS.match(value, at)):
            last = steps.end() + _MAX_DISTANCE
            setting = _SETTING.search(value, steps.end(), last + _MAX_SETTING)
            if setting and setting.start() <= last:
                return value[at : at + 8000]
    return None


def _settings_program(line: str) -> str:
    """The program of a line of settings: by its version, in which each has a style of its own."""
    if app := _APP.search(line):
        return app.group(1).strip()
    version = _VERSION.search(line)
    if version is None:
        return _WEB_UI
    words = version.group(1).strip()
    if re.match(r"f\d|neo", words):
        return f"{_WEB_UI} Forge"
    if re.match(r"v?\d|[0-9a-f]{7,40}\b", words):
        return _WEB_UI
    return words


def _of_object(place: str, value: str) -> Iterator[Statement]:
    """What is known by the keys of a JSON object."""
    if _NODE_CLASS.search(value) or ('"last_node_id"' in value and '"nodes"' in value):
        model = _CHECKPOINT.search(value)
        yield _said("ComfyUI", place, "", model=model.group(1) if model else None)
        return
    found = _object(value)
    if isinstance(inner := found.get("sui_image_params"), dict) or '"sui_image_params"' in value[:200]:
        inner = inner if isinstance(inner, dict) else {}
        yield _said("SwarmUI", place, _string(inner.get("prompt")), model=_string(inner.get("model")))
    elif _string(found.get("Software")) == "NovelAI" or _is_novelai(found):
        yield _said("NovelAI", place, _string(found.get("Description") or found.get("prompt")))
    elif "Fooocus" in (program := _string(found.get("software"))):
        yield _said(program, place, _string(found.get("Prompt") or found.get("prompt")))
    elif _count(found, _FOOOCUS_KEYS) >= 3 or _string(found.get("version")).startswith("Fooocus"):
        yield _said("Fooocus", place, _string(found.get("prompt")), model=_string(found.get("base_model")))
    elif found.keys() & {"negative_prompt", "Negative Prompt"} and (
        _count(found, _EASY_KEYS) >= 2 or _count(found, _EASY_TITLES) >= 2
    ):
        weights = _string(found.get("use_stable_diffusion_model") or found.get("Stable Diffusion model"))
        yield _said("Easy Diffusion", place, _string(found.get("prompt") or found.get("Prompt")), model=weights)
    elif {"generation_mode", "positive_prompt"} <= found.keys() or "core_metadata" in found:
        yield _said("InvokeAI", place, _string(found.get("positive_prompt")))
    elif _count(found, _DRAW_THINGS_KEYS) >= 6:
        yield _said("Draw Things", place, _string(found.get("c")), model=_string(found.get("model")))
    elif "mflux_version" in found:
        yield _said("mflux", place, _string(found.get("prompt")), model=_string(found.get("model")))


def _is_novelai(found: dict[str, Any]) -> bool:
    return "uc" in found and "c" not in found and _count(found, _NOVELAI_KEYS) >= 5


def _count(found: dict[str, Any], keys: Iterable[str]) -> int:
    return sum(key in found for key in keys)


def _said(program: str, place: str, text: str, *, model: str | None = None) -> Statement:
    words = {"field": place, **({"model": model} if model else {}), **({"text": text[:2000]} if text else {})}
    return Statement(Origin.AI_GENERATED, Basis.TEXT, program, words=words)


def _string(value: object) -> str:
    return value if isinstance(value, str) else ""


def _cut_object(text: str) -> bool:
    """Whether it is a JSON object of which the end is missing, with a key of InvokeAI's."""
    return text.lstrip().startswith("{") and not _object(text) and any(f'"{key}"' in text for key in _INVOKE_KEYS)


def _object(text: str) -> dict[str, Any]:
    """The JSON object in a text; empty where there is none, or it is very long."""
    if len(text) > _MAX_JSON or not text.lstrip().startswith("{"):
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
