"""How many engines run at once, as a user writes it."""

import re
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from fakescan.settings.strict_model import StrictModel


class Replicas(StrictModel):
    """How many engines judge at once: a fixed number, or a range that follows the load."""

    low: Annotated[int, Field(ge=1)] = 1
    """Engines at the start, and the least."""
    high: Annotated[int, Field(ge=1)] = 1
    """The most engines."""

    def __str__(self) -> str:
        return f"{self.low}" if self.low == self.high else f"{self.low}-{self.high}"

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"the range {self.low}-{self.high} is empty; write the smaller number first")
        return self


def parse_replicas(value: Any) -> Any:
    """`2` and `"2"` mean two engines, `"1-4"` a range."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if isinstance(value, str):
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", value.strip())
        if match is None:
            raise ValueError(f"{value!r} is neither a number such as 2 nor a range such as 1-4")
        if not int(match[1]) or not int(match[2] or 1):
            raise ValueError("the number of engines must be greater than or equal to 1")
        return {"low": int(match[1]), "high": int(match[2] or match[1])}
    if not isinstance(value, dict | Replicas):
        raise ValueError(f"{value!r} is neither a number such as 2 nor a range such as 1-4")
    return value


def parse_chosen_replicas(value: Any) -> Any:
    """The same, where None stands for a number that is chosen later."""
    return None if value is None else parse_replicas(value)
