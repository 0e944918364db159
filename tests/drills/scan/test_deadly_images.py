"""Images that kill or hang the processes that read and decode them, among two thousand that do not."""

import json
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest

from fakescan.run.folder import RunFolder
from fakescan.storage.store import Store
from tests.deadly_images import WAYS, deadly_png, slow_jpeg, worse_libraries
from tests.drill_images import drill_images
from tests.scan_process import ScanProcess, fakescan, read_rows, running

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

FACTS = ("uri", "sha256", "width", "height", "format", "num_bytes", "verdict", "score", "error_code", "error_message")


class Deadly:
    """A folder of images, scanned with libraries that some of them are deadly for."""

    def __init__(self, folder: Path, model: Path, count: int) -> None:
        self.folder, self.model = folder, model
        self.source = folder / "images"
        self.source.mkdir()
        self.site = worse_libraries(folder / "site")
        for image in drill_images(count):
            (self.source / image.name).write_bytes(image.data)

    def add(self, name: str, way: str, seed: int) -> None:
        (self.source / name).write_bytes(deadly_png(way, seed=seed))

    def run(self, name: str) -> RunFolder:
        return RunFolder(str(self.folder / name), Store())

    def command(self, name: str, **settings: Any) -> list[object]:
        config = self.folder / f"{name}.yaml"
        every = {
            "source": str(self.source),
            "output": self.run(name).url,
            "model": str(self.model),
            "engine": {"kind": "fake"},
            "decode_timeout_s": 5,
            "decode_memory_gib": 1,
        }
        config.write_text(json.dumps({**every, **settings}))
        return ["scan", "--config", config]

    @property
    def environment(self) -> dict[str, str]:
        return {"PYTHONPATH": os.pathsep.join([str(self.site), *filter(None, [os.environ.get("PYTHONPATH")])])}

    def rows(self, name: str) -> dict[str, dict[str, Any]]:
        """By file name, what does not change from one scan to the next."""
        return {Path(row["uri"]).name: {fact: row[fact] for fact in FACTS} for row in read_rows(self.run(name))}

    def undisturbed(self, name: str) -> dict[str, dict[str, Any]]:
        """The same with the libraries that we have, for which no image is deadly."""
        fakescan(*self.command(name))
        return self.rows(name)


def poison_of(ended: ScanProcess) -> int:
    found = re.search(r"^\s+poison\s+(\d+)", ended.out, re.MULTILINE)
    return int(found[1]) if found else 0


def test_three_that_kill_and_one_that_hangs_among_two_thousand(tmp_path: Path, tiny_model: Path) -> None:
    deadly = Deadly(tmp_path, tiny_model, 1996)
    places = {301: "segv", 302: "memory", 777: "exit", 900: "hang"}
    names = {f"{place:05}-{way}.png": way for place, way in places.items()}
    for seed, (name, way) in enumerate(names.items()):
        deadly.add(name, way, seed)
    expected = deadly.undisturbed("undisturbed")
    assert len(expected) == 2000
    for more in ([], ["--retry-errors"]):
        started = time.monotonic()
        ended = fakescan(*deadly.command("deadly"), *more, environment=deadly.environment)
        seconds = time.monotonic() - started
        print(f"2,000 images, {len(names)} deadly ones{' again' if more else ''}: {seconds:.0f} s")
        assert seconds < 150
        rows = deadly.rows("deadly")
        assert {name: row["error_message"] for name, row in rows.items() if row["error_code"] == "poison"} == {
            name: f"decoding this image alone failed twice: {how}"
            for name, how in zip(
                names,
                (
                    "its process was killed by signal 11 (SIGSEGV)",
                    "it took more than 1 GiB of memory",
                    "its process ended with exit status 3",
                    "it did not end within 5 s",
                ),
                strict=True,
            )
        }
        assert {name: row for name, row in rows.items() if name not in names} == {
            name: row for name, row in expected.items() if name not in names
        }
        assert poison_of(ended) == len(names)
    fakescan("verify", deadly.run("deadly").url)
    fakescan(*deadly.command("undisturbed-again", output=deadly.run("deadly").url), "--retry-errors")
    assert deadly.rows("deadly") == expected, "poison is an error like others: with better libraries it is none"


def test_every_way_to_die_in_the_fetch_and_in_the_decoder_of_one_shard(tmp_path: Path, tiny_model: Path) -> None:
    """All of them in the same shards, and a scan that is killed in the middle and started again."""
    deadly = Deadly(tmp_path, tiny_model, 60)
    decoding = {f"{10 + seed:05}-decode-{way}.png": way for seed, way in enumerate(WAYS)}
    fetching = [f"deadly-read-{way}.png" for way in ("segv", "killed", "exit", "success", "hang", "loop")]
    for seed, (name, way) in enumerate(decoding.items()):
        deadly.add(name, way, seed)
    expected = deadly.undisturbed("undisturbed")
    for seed, name in enumerate(fetching):
        (deadly.source / name).write_bytes(deadly_png("none", seed=50 + seed))
    settings = {"shard_rows": 32, "decode_timeout_s": 1, "max_error_rate": 1}
    with running(*deadly.command("deadly", **settings), environment=deadly.environment) as scan:
        scan.wait_for_parts(deadly.run("deadly"), 1)
        scan.kill()
        scan.wait_until_no_worker_is_left()
    ended = fakescan(*deadly.command("deadly", **settings), environment=deadly.environment)
    rows = deadly.rows("deadly")
    assert {name for name, row in rows.items() if row["error_code"] == "poison"} == {*decoding, *fetching}
    assert {name: row for name, row in rows.items() if name not in (*decoding, *fetching)} == {
        name: row for name, row in expected.items() if name not in decoding
    }
    for name in fetching:
        assert rows[name]["error_message"].startswith("fetching this image alone failed twice: ")
        assert rows[name]["sha256"] is None
    for name in decoding:
        assert rows[name]["error_message"].startswith("decoding this image alone failed twice: ")
        assert rows[name]["sha256"] == expected[name]["sha256"]
    assert ended.end() == 0
    fakescan("verify", deadly.run("deadly").url)


def test_an_image_that_never_ends_is_one_poison_row(
    ray_cluster: str, pictures: Path, tmp_path: Path, tiny_model: Path
) -> None:
    """A real file, a real decoder: a progressive JPEG of thousands of scans."""
    source = tmp_path / "images"
    source.mkdir()
    for path in sorted(pictures.iterdir())[:12]:
        (source / path.name).write_bytes(path.read_bytes())
    (source / "00003-slow.jpg").write_bytes(slow_jpeg())
    config = tmp_path / "scan.yaml"
    run = RunFolder(str(tmp_path / "run"), Store())
    settings = {"source": str(source), "output": run.url, "model": str(tiny_model), "engine": {"kind": "fake"}}
    config.write_text(json.dumps({**settings, "shard_rows": 8, "decode_timeout_s": 1, "decode_memory_gib": 1}))
    ended = fakescan("scan", "--config", config, "--ray-address", ray_cluster)
    rows = read_rows(run)
    (bad,) = [row for row in rows if row["error_code"]]
    assert (Path(bad["uri"]).name, bad["error_code"]) == ("00003-slow.jpg", "poison")
    assert bad["error_message"] == "decoding this image alone failed twice: it did not end within 1 s"
    assert sum(row["verdict"] is not None for row in rows) == 12
    assert "errors 1" in ended.out
