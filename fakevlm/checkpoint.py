"""Opens a FakeVLM in any layout it comes in, as a folder that vLLM and transformers load, or says what is missing."""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from fakevlm.errors import UserError
from fakevlm.layout import (
    INDEX,
    Weights,
    check_shapes,
    read_json,
    read_weights,
    rename_file,
    rename_index,
    text_config,
    vision_config,
)
from fakevlm.location import build_once, cache_folder, resolve
from fakevlm.preprocess import ImageSpec
from fakevlm.prompt import IMAGE_TOKEN, PromptSpec
from fakevlm.tokens import PromptTokens
from fakevlm.verdict import Calibration

CARD = "fakevlm.json"
ARCHITECTURE = "LlavaForConditionalGeneration"
_VIEW_VERSION = 1
"""Part of the key of every view in the cache: raise it when views are made differently."""


class Card(BaseModel):
    """What `fakevlm.json` in a checkpoint's folder says. A folder without it holds the released FakeVLM: all defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: PromptSpec = PromptSpec()
    """The prompt the model was trained with."""
    calibration: Calibration = Calibration()
    """How its logits become scores."""
    trained: bool = True
    """False for a stand-in whose verdicts mean nothing."""
    description: str = ""
    """For people."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that has been checked and can be loaded from `path`."""

    location: str
    """As the user gave it."""
    path: Path
    """The folder for vLLM and transformers: the original, or a converted view of it in the cache."""
    prompt: PromptSpec
    calibration: Calibration
    image: ImageSpec
    image_tokens: int
    """Tokens that one image takes in the prompt."""
    prompt_tokens: int
    """Tokens of the whole prompt, with the image and the answer prefix."""
    max_model_len: int
    """Positions that the language model knows."""
    fake_token_id: int
    real_token_id: int
    trained: bool
    weights_sha256: str
    """Over the contents of the original weight files, in the order of their names."""
    dtype: str
    """Type of the stored weights as config.json says: float32, float16 or bfloat16."""
    legacy_processor: bool
    """Whether the processor files lack what transformers needs today; the view adds it from config.json."""
    patch_size: int
    vision_feature_select_strategy: str


def open_checkpoint(
    location: str, *, storage_options: dict[str, Any] | None = None, cache_dir: Path | None = None
) -> Checkpoint:
    """Open the checkpoint at a local path, a hub id (`owner/name` or `owner/name@revision`) or an fsspec URL.

    Downloads and converted views are kept in `cache_dir` (default: the user's cache folder). Imports neither torch nor
    transformers. Raises UserError, one line that names what is missing or does not fit.
    """
    cache = cache_folder(cache_dir)
    folder = resolve(location, storage_options=storage_options, cache_dir=cache_dir)
    config = _read_config(folder)
    card = read_card(folder)
    tokens = PromptTokens(folder)
    image = _image_spec(folder)
    weights = read_weights(folder)
    check_shapes(weights, config, folder)
    additions = _missing_processor_settings(folder, config)
    text = card.prompt.text()
    image_tokens = feature_tokens(config)
    stored = config.get("dtype") or config.get("torch_dtype") or text_config(config).get("torch_dtype")
    return Checkpoint(
        location=location,
        path=_view(folder, weights, additions, cache),
        prompt=card.prompt,
        calibration=card.calibration,
        image=image,
        image_tokens=image_tokens,
        prompt_tokens=len(tokens.encode(text)) - 1 + image_tokens,
        max_model_len=text_config(config)["max_position_embeddings"],
        fake_token_id=tokens.next_token(text, card.prompt.fake_word),
        real_token_id=tokens.next_token(text, card.prompt.real_word),
        trained=card.trained,
        weights_sha256=_weights_sha256(weights, cache),
        dtype=str(stored or "float32").removeprefix("torch."),
        legacy_processor=bool(additions),
        patch_size=vision_config(config)["patch_size"],
        vision_feature_select_strategy=config.get("vision_feature_select_strategy", "default"),
    )


def self_test(checkpoint: Checkpoint) -> None:
    """Check without an engine that the parts of a checkpoint fit each other. Raises UserError naming the first misfit.

    Checked are the image size and the count of image tokens in processor and model, the tokenizer against the embedding,
    the image and padding tokens, the verdict words, the prompt's length and its format against the chat template.
    """
    folder, prompt = checkpoint.path, checkpoint.prompt
    config = _read_config(folder)
    vision, vocab = vision_config(config), text_config(config)["vocab_size"]
    size, patch = vision["image_size"], vision["patch_size"]
    image = checkpoint.image
    if (image.height, image.width) != (size, size):
        raise UserError(
            f"model {folder}: the image processor makes {image.height} x {image.width} pixels, "
            f"the vision tower takes {size} x {size}"
        )
    processor = _processor_config(folder)
    if processor.get("patch_size") != patch:
        raise UserError(f"model {folder}: patch_size is {processor.get('patch_size')} in the processor, {patch} in the model")
    placeholders = (image.height // patch) * (image.width // patch) + processor.get("num_additional_image_tokens", 0)
    placeholders -= processor.get("vision_feature_select_strategy") == "default"
    if placeholders != feature_tokens(config):
        raise UserError(
            f"model {folder}: the processor puts {placeholders} image tokens into the prompt, "
            f"the vision tower gives {feature_tokens(config)}"
        )
    tokens = PromptTokens(folder)
    if tokens.size > vocab:
        raise UserError(f"model {folder}: the tokenizer has {tokens.size} tokens, the embedding only {vocab}")
    image_token: int = config.get("image_token_index", config.get("image_token_id", 32000))
    if tokens.id_of(IMAGE_TOKEN) != image_token:
        raise UserError(
            f"model {folder}: {IMAGE_TOKEN} is token {tokens.id_of(IMAGE_TOKEN)} in the tokenizer, {image_token} in config.json"
        )
    pad_token = config.get("pad_token_id")
    if pad_token is not None and (not 0 <= pad_token < vocab or pad_token == image_token):
        raise UserError(f"model {folder}: pad_token_id {pad_token} is no token of its own among the {vocab}")
    text = prompt.text()
    if tokens.encode(text).count(image_token) != 1:
        raise UserError(f"model {folder}: the prompt does not hold the image token exactly once")
    for word, expected in ((prompt.fake_word, checkpoint.fake_token_id), (prompt.real_word, checkpoint.real_token_id)):
        if tokens.next_token(text, word) != expected:
            raise UserError(f"model {folder}: the verdict word {word!r} is not the token {expected}")
    if checkpoint.prompt_tokens >= checkpoint.max_model_len:
        raise UserError(
            f"model {folder}: the prompt takes {checkpoint.prompt_tokens} of {checkpoint.max_model_len} positions, "
            f"which leaves none for an answer"
        )
    if prompt.prompt_format == "chat":
        _check_chat_template(folder, prompt)


def read_card(folder: Path) -> Card:
    """Return the card of the checkpoint in `folder`, all defaults when it has none. Raises UserError for a bad one."""
    file = folder / CARD
    if not file.exists():
        return Card()
    try:
        return Card.model_validate(read_json(file))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{file}: {where}: {first['msg']}") from None


def write_card(folder: Path, card: Card) -> None:
    """Write `fakevlm.json` into the checkpoint's folder."""
    (folder / CARD).write_text(card.model_dump_json(indent=2) + "\n", encoding="utf-8")


def feature_tokens(config: dict[str, Any]) -> int:
    """Return how many tokens the vision tower of a LLaVA's config.json gives for one image."""
    vision = vision_config(config)
    patches = int((vision["image_size"] // vision["patch_size"]) ** 2)
    return patches if config.get("vision_feature_select_strategy", "default") == "default" else patches + 1


def _read_config(folder: Path) -> dict[str, Any]:
    """Return config.json after checking that it describes a LLaVA of CLIP and Llama."""
    if not (folder / "config.json").exists():
        if (folder / "adapter_config.json").exists():
            raise UserError(f"model {folder} is an adapter: merge it into its base model first")
        raise UserError(f"model {folder} lacks config.json: it is not a checkpoint")
    config = read_json(folder / "config.json")
    names = config.get("architectures") or [config.get("model_type")]
    if config.get("model_type") != "llava" or names[0] not in (ARCHITECTURE, "llava"):
        raise UserError(f"model {folder} is a {names[0]}, FakeVLM is a {ARCHITECTURE}")
    for part, kind in (("text_config", "llama"), ("vision_config", "clip_vision_model")):
        if not isinstance(config.get(part), dict):
            raise UserError(f"{folder / 'config.json'} lacks {part}")
        if config[part].get("model_type", kind) != kind:
            raise UserError(f"model {folder}: {part} is a {config[part]['model_type']}, FakeVLM has a {kind}")
    return config


def _processor_config(folder: Path) -> dict[str, Any]:
    file = folder / "processor_config.json"
    return read_json(file) if file.exists() else {}


def _image_spec(folder: Path) -> ImageSpec:
    """Return the spec in preprocessor_config.json, or where transformers 5 writes it, in processor_config.json."""
    file = folder / "preprocessor_config.json"
    config = read_json(file) if file.exists() else _processor_config(folder).get("image_processor")
    if not isinstance(config, dict):
        raise UserError(f"model {folder} lacks its image processor, preprocessor_config.json")
    try:
        return ImageSpec.from_preprocessor_config(config)
    except UserError as error:
        raise UserError(f"model {folder}: {error}") from None


def _missing_processor_settings(folder: Path, config: dict[str, Any]) -> dict[str, Any]:
    """Return what processor_config.json lacks, from config.json. Checkpoints made before transformers 4.45 lack it all.

    One additional image token stands for CLIP's class embedding, which the `default` strategy takes away again.
    """
    complete = {
        "patch_size": vision_config(config)["patch_size"],
        "vision_feature_select_strategy": config.get("vision_feature_select_strategy", "default"),
        "num_additional_image_tokens": 1,
        "image_token": IMAGE_TOKEN,
        "processor_class": "LlavaProcessor",
    }
    present = _processor_config(folder)
    needed = ("patch_size", "vision_feature_select_strategy", "num_additional_image_tokens")
    if all(present.get(key) is not None for key in needed):
        return {}
    return {key: value for key, value in complete.items() if present.get(key) is None}


def _view(folder: Path, weights: Weights, additions: dict[str, Any], cache: Path) -> Path:
    """Return a folder with the same checkpoint that vLLM and transformers load; `folder` itself where it does.

    vLLM 0.32 refuses the tensor names that transformers 5 saves, so a view has its weights renamed, or linked where only the
    processor's settings are completed.
    """
    if weights.hub_layout and not additions:
        return folder
    shards = {path.name for path in weights.files}
    others = [path for path in _files(folder) if path.name not in shards and path.name != CARD]
    key = hashlib.sha256(json.dumps([_VIEW_VERSION, additions, _states([*others, *weights.files])]).encode()).hexdigest()

    def build(partial: Path) -> None:
        for shard in weights.files:
            target = partial / shard.name
            target.unlink(missing_ok=True)
            if weights.hub_layout:
                target.symlink_to(shard.resolve())
            else:
                rename_file(shard, target)
        for path in others:
            if path.name == INDEX:
                rename_index(path, partial / path.name)
            elif path.suffix != ".safetensors":
                (partial / path.name).write_bytes(path.read_bytes())
        if additions:
            content = {**_processor_config(folder), **additions}
            (partial / "processor_config.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

    return build_once(cache / "views" / f"{folder.name}-{key[:16]}", build)


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files of a checkpoint that loading may need, in the order of their names."""
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.suffix in (".json", ".jinja", ".txt", ".model", ".safetensors"):
            yield path


def _states(paths: list[Path]) -> list[list[str | int]]:
    """Return for each file what changes when its content does: path, size in bytes, time in nanoseconds."""
    return [[str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns] for path in paths]


def _weights_sha256(weights: Weights, cache: Path) -> str:
    """Return the hash over the weight files. It is remembered, so that 14 GB are read once and not at every start."""
    key = hashlib.sha256(json.dumps(_states(list(weights.files))).encode()).hexdigest()
    memory = cache / "sha256" / key
    if memory.exists():
        return memory.read_text(encoding="ascii")
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(1 << 22))
    for path in weights.files:
        with path.open("rb", buffering=0) as file:
            while count := file.readinto(buffer):
                digest.update(buffer[:count])
    try:
        memory.parent.mkdir(parents=True, exist_ok=True)
        partial = memory.with_name(f"{key}.{os.getpid()}")
        partial.write_text(digest.hexdigest(), encoding="ascii")
        partial.replace(memory)
    except OSError as error:
        raise UserError(f"cannot write to the cache folder {cache}: {error}; set FAKEVLM_CACHE") from None
    return digest.hexdigest()


def _check_chat_template(folder: Path, prompt: PromptSpec) -> None:
    """Raise UserError when the checkpoint brings a chat template that says something else than the prompt."""
    template = read_chat_template(folder)
    if template is None:
        return
    from jinja2 import TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    question = prompt.question.replace(IMAGE_TOKEN, "").strip()
    content = [{"type": "image"}, {"type": "text", "text": question}]
    try:
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        rendered = environment.from_string(template).render(
            messages=[{"role": "user", "content": content}], add_generation_prompt=True, bos_token="", eos_token="</s>"
        )
    except TemplateError as error:
        raise UserError(f"model {folder}: its chat template fails: {error}") from None
    if rendered.split() != prompt.text(answer_prefix=False).split():
        raise UserError(
            f"model {folder}: prompt_format is chat, but its chat template gives {rendered!r} "
            f"instead of {prompt.text(answer_prefix=False)!r}"
        )


def read_chat_template(folder: Path) -> str | None:
    """Return the chat template from wherever transformers keeps it, or None."""
    jinja = folder / "chat_template.jinja"
    if jinja.exists():
        return jinja.read_text(encoding="utf-8")
    for name in ("chat_template.json", "processor_config.json", "tokenizer_config.json"):
        template = read_json(folder / name).get("chat_template") if (folder / name).exists() else None
        if isinstance(template, str):
            return template
    return None
