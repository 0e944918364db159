"""The parts that both vLLM engines share: environment, engine arguments, and requests made from ready pixels."""

import itertools
import math
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fakescan.engine.config import Device, VllmConfig
from fakescan.engine.generation import Generation
from fakescan.engine.judging_options import JudgingOptions
from fakescan.engine.start.arguments import check_length, joined
from fakescan.engine.start.compiler import require_compiler
from fakescan.engine.start.gpu_share import memory_share, parallel_size
from fakescan.engine.start.kv_cache import kv_cache_bytes
from fakescan.engine.start.number_types import require_memory, types_here
from fakescan.engine.start.start_up import PLAIN_START, StartUp
from fakescan.terminal.json_logs.handlers import VLLM_CONFIG
from fakescan.terminal.json_logs.output import VARIABLE as LOG_FORMAT
from fakescan.tracing import engine_endpoint
from fakevlm.checkpoint.checkpoint import Checkpoint
from fakevlm.checkpoint.progress import Step, in_bytes
from fakevlm.errors import UserError

_TEXT_TOKENS = 64
"""Room for the prompt's text beside the image tokens; FakeVLM's prompt is about 20 tokens."""
_PIECE_TOKENS = 3
"""Tokens of an explanation that are handed over together where someone watches it being written."""

SELF_TEST = Step("testing the engine")
"""The last step of a start."""

SMALL_WEIGHTS = 64 * 2**20
"""Bytes of weights below which a second thread costs a CPU engine more in waiting than it computes."""


def prepare_environment(config: VllmConfig, checkpoint: Checkpoint, device: Device) -> None:
    """Set what vLLM reads from the environment; call it before the first import of vllm or torch."""
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if os.environ.get(LOG_FORMAT) == "json" and os.environ.get("VLLM_CONFIGURE_LOGGING") != "0":
        os.environ.setdefault("VLLM_LOGGING_CONFIG_PATH", VLLM_CONFIG)
    if device == "cpu":
        os.environ["VLLM_CPU_OMP_THREADS_BIND"] = "nobind"
        os.environ.pop("VLLM_CPU_KVCACHE_SPACE", None)  # it would win over the size that the engine is given
        if runs_eagerly(config, device):
            # vLLM still compiles a helper of its sampler in C++, twice: for the first request and for the first batch.
            # That takes longer than it saves in days, and a compiler.
            os.environ["TORCH_COMPILE_DISABLE"] = "1"
        # Ray sets OMP_NUM_THREADS to the actor's share of the cores; the engine's own setting decides instead.
        os.environ["OMP_NUM_THREADS"] = str(config.cpu_threads or _cpu_threads(checkpoint))


def _cpu_threads(checkpoint: Checkpoint) -> int:
    weights = sum(file.stat().st_size for file in checkpoint.path.glob("*.safetensors"))
    return 1 if weights < SMALL_WEIGHTS else os.cpu_count() or 1


def engine_arguments(
    config: VllmConfig, checkpoint: Checkpoint, options: JudgingOptions, device: Device, start: StartUp = PLAIN_START
) -> dict[str, Any]:
    """Keyword arguments for vLLM's `EngineArgs`. Raises UserError for settings that this model or node cannot have."""
    types = start.numbers or types_here(config, checkpoint, device)
    assert types is not None
    length = checkpoint.image_tokens + _TEXT_TOKENS + options.max_new_tokens
    check_length(config.arguments, length)
    arguments: dict[str, Any] = {
        "model": str(checkpoint.path),
        # vLLM's own "auto" would run float32 weights in bfloat16, whose logits have two decimals.
        "dtype": types.weights,
        "max_model_len": length,
        "enforce_eager": runs_eagerly(config, device),
        "limit_mm_per_prompt": {"image": 1},
        # Every image is new: caches would only cost.
        "mm_processor_cache_gb": 0,
        "enable_prefix_caching": False,
        # Greedy decoding whatever generation_config.json says.
        "generation_config": "vllm",
        "seed": 0,
        "disable_log_stats": True,
    }
    if (endpoint := engine_endpoint()) is not None:
        # vLLM's own span of a request, whose times it takes from its statistics.
        arguments |= {"otlp_traces_endpoint": endpoint, "disable_log_stats": False}
    if types.overrides:
        arguments["hf_overrides"] = types.overrides
    if device == "cpu":
        if not arguments["enforce_eager"]:
            require_compiler()
        arguments["distributed_executor_backend"] = "uni"
        seqs = arguments["max_num_seqs"] = config.max_num_seqs or 32
        cache = arguments["kv_cache_memory_bytes"] = kv_cache_bytes(config, checkpoint, types, length, seqs)
        require_memory(cache, checkpoint, types)
    else:
        arguments["gpu_memory_utilization"] = memory_share(config.gpu_memory_utilization, start.gpus)
        if (size := parallel_size(checkpoint, start.gpus)) > 1:
            arguments["tensor_parallel_size"] = size
            # Inside an actor that has a placement group vLLM would start Ray actors of its own, which get no GPUs: all
            # of them belong to this one. Processes of its own see them.
            arguments["distributed_executor_backend"] = "mp"
        if config.max_num_seqs is not None:
            arguments["max_num_seqs"] = config.max_num_seqs
    if config.max_num_batched_tokens is not None:
        arguments["max_num_batched_tokens"] = config.max_num_batched_tokens
    return joined(arguments, config.arguments)


def loading(config: VllmConfig, checkpoint: Checkpoint, device: Device) -> Step:
    """The longest step of a start, as it begins. vLLM compiles inside it, and says nothing of how far it is."""
    what = "loading the engine" if runs_eagerly(config, device) else "loading and compiling the engine"
    return Step(f"{what} ({in_bytes(checkpoint.weights_bytes)} of weights)")


def runs_eagerly(config: VllmConfig, device: Device) -> bool:
    """Whether the model runs without compilation: on a CPU, unless the settings say otherwise."""
    return device == "cpu" if config.enforce_eager is None else config.enforce_eager


class Requests:
    """Makes engine inputs from pixels that are already at the model's input size.

    vLLM's renderer runs the Hugging Face processor on one thread per engine, and for such pixels all it does is look
    every byte up in a table. So the renderer is asked once, with an image that holds all 256 values: its answer gives
    the table and the expanded prompt, and a second image of noise proves that both reproduce it exactly.
    """

    def __init__(self, renderer: Any, checkpoint: Checkpoint, options: JudgingOptions) -> None:
        self._renderer = renderer
        self._checkpoint = checkpoint
        self._options = options
        self._count = itertools.count()
        height, width = checkpoint.image.height, checkpoint.image.width
        ramp = np.resize(np.arange(256, dtype=np.uint8), (height, width))
        ramp_image = np.repeat(ramp[:, :, None], 3, axis=2)
        self._template: Any = self._render(ramp_image, checkpoint.prompt.text())
        self._samplings: dict[tuple[int, bool, bool], Any] = {}
        rendered = self._pixel_values(self._template)
        if tuple(rendered.shape) != (3, height, width):
            raise UserError(
                f"model: the checkpoint's processor makes images of shape {tuple(rendered.shape)}, "
                f"not (3, {height}, {width}); check its preprocessor_config.json"
            )
        # A channel's value for byte b is wherever the ramp holds b; its first 256 pixels hold each byte once.
        self._table = rendered.reshape(3, -1)[:, :256].contiguous()
        noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
        expected = self._pixel_values(self._render(noise, checkpoint.prompt.text()))
        if not bool((self._normalise(noise) == expected).all()):
            raise UserError(
                "model: the checkpoint's image processor does more than resize, crop and normalise; "
                "this preprocessor_config.json is not supported"
            )

    def answer(self, options: JudgingOptions | None = None) -> Generation:
        """The state of a new image, with these options or those that the engine was opened with."""
        checkpoint = self._checkpoint
        return Generation(
            options or self._options, checkpoint.prompt, checkpoint.fake_token_id, checkpoint.real_token_id
        )

    def sampling(self, options: JudgingOptions | None = None, *, streams: bool = False) -> Any:
        """Greedy sampling that reports the two verdict words' log-probabilities.

        The first token comes at once, because it decides what to do; the rest together at the end, or, where it
        `streams`, in pieces.
        """
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        options = options or self._options
        explains = options.explain != "none"
        tokens = min(options.max_new_tokens, self._options.max_new_tokens) if explains else 1
        if (tokens, explains, streams) not in self._samplings:
            self._samplings[tokens, explains, streams] = SamplingParams(
                temperature=0.0,
                max_tokens=tokens,
                detokenize=explains,  # the verdict is in the log-probabilities
                stream_interval=min(tokens, _PIECE_TOKENS) if streams else tokens,
                logprob_token_ids=[self._checkpoint.fake_token_id, self._checkpoint.real_token_id],
                output_kind=RequestOutputKind.DELTA,
            )
        return self._samplings[tokens, explains, streams]

    def input(self, pixels: NDArray[np.uint8]) -> Any:
        """vLLM's engine input for pixels of shape [height, width, 3]."""
        from vllm.multimodal.inputs import MultiModalFieldElem, MultiModalKwargsItem, MultiModalKwargsItems

        template = self._template
        element: Any = template["mm_kwargs"]["image"][0]["pixel_values"]
        values = MultiModalFieldElem(data=self._normalise(pixels), field=element.field)
        return {
            **template,
            "mm_kwargs": MultiModalKwargsItems({"image": [MultiModalKwargsItem({"pixel_values": values})]}),
            "mm_hashes": {"image": [f"image-{next(self._count)}"]},
        }

    def free_request(self) -> tuple[Any, Any]:
        """For the load self-test: engine input that asks without the answer's first words, on a grey image, and greedy
        sampling of as many tokens as those words can take.
        """
        from vllm import SamplingParams

        grey = np.full((self._checkpoint.image.height, self._checkpoint.image.width, 3), 128, dtype=np.uint8)
        prompt = self._render(grey, self._checkpoint.prompt.text(answer_prefix=False))
        return prompt, SamplingParams(temperature=0.0, max_tokens=8, logprobs=1)

    def check_free_answer(self, answer: Any) -> None:
        """Raise UserError unless free generation opens as the checkpoint's prompt says it does.

        `answer` is vLLM's `CompletionOutput`.
        """
        text, prefix = answer.text, self._checkpoint.prompt.answer_prefix
        if any(math.isnan(token.logprob) for step in answer.logprobs or () for token in step.values()):
            raise UserError(
                f"model: {self._checkpoint.location} computes NaN, whatever it is asked: its weights are damaged "
                "(a tensor of them holds NaN or infinities), or too large for dtype; export it again, or set dtype"
            )
        if not text.strip().startswith(prefix):
            raise UserError(
                f"model: asked freely, {self._checkpoint.location} answers {text.strip()[:40]!r} and not {prefix!r}; "
                f"its prompt format is probably not {self._checkpoint.prompt.prompt_format!r}: "
                "set prompt_format in its fakevlm.json"
            )

    def _render(self, pixels: NDArray[np.uint8], text: str) -> Any:
        from PIL import Image

        prompt = {"prompt": text, "multi_modal_data": {"image": Image.fromarray(pixels)}}
        return self._renderer.render_cmpl([prompt])[0]

    @staticmethod
    def _pixel_values(engine_input: Any) -> Any:
        return engine_input["mm_kwargs"]["image"][0]["pixel_values"].data

    def _normalise(self, pixels: NDArray[np.uint8]) -> Any:
        """Pixels [height, width, 3] uint8 to the engine's tensor [3, height, width]."""
        import torch

        index = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))).reshape(3, -1).long()
        return torch.gather(self._table, 1, index).reshape(3, *pixels.shape[:2])
