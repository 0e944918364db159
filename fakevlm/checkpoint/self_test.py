"""Checks without an engine that the parts of a checkpoint fit each other."""

from pathlib import Path

from fakevlm.checkpoint.checkpoint import Checkpoint
from fakevlm.checkpoint.config_files import (
    feature_tokens,
    image_token_id,
    read_chat_template,
    read_config,
    read_processor_config,
    text_config,
    vision_config,
)
from fakevlm.checkpoint.tokens import PromptTokens
from fakevlm.errors import UserError
from fakevlm.prompt import IMAGE_TOKEN, PromptSpec


def self_test(checkpoint: Checkpoint) -> None:
    """Raises UserError naming the first misfit.

    Checked are the image size and the count of image tokens in processor and model, the tokenizer against the
    embedding, the image and padding tokens, the verdict words, the prompt's length and its format against the chat
    template.
    """
    folder, prompt = checkpoint.path, checkpoint.prompt
    config = read_config(folder)
    vision, vocab = vision_config(config), text_config(config)["vocab_size"]
    size, patch = vision["image_size"], vision["patch_size"]
    image = checkpoint.image
    if (image.height, image.width) != (size, size):
        raise UserError(
            f"model {folder}: the image processor makes {image.height} x {image.width} pixels, "
            f"the vision tower takes {size} x {size}"
        )
    processor = read_processor_config(folder)
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
    image_token = image_token_id(config)
    if tokens.id_of(IMAGE_TOKEN) != image_token:
        raise UserError(
            f"model {folder}: {IMAGE_TOKEN} is token {tokens.id_of(IMAGE_TOKEN)} in the tokenizer, "
            f"{image_token} in config.json"
        )
    pad_token = config.get("pad_token_id")
    if pad_token is not None and (not 0 <= pad_token < vocab or pad_token == image_token):
        raise UserError(f"model {folder}: pad_token_id {pad_token} is not a token of its own among the {vocab}")
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


def _check_chat_template(folder: Path, prompt: PromptSpec) -> None:
    """Raises UserError when the checkpoint brings a chat template that says something else than the prompt."""
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
