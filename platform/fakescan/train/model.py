"""The LLaVA that is trained: which of its weights change, at what rate, and where LoRA adds to them."""

from dataclasses import dataclass
from typing import Any

from fakescan.train.config import ModuleConfig, TrainConfig
from fakevlm.checkpoint.checkpoint import Checkpoint
from fakevlm.checkpoint.layout import used_vision_layers
from fakevlm.errors import UserError

PARTS = {
    "llm": ("language_model.", "lm_head."),
    "vision": ("vision_tower.",),
    "projector": ("multi_modal_projector.",),
}
"""Where the weights of a part are, after `model.`, in transformers' LLaVA."""


@dataclass(frozen=True)
class Group:
    """Weights with one learning rate and one weight decay."""

    parameters: list[Any]
    lr: float
    weight_decay: float


def part_of(name: str) -> str:
    """The part that a weight belongs to: llm, vision or projector."""
    bare = name.removeprefix("base_model.model.").removeprefix("model.")
    for part, prefixes in PARTS.items():
        if bare.startswith(prefixes):
            return part
    raise ValueError(f"{name} belongs to no part of a LLaVA")


def load(config: TrainConfig, checkpoint: Checkpoint, *, bf16: bool, gpu: bool) -> Any:
    """The model ready for training, its weights marked as trained or not. Weights without effect stay frozen."""
    import torch
    from transformers import LlavaForConditionalGeneration

    options: dict[str, Any] = {"dtype": torch.bfloat16 if bf16 and config.zero else torch.float32}
    if bf16 and not gpu:
        # The backward pass of torch's fused attention is slow there: with plain products a step takes 2/3 of the time.
        options["attn_implementation"] = "eager"
    if config.quantize:
        options["quantization_config"] = _four_bits()
        options["dtype"] = torch.bfloat16
    model: Any
    model, loaded = LlavaForConditionalGeneration.from_pretrained(
        str(checkpoint.path), output_loading_info=True, **options
    )
    if missing := sorted(loaded["missing_keys"]):
        raise UserError(f"model: {checkpoint.location} gave no value for {missing[0]} and {len(missing) - 1} more")
    model.config.use_cache = False
    if "lora" in config.modes.values():
        model = _with_lora(model, config)
    unused = _unused(model)
    for name, parameter in model.named_parameters():
        mode = config.modes[part_of(name)]
        trained = mode == "full" or (mode == "lora" and "lora_" in name)
        parameter.requires_grad_(trained and not any(part in name for part in unused))
    if config.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.train()
    return model


def parameter_groups(model: Any, config: TrainConfig) -> list[Group]:
    """The optimizer's groups. Weight decay is for matrices: not for norms, biases and embeddings of a position."""
    by_rate: dict[tuple[float, float], list[Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        module: ModuleConfig = getattr(config, part_of(name))
        # ZeRO-3 shows weights as empty until they are gathered; their shape is kept beside them.
        shape = getattr(parameter, "ds_shape", parameter.shape)
        decay = config.weight_decay if len(shape) > 1 and "embedding" not in name else 0.0
        by_rate.setdefault((module.lr or config.lr, decay), []).append(parameter)
    return [Group(parameters, lr, decay) for (lr, decay), parameters in by_rate.items()]


def _with_lora(model: Any, config: TrainConfig) -> Any:
    from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training
    from torch import nn

    if config.quantize:
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    targets = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
        and not name.endswith("lm_head")
        and config.modes[part_of(f"{name}.")] == "lora"
    ]
    lora = config.lora
    settings = LoraConfig(r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=targets)
    # DeepSpeed gathers weights of one number type; it keeps float32 copies itself.
    return get_peft_model(model, settings, autocast_adapter_dtype=not config.zero)


def _four_bits() -> Any:
    import importlib.util

    import torch
    from transformers import BitsAndBytesConfig

    if not torch.cuda.is_available():
        raise UserError("quantize: nf4 needs a GPU; leave quantize out on a CPU")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise UserError("quantize: bitsandbytes is not installed; pip install bitsandbytes")
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )


def _unused(model: Any) -> list[str]:
    """Parts of the names of weights behind the layer whose features LLaVA reads; they never get a gradient."""
    vision = model.config.vision_config
    used = used_vision_layers(model.config.vision_feature_layer, vision.num_hidden_layers)
    layers = [f"encoder.layers.{number}." for number in range(used, vision.num_hidden_layers)]
    return [*layers, "post_layernorm"]
