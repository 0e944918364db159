"""The bare engine's cold start: import vLLM, load the engine that scan loads by default, judge one image.

    python -m benchmarks.cold_start IMAGE --model M

Prints the Unix time at which the judgement was there.
"""

import argparse
import os
import time
from pathlib import Path


def main() -> None:
    """Load, judge, say when."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", type=Path)
    parser.add_argument("--model", required=True)
    arguments = parser.parse_args()

    from benchmarks.plain import engine_arguments, engine_environment

    os.environ.update(engine_environment())
    from PIL import Image
    from vllm import LLM, SamplingParams

    from fakevlm.checkpoint.checkpoint import open_checkpoint
    from fakevlm.preprocess import decode

    checkpoint = open_checkpoint(arguments.model)
    engine = LLM(str(checkpoint.path), max_num_seqs=32, **engine_arguments(checkpoint, 256))
    image = decode(arguments.image.read_bytes(), checkpoint.image, max_pixels=100_000_000)
    words = [checkpoint.fake_token_id, checkpoint.real_token_id]
    request = {"prompt": checkpoint.prompt.text(), "multi_modal_data": {"image": Image.fromarray(image.pixels)}}
    engine.generate(
        [request],
        SamplingParams(temperature=0.0, max_tokens=1, logprob_token_ids=words),
        use_tqdm=False,
    )
    print(time.time())


if __name__ == "__main__":
    main()
