"""Images that end the process that reads or decodes them, and one that keeps it busy for very long.

All but the slow one are sound PNGs, and deadly only where Pillow is a worse one than ours: `worse_libraries` writes a
`sitecustomize` that makes it so in every Python that has its folder on the path, Ray's workers and their children.
"""

import io
import textwrap
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

WAYS = ("segv", "killed", "exit", "success", "hang", "loop", "memory", "no-memory")
"""How an image ends its process: a bad pointer, SIGKILL as when memory runs out, `os._exit` with 3 and with 0; never
returning from C with Python's lock held, and in Python; allocating until killed, MemoryError. There are two more:
`orphan` leaves a process behind, and `stopped` is SIGSTOP."""

_SITE = '''
import ctypes, importlib.util, os, signal, sys

GIB = 2**30


def die(order):
    """`WAY`, or `WAY TIMES FILE`: only as often, counted in the file."""
    way, *bound = order.split(" ", 2)
    if bound:
        with open(bound[1], "a+") as file:
            file.seek(0)
            if len(file.read()) >= int(bound[0]):
                return
            file.write("x")
    if way == "segv":
        ctypes.string_at(0)
    elif way == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif way == "exit":
        os._exit(3)
    elif way == "success":
        os._exit(0)
    elif way == "orphan":
        if os.fork():
            os._exit(3)
        ctypes.CDLL(None).pause()
    elif way == "stopped":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif way == "hang":
        while True:
            ctypes.PyDLL(None).pause()  # PyDLL keeps the lock
    elif way == "loop":
        while True:
            pass
    elif way == "memory":  # until the system has enough of it
        taken = [bytearray(os.urandom(1)) * (GIB // 64) for _ in range(3 * 64)]
        os.kill(os.getpid(), signal.SIGKILL)


class Worse:
    def find_spec(self, name, path=None, target=None):
        if name != "PIL.PngImagePlugin":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module

        def exec_module(module):
            load(module)
            decode = module.PngImageFile.load

            def worse(self):
                if self.size == (57, 31):  # the image is tried again without its texts
                    raise MemoryError
                if "deadly" in self.info:
                    die(self.info["deadly"])
                return decode(self)

            module.PngImageFile.load = worse

        spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, Worse())

opened = os.open


def worse_open(path, *arguments, **options):
    name = os.path.basename(os.fsdecode(path))
    if name.startswith("deadly-read-"):
        die(name.removeprefix("deadly-read-").rpartition(".")[0])
    return opened(path, *arguments, **options)


os.open = worse_open
'''


def worse_libraries(folder: Path) -> Path:
    """Write `sitecustomize.py` into a new folder, for PYTHONPATH; returns the folder.

    Deadly are PNGs of `deadly_png` when they are decoded, and files called `deadly-read-WAY.*` when they are opened.
    """
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(textwrap.dedent(_SITE))
    return folder


def deadly_png(way: str, *, times: int | None = None, counter: Path | None = None, seed: int = 0) -> bytes:
    """A small PNG; with `times` it is deadly so often, which is counted in a file."""
    info = PngInfo()
    info.add_text("deadly", way if times is None else f"{way} {times} {counter}")
    levels = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    size = (57, 31) if way == "no-memory" else (60, 40)
    Image.fromarray(levels).resize(size).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def slow_jpeg(scans: int = 20_000, side: int = 4000) -> bytes:
    """A JPEG that no decoder crashes on and all take very long for: empty scans over a large image, again and again.

    At a few milliseconds and some 40 bytes for each scan.
    """
    buffer = io.BytesIO()
    Image.new("L", (side, side), 90).save(buffer, "JPEG", progressive=True)
    data = buffer.getvalue()
    last = data.rindex(b"\xff\xda")
    return data[:last] + (scans + 1) * data[last:-2] + data[-2:]
