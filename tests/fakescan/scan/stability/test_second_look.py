"""Second look: the files that travel with the pixels, those that are fetched again, and what they are judged to be."""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from fakescan.engine.contract import Judgement
from fakescan.engine.judged_values import judged_values
from fakescan.engine.judging_options import JudgingOptions
from fakescan.engine.simulated import pretend
from fakescan.isolation.child import USUAL_LIMITS
from fakescan.run.folder import RunFolder
from fakescan.run.run_file import RunFile, new_run
from fakescan.run.stability.columns import LOGITS, SCORES, VARIANTS
from fakescan.scan.stability.carried import CarriedFiles
from fakescan.scan.stability.second_look import SecondLook, SecondLookSettings
from fakescan.scan.stability.variants import Pixels
from fakescan.scan.stages import Decode, Fetch
from fakescan.scan.tables import RowValues, StripCounts, decoded_schema, judged_schema
from fakescan.sources.manifest import write_manifest
from fakescan.storage.store import Store
from fakevlm.errors import ErrorCode
from fakevlm.metrics.distortion import distort
from fakevlm.preprocess import fit
from tests.fakescan.run.conftest import identity

pytestmark = pytest.mark.unit

OPTIONS = JudgingOptions()


def photo(number: int) -> Image.Image:
    levels = np.random.default_rng(number).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    return Image.fromarray(levels)


class Started:
    """A run of six images, of which the last is none, with its first two stages in this process."""

    def __init__(self, root: Path, *, max_bytes: int, **changes: Any) -> None:
        self.images = [root / f"{number}.png" for number in range(6)]
        for number, path in enumerate(self.images[:5]):
            photo(number).save(path)
        self.images[5].write_bytes(b"no image")
        folder = RunFolder(str(root / "run"), Store())
        entries = pa.table({"uri": [str(path) for path in self.images]})
        info = write_manifest([entries], folder.fs, f"{folder.path}/manifest", source=str(root))
        self.run: RunFile = new_run(
            identity().model_copy(update={"stability": "all", **changes}),
            "m",
            None,
            fingerprint=info.fingerprint,
            rows=6,
            population=6,
            shard_rows=6,
        )
        self.fetch = Fetch(folder, self.run, Store(), 2**20, 4, 10.0, False)
        spec = self.run.identity.image
        self.decode = Decode(spec, 10**6, carried=CarriedFiles(self.run.strip, max_bytes))
        self.judged: list[int] = []
        self.look = SecondLook(SecondLookSettings(self.run.strip, spec, 10**6, USUAL_LIMITS, self.fetch), self._judge)

    def decoded(self) -> pa.Table:
        return self.decode(self.fetch(pa.table({"shard": [0]})))

    def pixels(self, table: pa.Table) -> dict[int, Pixels]:
        whole = table["pixels"].combine_chunks().to_numpy_ndarray()
        return {place: whole[place] for place in range(5)}

    def values(self, table: pa.Table) -> dict[int, RowValues]:
        return {place: values_of(pretend(image, OPTIONS)) for place, image in self.pixels(table).items()}

    def _judge(
        self, shard: int, contents: Sequence[bytes], pixels: Sequence[Pixels]
    ) -> tuple[list[RowValues], list[int]]:
        assert len(set(contents)) == len(contents) == len(pixels)
        self.judged.append(len(pixels))
        return [values_of(pretend(image, OPTIONS)) for image in pixels], [0]


def values_of(judgement: Judgement) -> RowValues:
    return RowValues(**judged_values(judgement, OPTIONS.calibration)._asdict())


def by_hand(number: int, condition: str, run: RunFile) -> float:
    image = fit(distort(photo(number), condition, seed=0), run.identity.image)
    return float(np.float32(values_of(pretend(image, OPTIONS)).score))


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Started]:
    """The files of two images travel; those of the others are too many."""
    size = len(png(photo(0)))
    found = Started(tmp_path, max_bytes=2 * size + size // 2)
    yield found
    found.look.close()


def png(image: Image.Image) -> bytes:
    sink = io.BytesIO()
    image.save(sink, "PNG")
    return sink.getvalue()


def test_files_travel_up_to_a_bound_and_without_a_strip_none_does(started: Started) -> None:
    table = started.decoded()
    assert table.schema.equals(decoded_schema(84, 84, files=True))
    data = table["data"].to_pylist()
    assert data[:2] == [path.read_bytes() for path in started.images[:2]]
    assert data[2:] == [None] * 4
    plain = Decode(started.decode.spec, 10**6)(started.fetch(pa.table({"shard": [0]})))
    assert plain.schema.equals(decoded_schema(84, 84))
    assert "data" not in plain.column_names


def test_only_what_may_be_looked_at_travels(tmp_path: Path) -> None:
    started = Started(tmp_path, max_bytes=2**20, stability="sample", stability_share=0.5)
    table = started.decoded()
    chosen = [int(key, 16) < 2**255 for key in table["source_key"].to_pylist()]
    assert [data is not None for data in table["data"].to_pylist()[:5]] == chosen[:5]
    looks = started.look(0, table, started.pixels(table), started.values(table))
    assert sorted(looks) == [place for place in range(5) if chosen[place]]
    started.look.close()


def test_what_does_not_travel_is_fetched_again_and_gets_the_same_scores(started: Started) -> None:
    table = started.decoded()
    looks = started.look(0, table, started.pixels(table), started.values(table))
    assert sorted(looks) == list(range(5))
    for place, one in looks.items():
        assert one.look.note is None
        for variant, score in zip(VARIANTS, one.look.scores, strict=True):
            assert score is not None
            assert np.float32(score.score) == np.float32(by_hand(place, variant.condition, started.run))
    assert started.judged == [25]
    assert [looks[place].judged for place in range(5)] == [4, 5, 5, 5, 5]  # one was known


def test_a_file_that_is_gone_or_another_one_by_now_is_said_and_costs_no_row(started: Started) -> None:
    table = started.decoded()
    for path in started.images[:2]:
        path.unlink()  # they have travelled
    started.images[2].unlink()
    photo(99).save(started.images[3])
    looks = started.look(0, table, started.pixels(table), started.values(table))
    assert [looks[place].look.note is None for place in range(5)] == [True, True, False, False, True]
    assert str(looks[2].look.note).startswith(f"jpeg70, half, small, flip, pad: {ErrorCode.NOT_FOUND}: ")
    assert str(looks[3].look.note).startswith(f"jpeg70, half, small, flip, pad: {ErrorCode.CHANGED}: ")
    assert started.judged == [15]
    columns = started.look.columns(6, started.values(table), looks)
    assert columns["variants"] == [4, 5, 0, 0, 5, None]
    assert [columns[name][2] for name in SCORES] == [None] * 5
    assert columns["verdict_holds"][2:4] == [None, None]
    assert [verdict is None for verdict in columns["verdict"]] == [False] * 5 + [True]


def test_what_a_scan_counts_of_its_looks() -> None:
    rows: list[dict[str, Any]] = [
        {"verdict_holds": True, "variants": 5},
        {"verdict_holds": False, "variants": 4},
        {"verdict_holds": None, "strip_note": "pad: why", "variants": 4} | dict.fromkeys(LOGITS[:-1], 0.5),
        {"verdict_holds": None, "variants": None},
    ]
    full: dict[str, Any] = {"row_id": 0, "uri": "a", "model": "m", "run_id": "r", "scanned_at": 0}
    table = pa.Table.from_pylist([full | row for row in rows], judged_schema(strip=True))
    counts = StripCounts.of(table)
    assert counts == StripCounts(looked=3, unstable=1, incomplete=1, variants=13, failed=1)
    counts.add(StripCounts(1, 1, 0, 5))
    assert counts == StripCounts(4, 2, 1, 18, failed=1)
    assert StripCounts.of(pa.Table.from_pylist([], judged_schema())) == StripCounts()
