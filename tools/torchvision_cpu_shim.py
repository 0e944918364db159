"""Lets a CUDA build of torchvision be imported beside a CPU build of torch.

PyPI carries only CUDA builds of torchvision. Beside a CPU torch its compiled part cannot be loaded, which torchvision
itself tolerates; but it then registers fake kernels for two operators that part would have defined, and its import dies
with `operator torchvision::nms does not exist`. Nothing here calls these operators: transformers only imports
torchvision for image resizing. So the set-up copies this file into the virtual environment with a `.pth` file that
imports it in every process, and the two schemas are declared just before torchvision runs.

It costs an interpreter start nothing to speak of: torch is imported only when torchvision is. Where torchvision's own
compiled part loads, nothing is declared.
"""

import sys

_kept_alive = []  # a torch.library.Library takes its schemas back when it is collected


class _TorchvisionFinder:
    """Hands the import of `torchvision` on to the ordinary finders and declares the schemas before its code runs."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name != "torchvision":
            return None
        from importlib.machinery import PathFinder

        spec = PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None or not hasattr(spec.loader, "exec_module"):
            return spec
        run = spec.loader.exec_module

        def declare_then_run(module):
            _declare_missing_operators(module.__path__[0])
            run(module)

        spec.loader.exec_module = declare_then_run
        return spec


def _declare_missing_operators(package):
    import contextlib
    import glob
    import os

    import torch

    for compiled in glob.glob(os.path.join(glob.escape(package), "_C*.so")):
        with contextlib.suppress(OSError):  # the CUDA build: its libraries are not here
            torch.ops.load_library(compiled)
    missing = [name for name in ("nms", "qnms") if not hasattr(torch.ops.torchvision, name)]
    if missing:
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in missing:
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _kept_alive.append(library)


sys.meta_path.insert(0, _TorchvisionFinder)
