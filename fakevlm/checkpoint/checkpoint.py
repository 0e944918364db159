"""Opens a FakeVLM in any layout it comes in, as a folder that vLLM and transformers load, or says what is missing."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from fakevlm.checkpoint.converted import loadable_copy, weights_sha256
from fakevlm.checkpoint.layout import check_shapes, read_json, read_weights, text_config, vision_config
from fakevlm.checkpoint.location import cache_folder, resolve
from fakevlm.checkpoint.tokens import PromptTokens
from fakevlm.errors import UserError
from fakevlm.preprocess import ImageSpec
from fakevlm.prompt import IMAGE_TOKEN, PromptSpec
from fakevlm.verdict import Calibration

CARD = "fakevlm.json"
ARCHITECTURE = "LlavaForConditionalGeneration"


class Card(BaseModel):
    """What `fakevlm.json` beside the weights says. A folder without it holds the released FakeVLM: all defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: PromptSpec = PromptSpec()
    """The prompt the model was trained with."""
    calibration: Calibration = Calibration()
    """How its logits become scores."""
    trained: bool = True
    """False for a stand-in whose verdicts mean nothing."""
    notice: str = ""
    """What whoever reads its verdicts must know; every scan says it."""
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
    """The token of the fake word after the answer prefix."""
    real_token_id: int
    """The token of the real word after the answer prefix."""
    trained: bool
    """False for a stand-in whose verdicts mean nothing."""
    notice: str
    """What whoever reads its verdicts must know; empty for nothing in particular."""
    weights_sha256: str
    """Over the contents of the original weight files, in the order of their names."""
    dtype: str
    """Type of the stored weights as config.json says: float32, float16 or bfloat16."""
    legacy_processor: bool
    """Whether the processor files lack what transformers needs today; the view adds it from config.json."""
    patch_size: int
    """Side of a patch of the vision tower in pixels."""
    vision_feature_select_strategy: str
    """`default` leaves the class embedding out of the image tokens, `full` keeps it."""


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
        path=loadable_copy(folder, weights, additions, cache),
        prompt=card.prompt,
        calibration=card.calibration,
        image=image,
        image_tokens=image_tokens,
        prompt_tokens=len(tokens.encode(text)) - 1 + image_tokens,
        max_model_len=text_config(config)["max_position_embeddings"],
        fake_token_id=tokens.next_token(text, card.prompt.fake_word),
        real_token_id=tokens.next_token(text, card.prompt.real_word),
        trained=card.trained,
        notice=card.notice,
        weights_sha256=weights_sha256(weights, cache),
        dtype=str(stored or "float32").removeprefix("torch."),
        legacy_processor=bool(additions),
        patch_size=vision_config(config)["patch_size"],
        vision_feature_select_strategy=config.get("vision_feature_select_strategy", "default"),
    )


def self_test(checkpoint: Checkpoint) -> None:
    """Check without an engine that the parts of a checkpoint fit each other. Raises UserError naming the first misfit.

    Checked are the image size and the count of image tokens in processor and model, the tokenizer against the
    embedding, the image and padding tokens, the verdict words, the prompt's length and its format against the chat
    template.
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
        raise UserError(
            f"model {folder}: patch_size is {processor.get('patch_size')} in the processor, {patch} in the model"
        )
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
            f"model {folder}: {IMAGE_TOKEN} is token {tokens.id_of(IMAGE_TOKEN)} in the tokenizer, "
            f"{image_token} in config.json"
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
