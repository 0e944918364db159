"""Asks checkpoints about images with a real vLLM engine, in a process of its own; run by test_layouts.py.

`python vllm_answers.py FOLDER` reads `ask.json` and the pixels beside it and writes `answers.json`.
"""

import gc
import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ |= {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",  # the models are tiny, and threads that spin for each other stall on a busy machine
}


def answers(question: dict[str, Any], folder: Path) -> list[dict[str, Any]]:
    """Return for each image the prompt's length, the log-probabilities of the verdict words and the free answer."""
    import numpy as np
    from PIL import Image
    from vllm import LLM, SamplingParams
    from vllm.distributed import cleanup_dist_env_and_memory

    engine = LLM(
        question["path"],
        dtype="float32",
        distributed_executor_backend="uni",
        enforce_eager=True,
        mm_processor_cache_gb=0,
        max_model_len=1024,
        max_num_seqs=8,
    )
    images = [{"image": Image.fromarray(pixels)} for pixels in np.load(folder / question["pixels"])]
    words = [question["fake_token_id"], question["real_token_id"]]
    scored, free = (
        engine.generate(
            [{"prompt": question[prompt], "multi_modal_data": image} for image in images], sampling, use_tqdm=False
        )
        for prompt, sampling in (
            ("prompt", SamplingParams(temperature=0, max_tokens=1, logprob_token_ids=words)),
            ("free_prompt", SamplingParams(temperature=0, max_tokens=20)),
        )
    )
    result = [
        {
            "prompt_tokens": len(score.prompt_token_ids),
            "logprobs": [score.outputs[0].logprobs[0][word].logprob for word in words],
            "text": answer.outputs[0].text,
        }
        for score, answer in zip(scored, free, strict=True)
    ]
    engine.llm_engine.engine_core.shutdown()
    del engine
    gc.collect()
    cleanup_dist_env_and_memory()
    return result


if __name__ == "__main__":
    here = Path(sys.argv[1])
    asked = json.loads((here / "ask.json").read_text())
    (here / "answers.json").write_text(json.dumps({name: answers(asked[name], here) for name in asked}))
