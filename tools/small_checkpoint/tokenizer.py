"""Tokenizers as LLaVA has them: byte-pair merges learnt from the answers of a training, and the files."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

SPACE = "\u2581"
"""Llama's mark for a space, at the beginning of a word."""


def learn(answers: Iterable[str], *, size: int) -> tuple[dict[str, int], list[str]]:
    """A Llama-style vocabulary of exactly `size` tokens and its merges; the same answers give the same ones.

    Merges never cross a space, so that a common word is one token with the space before it. Where the answers hold too
    little text for so many tokens, fillers that stand for nothing make up the number.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    base = base_tokens()
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme="always", split=True)
    letters = [token for token in base if len(token) == 1]
    trainer = trainers.BpeTrainer(
        vocab_size=size - len(base) + len(letters), initial_alphabet=letters, limit_alphabet=len(letters),
        special_tokens=[], show_progress=False,
    )  # fmt: skip
    tokenizer.train_from_iterator(sorted(answers), trainer)
    learnt = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    more = [token for token, _ in learnt if token not in set(base)]
    more += [f"<filler_{number}>" for number in range(size - len(base) - len(more))]
    vocabulary = {token: number for number, token in enumerate([*base, *more][:size])}
    pairs = json.loads(tokenizer.to_str())["model"]["merges"]
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in pairs]
    return vocabulary, [pair for pair in merges if pair.replace(" ", "") in vocabulary]


def base_tokens() -> list[str]:
    """The tokens that every vocabulary begins with: special ones, bytes, the space and the letters of ASCII."""
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    return [*tokens, SPACE, *(chr(code) for code in range(33, 127))]


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
