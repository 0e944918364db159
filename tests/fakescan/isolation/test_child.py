"""Child: whatever its work does to its process, the parent learns of it and goes on; real processes that really die."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import psutil
import pytest

from fakescan.isolation.child import Child, ChildStartError, Death, WorkLimits, alone
from fakescan.isolation.time_limit import Timed
from fakevlm.errors import ErrorCode, ImageError
from fakevlm.preprocess import DecodedImage, ImageSpec, decode, try_decode
from tests.deadly_images import deadly_png, worse_libraries
from tests.image_bytes import picture, saved

pytestmark = pytest.mark.unit

GIB = 2**30
SPEC = ImageSpec(shortest_edge=28, crop=(28, 28))
WORK = Timed(partial(try_decode, spec=SPEC, max_pixels=10**6), 1.0)
LIMITS = WorkLimits(1.0, GIB)
SOUND = saved(picture(), "PNG")
Decoder = Child[bytes, DecodedImage | ImageError]


@pytest.fixture(scope="module")
def worse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = str(worse_libraries(tmp_path_factory.mktemp("worse") / "site"))
    sys.path.insert(0, folder)  # of this process, which has started long ago, only its children take it over
    yield
    sys.path.remove(folder)


@pytest.fixture
def child(worse: None) -> Iterator[Decoder]:
    with Child(WORK, LIMITS) as one:
        yield one


OTHERS: set[psutil.Process] = set()
"""Children that other tests share."""


@pytest.fixture(scope="module", autouse=True)
def others() -> None:
    OTHERS.update(children())


def children() -> list[psutil.Process]:
    """Children of this process, and processes that they have left behind, but for those of other tests."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess):
            if f"child_program {os.getpid()} " in " ".join(process.cmdline()):
                found.append(process)
    return [process for process in found if process not in OTHERS]


@pytest.mark.parametrize(
    ("way", "how"),
    [
        ("segv", "its process was killed by signal 11 (SIGSEGV)"),
        ("killed", "its process was killed by signal 9 (SIGKILL), as the system does when memory runs out"),
        ("exit", "its process ended with exit status 3"),
        ("success", "its process ended with exit status 0"),
        ("orphan", "its process ended with exit status 3"),
        ("stopped", "it did not end within 1 s"),
        ("hang", "it did not end within 1 s"),
        ("loop", "it did not end within 1 s"),
        ("no-memory", "it ran out of memory"),
    ],
)
def test_the_parent_learns_how_it_ended_and_the_next_image_is_right(child: Decoder, way: str, how: str) -> None:
    started = time.monotonic()
    assert child.do(deadly_png(way)) == Death(how, is_timeout=way in ("hang", "loop", "stopped"))
    assert children() == [], "none is left, not even as a zombie"
    image = child.do(SOUND)
    expected = decode(SOUND, SPEC, max_pixels=10**6)
    assert isinstance(image, DecodedImage)
    assert (image.pixels == expected.pixels).all()
    assert image[1:] == expected[1:]
    assert len(children()) == 1
    assert time.monotonic() - started < 30


def test_a_child_that_takes_too_much_memory_is_killed(worse: None) -> None:
    with Child(replace(WORK, seconds=60.0), LIMITS) as child:
        assert child.do(deadly_png("memory")) == Death("it took more than 1 GiB of memory")
        assert isinstance(child.do(SOUND), DecodedImage)
    assert children() == []


def test_one_child_does_many_images_and_an_error_is_a_value(child: Decoder) -> None:
    child.do(SOUND)
    (before,) = children()
    for data in (SOUND, b"", b"no image", SOUND[:-100]):
        image, expected = child.do(data), try_decode(data, SPEC, max_pixels=10**6)
        if isinstance(expected, ImageError):
            assert isinstance(image, ImageError)
            assert (image.code, image.message) == (expected.code, expected.message)
        else:
            assert isinstance(image, DecodedImage)
    assert children() == [before]


@pytest.mark.parametrize("deaths", [1, 2])
def test_poison_is_what_dies_twice_alone(child: Decoder, tmp_path: Path, deaths: int) -> None:
    data = deadly_png("killed", times=deaths, counter=tmp_path / "counter")
    outcome = alone(child, data)
    if deaths == 1:
        assert isinstance(outcome, DecodedImage)
    else:
        assert isinstance(outcome, Death)
        assert outcome.message("decoding") == f"decoding this image alone failed twice: {outcome.how}"


def test_a_child_that_was_killed_while_idle_is_nobodys_fault(child: Decoder) -> None:
    child.do(SOUND)
    (process,) = children()
    process.kill()
    psutil.wait_procs([process], 10)
    assert isinstance(child.do(SOUND), DecodedImage)


def test_what_the_work_raises_is_raised_here() -> None:
    with Child(int, LIMITS) as child:
        assert child.do("7") == 7
        with pytest.raises(ValueError, match="invalid literal"):
            child.do("seven")
        assert child.do("8") == 8
    with Child(partial(ImageError, ErrorCode.EMPTY), LIMITS) as errors:
        assert str(errors.do("nothing")) == "empty: nothing"
    assert children() == []


def test_a_child_that_cannot_start_is_not_the_images_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text("import os\nos._exit(7)\n")
    monkeypatch.syspath_prepend(tmp_path)
    with Child(int, LIMITS) as child, pytest.raises(ChildStartError, match="its process ended with exit status 7"):
        child.do("7")
    assert children() == []


def test_what_lies_in_the_current_folder_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pickle.py").write_text("raise SystemExit(9)\n")
    monkeypatch.chdir(tmp_path)
    with Child(int, LIMITS) as child:
        assert child.do("7") == 7


@pytest.mark.parametrize("way", ["idle", "hang"])
def test_a_child_does_not_outlive_its_parent(worse: None, tmp_path: Path, way: str) -> None:
    """Killed, the parent cleans nothing up; and the child may hang with Python's lock held."""
    data = tmp_path / "image.png"
    data.write_bytes(deadly_png("hang") if way == "hang" else SOUND)
    program = f"""
import sys
from pathlib import Path
from fakescan.isolation.child import Child, WorkLimits
from fakevlm.preprocess import ImageSpec, try_decode
from dataclasses import replace
from functools import partial
work = partial(try_decode, spec=ImageSpec(shortest_edge=28, crop=(28, 28)), max_pixels=10**6)
child = Child(work, WorkLimits())
child.do({SOUND!r})
print(child._process.pid, flush=True)
child.do(Path({str(data)!r}).read_bytes())
sys.stdin.read()
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    ) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        assert child.is_running()
        parent.kill()
    _, alive = psutil.wait_procs([child], 10)
    assert not alive
