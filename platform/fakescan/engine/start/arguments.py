"""The arguments that a user hands on to vLLM: which there are, which are not the user's to set, and why."""

import ast
import functools
import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from fakescan.settings.suggestion import closest
from fakevlm.errors import UserError, one_line

Arguments = TypeVar("Arguments")

_MODEL = "the checkpoint is opened, checked and hashed before vLLM sees it; name it with model"
_GREEDY = "answers are greedy and the same every time, whatever a checkpoint's generation_config.json says"
_IMAGES = "an image goes to the engine as this checkpoint's processor prepares it, one with each request"
_NEW = "every image is new, and a cache of images could only cost"
_ONE_ACTOR = "an engine is one Ray actor on one node; replicas and gpus_per_replica say how many, and of how many GPUs"
_TEXT = "a judgement is the log-probabilities of the two verdict words and a text"
_ALL = "every image of a scan must be judged"

REFUSED: dict[str, str] = {
    **dict.fromkeys(
        (
            "model", "model_weights", "tokenizer", "tokenizer_mode", "tokenizer_revision", "revision", "code_revision",
            "hf_config_path", "config_format", "served_model_name", "download_dir", "model_class_overrides",
        ),
        _MODEL,
    ),
    "hf_token": "vLLM reads local files only, and run.json would show it; set HF_TOKEN",
    "trust_remote_code": "code that comes with a checkpoint is never run",
    "dtype": "set engine.dtype",
    "enforce_eager": "set engine.enforce_eager",
    "max_num_seqs": "set engine.max_num_seqs",
    "max_num_batched_tokens": "set engine.max_num_batched_tokens",
    "gpu_memory_utilization": "set engine.gpu_memory_utilization",
    "tensor_parallel_size": "set gpus_per_replica, such as 2",
    **dict.fromkeys(
        (
            "distributed_executor_backend", "pipeline_parallel_size", "nnodes", "node_rank", "master_addr",
            "master_port", "device_ids", "data_parallel_size", "data_parallel_rank", "data_parallel_start_rank",
            "data_parallel_size_local", "data_parallel_address", "data_parallel_rpc_port",
            "data_parallel_hybrid_lb", "data_parallel_external_lb", "data_parallel_multi_port_external_lb",
            "data_parallel_backend", "enable_elastic_ep", "worker_cls",
        ),
        _ONE_ACTOR,
    ),
    **dict.fromkeys(("seed", "generation_config", "override_generation_config", "logits_processors"), _GREEDY),
    **dict.fromkeys(
        (
            "limit_mm_per_prompt", "mm_processor_kwargs", "mm_device_do_normalize", "mm_encoder_only",
            "language_model_only", "enable_mm_embeds", "enable_prompt_embeds", "interleave_mm_strings",
            "io_processor_plugin", "media_io_kwargs",
        ),
        _IMAGES,
    ),
    **dict.fromkeys(("mm_processor_cache_gb", "mm_processor_cache_type", "enable_prefix_caching"), _NEW),
    **dict.fromkeys(
        (
            "runner", "convert", "skip_tokenizer_init", "pooler_config", "logprobs_mode", "stream_interval",
            "diffusion_config", "tokens_only",
        ),
        _TEXT,
    ),
    **dict.fromkeys(("max_num_queued_reqs", "max_num_queued_tokens", "max_num_active_seqs"), _ALL),
}  # fmt: skip
"""Arguments of vLLM that are not the user's to set, and why. All others are handed on as they are."""


def check_arguments(arguments: Mapping[str, Any]) -> None:
    """Raise UserError for a name that vLLM does not have, and for one that is refused; nothing is started."""
    names = argument_names() if arguments else frozenset()
    for name, value in arguments.items():
        if name in REFUSED:
            raise UserError(f"engine.arguments: {name} cannot be set here: {REFUSED[name]}")
        if names and name not in names:
            meant = closest(name, names - REFUSED.keys())
            hint = f" (did you mean {meant}?)" if meant else "; the names are those of the fields of its EngineArgs"
            raise UserError(f"engine.arguments: vLLM has no argument {name}{hint}")
        if name == "load_format" and value == "dummy":
            raise UserError("engine.arguments: load_format: dummy weights are not the checkpoint's")
        if name == "hf_overrides" and not isinstance(value, dict):
            raise UserError(f"engine.arguments: hf_overrides must be names and values, got {value!r}")


@functools.cache
def argument_names() -> frozenset[str]:
    """The arguments of the vLLM that is installed; none where it is not, or where it says so in another way.

    Its source is read and not imported, which takes fifteen seconds and settles for the process what torch reads from
    the environment.
    """
    found = importlib.util.find_spec("vllm")
    for folder in (found.submodule_search_locations or ()) if found is not None else ():
        try:
            tree = ast.parse((Path(folder) / "engine" / "arg_utils.py").read_text(encoding="utf-8"))
        except (OSError, ValueError, SyntaxError):
            continue
        classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "EngineArgs"]
        fields = [node.target for kind in classes for node in kind.body if isinstance(node, ast.AnnAssign)]
        return frozenset(field.id for field in fields if isinstance(field, ast.Name) and not field.id.startswith("_"))
    return frozenset()


def joined(ours: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Our arguments and the user's, which win; those of `hf_overrides` are joined name by name, at every depth."""
    merged = {**ours, **given}
    if "hf_overrides" in ours and "hf_overrides" in given:
        merged["hf_overrides"] = _deep(ours["hf_overrides"], given["hf_overrides"])
    return merged


def check_length(arguments: Mapping[str, Any], needed: int) -> None:
    """Raise UserError for a `max_model_len` that is shorter than a prompt and its answer: vLLM would refuse them."""
    length = arguments.get("max_model_len", needed)
    if not isinstance(length, int) or isinstance(length, bool) or length < needed:
        raise UserError(
            f"engine.arguments: max_model_len must be at least {needed}, the tokens of a prompt with its image and an "
            f"explanation, got {length!r}; leave it out, or lower max_new_tokens"
        )


def engine_args(make: Callable[..., Arguments], arguments: Mapping[str, Any], given: Mapping[str, Any]) -> Arguments:
    """vLLM's `EngineArgs`, made by `make`. Raises UserError where vLLM refuses what the user has `given`.

    Only then is the configuration made twice: to tell a mistake in the settings from an engine that cannot start.
    """
    if given:
        try:
            probe: Any = make(**arguments)
            probe.create_engine_config()
        except (ValueError, TypeError, LookupError, AssertionError, NotImplementedError, ImportError) as error:
            raise UserError(f"engine.arguments: vLLM refuses {', '.join(given)}: {_first_reason(error)}") from None
    return make(**arguments)


def _first_reason(error: Exception) -> str:
    """What is wrong in one line, of pydantic's pages the first mistake."""
    mistakes = getattr(error, "errors", None)
    if callable(mistakes):
        try:
            first = mistakes()[0]
            return one_line(ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}".removeprefix(": ")))
        except (LookupError, TypeError):
            pass
    return one_line(error)[:400]


def _deep(ours: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**ours, **given}
    for name, value in ours.items():
        other = given.get(name)
        if isinstance(value, dict) and isinstance(other, dict):
            merged[name] = _deep(value, other)
    return merged
