"""The tokenizer and the scripted answers of the untrained stand-in models."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

SPACE = "\u2581"
"""Llama's mark for a space, at the beginning of a word."""

QUESTION_END = "real/fake?"
ANSWER = ("This", "is", "a")
VERDICTS = ("real", "fake")
ANSWER_END = "image."

EXPLANATIONS: dict[str, tuple[str, ...]] = {
    "real": (
        "The lighting falls naturally over every surface.",
        "Edges stay crisp where objects meet, with soft shadows beneath.",
        "Fine grain appears evenly, as from camera sensors.",
        "Textures vary without obvious repetition; small flaws remain believable.",
        "Perspective lines converge properly, and reflections match their sources.",
        "Colours blend gradually through depth, showing no strange halos anywhere.",
    ),
    "fake": (
        "Several regions look unnaturally smooth.",
        "Hair strands melt into background shapes, losing detail near boundaries.",
        "Shadows point toward different directions, contradicting bright highlights.",
        "Repeated patterns suggest synthesis rather than photography.",
        "Facial symmetry seems excessive while eyes lack matching glints.",
        "Text-like marks dissolve when inspected, forming meaningless glyphs throughout.",
    ),
}
"""Sentences of the two explanations. No word occurs twice: the model's next word depends on the last one alone."""


def script_words() -> list[str]:
    """Return every word that the script uses, in a fixed order, each once."""
    words = ["Does", "the", "image", "looks", QUESTION_END, "USER:", "ASSISTANT:", *ANSWER, *VERDICTS, ANSWER_END]
    for sentences in EXPLANATIONS.values():
        for sentence in sentences:
            words += sentence.split()
    if len(set(words)) != len(words):
        raise AssertionError("the script's words must be distinct")
    return words


def _vocabulary(words: Iterable[str], size: int) -> tuple[dict[str, int], list[str]]:
    """Return a Llama-style byte-pair vocabulary of `size` entries and its merges, one token for each of `words`.

    A merge only ever lengthens the beginning of a word by one character, so that a word is one token and everything
    else falls apart into characters and bytes.
    """
    tokens = base_tokens()
    seen = set(tokens)
    merges = []
    for word in words:
        left = SPACE
        for character in word:
            merged = left + character
            if merged not in seen:
                seen.add(merged)
                tokens.append(merged)
                merges.append(f"{left} {character}")
            left = merged
    if len(tokens) > size:
        raise AssertionError(f"{len(tokens)} tokens do not fit a vocabulary of {size}")
    tokens += [f"<filler_{number}>" for number in range(size - len(tokens))]
    return {token: number for number, token in enumerate(tokens)}, merges


def base_tokens() -> list[str]:
    """The tokens that every vocabulary begins with: special ones, bytes, the space and the letters of ASCII."""
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    return [*tokens, SPACE, *(chr(code) for code in range(33, 127))]


def write_tokenizer(path: Path, *, size: int, legacy: bool) -> dict[str, int]:
    """Write the tokenizer files of a stand-in into a folder and return the vocabulary of `size` text tokens."""
    vocabulary, merges = _vocabulary(script_words(), size)
    write_files(path, vocabulary, merges, legacy=legacy)
    return vocabulary


def write_files(path: Path, vocabulary: dict[str, int], merges: list[str], *, legacy: bool) -> None:
    """Write the Llama tokenizer files of a LLaVA into the folder `path`.

    `<image>` and `<pad>` follow after the text tokens, as in llava-1.5-7b-hf. Its tokenizer.json, here `legacy`, puts a
    space before the text after each special token; today's only at the start.
    """
    size = len(vocabulary)
    image, pad = size, size + 1

    def added(number: int, content: str) -> dict[str, Any]:
        return {
            "id": number, "content": content, "single_word": False, "lstrip": False, "rstrip": False,
            "normalized": False, "special": True,
        }  # fmt: skip

    specials = [(0, "<unk>"), (1, "<s>"), (2, "</s>"), (image, "<image>"), (pad, "<pad>")]
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [added(number, content) for number, content in specials],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Prepend", "prepend": SPACE},
                {"type": "Replace", "pattern": {"String": " "}, "content": SPACE},
            ],
        }
        if legacy
        else None,
        "pre_tokenizer": None
        if legacy
        else {"type": "Metaspace", "replacement": SPACE, "prepend_scheme": "first", "split": False},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [
                {"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": "<s>", "type_id": 1}}, {"Sequence": {"id": "B", "type_id": 1}},
            ],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
        },
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": SPACE}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0},
            ],
        },
        "model": {
            "type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True, "ignore_merges": False,
            "vocab": vocabulary, "merges": merges,
        },
    }  # fmt: skip
    config = {
        "add_bos_token": True,
        "add_eos_token": False,
        "add_prefix_space": None,
        "added_tokens_decoder": {
            str(number): {key: value for key, value in added(number, content).items() if key != "id"}
            for number, content in specials
        },
        "bos_token": "<s>",
        "clean_up_tokenization_spaces": False,
        "eos_token": "</s>",
        "legacy": False,
        "model_max_length": 1000000000000000019884624838656,
        "pad_token": "<pad>",
        "padding_side": "left",
        "processor_class": "LlavaProcessor",
        "sp_model_kwargs": {},
        "tokenizer_class": "LlamaTokenizer",
        "trust_remote_code": False,
        "unk_token": "<unk>",
        "use_default_system_prompt": False,
    }
    special_map = {
        f"{name}_token": {
            "content": content, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False
        }
        for name, content in (("bos", "<s>"), ("eos", "</s>"), ("pad", "<pad>"), ("unk", "<unk>"))
    }  # fmt: skip
    for name, content in (
        ("tokenizer.json", tokenizer),
        ("tokenizer_config.json", config),
        ("special_tokens_map.json", special_map),
        ("added_tokens.json", {"<image>": image, "<pad>": pad}),
    ):
        (path / name).write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
