"""Requests that vLLM really refuses: the prompt of some images is made longer than the model's longest."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

REFUSED_RGB = (9, 8, 7)


def too_long(make: Callable[..., Any], seen: list[int], *, times: int) -> Callable[..., Any]:
    """`Requests.input`, whose first `times` inputs for an image of this colour have a prompt that is too long."""

    def made(pixels: NDArray[np.uint8]) -> Any:
        engine_input = make(pixels)
        if tuple(pixels[0, 0]) == REFUSED_RGB:
            seen.append(1)
            if len(seen) <= times:
                tokens = engine_input["prompt_token_ids"]
                return {**engine_input, "prompt_token_ids": [*tokens, *tokens[-1:] * 10_000]}
        return engine_input

    return made
