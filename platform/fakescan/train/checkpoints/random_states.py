"""States of the random generators of a worker, so that another process goes on drawing where this one stopped."""

import random
from typing import Any


def random_states() -> dict[str, Any]:
    """The states of all random generators, for `restore_random_states`."""
    import torch

    states = {"python": random.getstate(), "torch": torch.get_rng_state()}
    return {**states, "cuda": torch.cuda.get_rng_state()} if torch.cuda.is_available() else states


def restore_random_states(states: dict[str, Any]) -> None:
    """Go on drawing where another process stopped."""
    import torch

    random.setstate(states["python"])
    torch.set_rng_state(states["torch"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])
