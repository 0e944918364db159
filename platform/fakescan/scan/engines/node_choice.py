"""Where Ray may start the actors of the pool: the options of each, asked for anew as it is created."""

from typing import Any

NODE_LABEL = "ray.io/node-id"
"""Label that Ray gives every node."""


class NodeChoice:
    """Called by Ray Data, in the driver, before it creates an actor."""

    def __init__(self) -> None:
        self._excluded: tuple[str, ...] = ()

    def exclude(self, node: str) -> None:
        """Create no actor on this node from now on."""
        self._excluded = (*self._excluded, node)

    def include(self, node: str) -> None:
        """It may have actors again."""
        self._excluded = tuple(one for one in self._excluded if one != node)

    def __call__(self) -> dict[str, Any]:
        """Options of the next actor."""
        if not self._excluded:
            return {}
        return {"label_selector": {NODE_LABEL: f"!in({','.join(self._excluded)})"}}
