"""FakeVLM at scale: scan, train and serve on Ray.

outcome = fakescan.scan("photos/", output="audit/")
frame = fakescan.open_run("audit/").to_pandas()

These names are imported when they are used: `import fakescan` alone loads nothing. See docs/python.md.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fakescan.api import Run, open_run
    from fakescan.errors import JobFailedError
    from fakescan.scan.call import scan
    from fakevlm.errors import UserError

__all__ = ["JobFailedError", "Run", "UserError", "open_run", "scan"]

_MODULES = {
    "JobFailedError": "fakescan.errors",
    "Run": "fakescan.api",
    "UserError": "fakevlm.errors",
    "open_run": "fakescan.api",
}


def __getattr__(name: str) -> Any:
    if name == "scan":  # a package that can be called
        return import_module("fakescan.scan")
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
