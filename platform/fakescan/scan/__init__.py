"""Scan: every image under a prefix gets a row with a verdict or an error, in Parquet.

From Python: `outcome = fakescan.scan("photos/", output="audit/")`; see `fakescan.scan.call.scan` and docs/python.md.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fakescan.scan.execution import ScanOutcome


class _CallablePackage(ModuleType):
    """This package, which can be called.

    `fakescan.scan` is what users call, and it is this package: whoever imports a module of it binds the name to it. One
    name cannot mean two things depending on what was imported before, so it means one that can do both.
    """

    def __call__(self, source: Any, output: Any, **settings: Any) -> "ScanOutcome":
        """Scan every image of `source` and write the results to `output`; see `fakescan.scan.call.scan`."""
        from fakescan.scan.call import scan

        return scan(source, output, **settings)

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        """Pickled by its name, as any module is by Ray."""
        return import_module, (self.__name__,)


sys.modules[__name__].__class__ = _CallablePackage
