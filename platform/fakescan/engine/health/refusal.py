"""What an engine does about a request that fails while the engine itself goes on."""

from fakevlm.errors import one_line

ATTEMPTS = 2
"""Times that an image is given to the engine before it counts as refused."""


def refused(error: BaseException) -> str:
    """The error message of an image that the engine has refused."""
    kind, text = type(error).__name__, one_line(error)
    if text == kind and error.__cause__ is not None:  # vLLM hides what has happened behind an EngineGenerateError
        text = f"{type(error.__cause__).__name__}: {one_line(error.__cause__)}"
    return f"the engine refused the image: {text}" if text == kind else f"the engine refused the image: {kind}: {text}"
