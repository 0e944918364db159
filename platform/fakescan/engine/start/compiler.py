"""Whether an engine that is compiled can be, here."""

import os
import shutil

from fakevlm.errors import UserError


def require_compiler() -> None:
    """Raise UserError where torch.compile would find no C++ compiler: CXX, else g++."""
    name = os.environ.get("CXX") or "g++"
    if shutil.which(name) is None:
        raise UserError(
            f"engine.enforce_eager: false has the engine compiled on each node, and this one has no {name}: "
            "install it, or leave the setting out"
        )
