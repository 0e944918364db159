"""Conversations about images in the forms of other trainers, each read from an item's own fields.

- LLaVA (docs/Finetune_Custom_Data.md): `image`, `conversations` of `{"from", "value"}`.
- LlamaFactory (data/README.md): sharegpt's `conversations` or openai's `messages` with `images`; alpaca's
  `instruction`, `input`, `output`, `history`. Other names are told by the `dataset_info.json` beside the file.
- ms-swift (Customization/Custom-dataset.md): `messages`, `query` / `response` / `history`, sharegpt's `conversation` of
  `{"human", "assistant"}`, alpaca's fields; `images` may be texts or `{"bytes", "path"}`.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from fakevlm.prompt import IMAGE_TOKEN

_SPEAKERS = {
    "human": "human", "user": "human",
    "gpt": "gpt", "assistant": "gpt", "model": "gpt", "chatgpt": "gpt", "bot": "gpt",
    "system": "system",
}  # fmt: skip
_LISTS = ("conversations", "messages", "conversation")
_IMAGES = ("images", "image", "image_path", "file_name", "img")
_COLUMNS = {
    "prompt": "instruction", "query": "input", "response": "output", "history": "history", "messages": "messages",
    "system": "system", "images": "images", "chosen": "chosen",
}  # fmt: skip
"""LlamaFactory's names for columns, and the fields that are read here."""

_ANSWERS = ("output", "response", "answer", "solution", "chosen", "explanation", "reason")
"""Fields with the answer, where no turn has it; `chosen` and ms-swift's `solution` stand beside a question alone."""

FIELDS = frozenset({*_LISTS, *_IMAGES, *_COLUMNS.values(), *_ANSWERS, "query", "videos", "audios"})
"""Fields of an item that become the conversation and its image."""


class Talk(NamedTuple):
    """What an item says about its image."""

    images: tuple[Any, ...]
    """Paths, or whatever else stands in their place."""
    turns: tuple[tuple[str, str], ...]
    """Who speaks, `human` or `gpt`, and what; empty where nobody does."""
    has_system: bool
    """Whether there was a system prompt, which a record has no place for."""


def renamed(item: dict[str, Any], description: Mapping[str, Any]) -> dict[str, Any]:
    """An item of LlamaFactory by the description of its file, under the names that are read here."""
    fields = dict(item)
    columns, tags = description.get("columns") or {}, description.get("tags") or {}
    for name, ours in _COLUMNS.items():
        theirs = columns.get(name)
        if theirs in item:
            fields[ours] = item[theirs]
            if theirs != ours:
                fields.pop(theirs, None)
    role, content = tags.get("role_tag", "from"), tags.get("content_tag", "value")
    names = {
        tags.get(tag): speaker
        for tag, speaker in (("user_tag", "human"), ("assistant_tag", "gpt"), ("system_tag", "system"))
    }
    messages = fields.get("messages")
    if tags and isinstance(messages, list):
        fields["messages"] = [
            {"from": names.get(one.get(role), one.get(role)), "value": one.get(content)} if role in one else one
            for one in messages
            if isinstance(one, dict)
        ]
    return fields


def talk_of(item: dict[str, Any]) -> Talk:
    """The conversation of an item, in any of the forms. Raises ValueError with what is wrong."""
    for name in ("videos", "audios"):
        if item.get(name):
            raise ValueError(f"is about {name}, not about an image")
    images = tuple(_images(item))
    turns = list(_turns(item))
    if turns and turns[-1][0] == "human" and (said := _answer(item)) is not None:
        turns.append(("gpt", said, []))
    has_system = bool(item.get("system")) or any(speaker == "system" for speaker, _, _ in turns)
    spoken = [(speaker, text) for speaker, text, _ in turns if speaker != "system"]
    inside = [image for _, _, found in turns for image in found]
    return Talk(images or tuple(inside), tuple(spoken), has_system)


def _images(item: dict[str, Any]) -> Iterator[Any]:
    found = next((item[name] for name in _IMAGES if item.get(name) not in (None, [], "")), None)
    for image in found if isinstance(found, list) else [] if found is None else [found]:
        yield image.get("path") or image.get("url") if isinstance(image, dict) else image


def _turns(item: dict[str, Any]) -> Iterator[tuple[str, str, list[Any]]]:
    """Speaker, text and the images inside of each turn."""
    listed = next((item[name] for name in _LISTS if item.get(name) is not None), None)
    if listed is None:
        yield from _fields(item)
        return
    if not isinstance(listed, list):
        raise ValueError(f"the conversation is {repr(listed)[:40]}, not a list of turns")
    for turn in listed:
        if not isinstance(turn, dict):
            raise ValueError(f"a turn is {repr(turn)[:40]}, not an object with fields")
        if "human" in turn and "assistant" in turn:
            yield "human", _text(turn["human"]), []
            yield "gpt", _text(turn["assistant"]), []
            continue
        name = turn.get("from", turn.get("role"))
        speaker = _SPEAKERS.get(str(name).lower())
        if speaker is None:
            raise ValueError(f"a turn is by {name!r}, not by a human, a model or the system")
        text, inside = _content(turn.get("value", turn.get("content")))
        yield speaker, text, inside


def _fields(item: dict[str, Any]) -> Iterator[tuple[str, str, list[Any]]]:
    """The turns of alpaca's and of ms-swift's query and response, or an answer alone."""
    history = item.get("history") or []
    for pair in history if isinstance(history, list) else [history]:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise ValueError("history holds no pairs of a question and an answer")
        yield "human", _text(pair[0]), []
        yield "gpt", _text(pair[1]), []
    asked = [item[name] for name in ("instruction", "input", "query") if item.get(name)]
    said = _answer(item)
    if asked or said is not None:
        yield "human", "\n".join(_text(part) for part in asked), []
    if said is not None:
        yield "gpt", said, []


def _answer(item: dict[str, Any]) -> str | None:
    """What a field says that holds the answer alone; None where no field does."""
    said = next((item[name] for name in _ANSWERS if item.get(name) is not None), None)
    if isinstance(said, dict):  # a turn of its own
        said = said.get("value", said.get("content"))
    return None if said is None else _text(said)


def _content(content: object) -> tuple[str, list[Any]]:
    """A turn's text, and the images that stand in it as parts of their own."""
    if not isinstance(content, list):
        return _text(content), []
    texts, images = [], []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if isinstance(part, str):
            texts.append(part)
        elif kind == "text":
            texts.append(_text(part.get("text")))
        elif kind in ("image", "image_url"):
            named = part.get("image") or part.get("image_url") or part.get("path") or part.get("url")
            texts.append(IMAGE_TOKEN)
            if named is not None:
                images.append(named.get("url") if isinstance(named, dict) else named)
        else:
            raise ValueError(f"a turn holds {repr(part)[:40]}, neither text nor an image")
    return "".join(texts), images


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"a turn says {repr(value)[:40]}, not a text")
    return value
