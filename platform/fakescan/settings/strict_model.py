"""The base class of settings, and of what jobs store as JSON."""

from pydantic import BaseModel, ConfigDict


class StrictModel(BaseModel):
    """Takes no unknown field and never changes; a field's docstring is its description."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
