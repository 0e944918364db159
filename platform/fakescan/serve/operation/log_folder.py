"""Whether logs can be written in a folder, found out before the server starts."""

import tempfile
from pathlib import Path


def folder_fault(folder: str) -> str | None:
    """What keeps this process from writing files in a folder, which is made where it is missing; None: nothing."""
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return None
    except FileExistsError:
        return "it is not a folder"
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)
