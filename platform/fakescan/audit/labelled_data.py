"""A dataset in FakeClue's format from labelled images of a run, for fine-tuning or an evaluation."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from fakescan.review.labels import Labels
from fakescan.run.facts.run_facts import OnParts, nobody
from fakescan.run.folder import RunFolder
from fakescan.run.part_tables import whole_tables
from fakescan.run.run_file import RunFile
from fakescan.sources.fetch import Fetcher
from fakescan.storage.objects import put_atomic
from fakescan.storage.preflight import check_writable
from fakescan.storage.store import Store
from fakescan.storage.url import redact
from fakevlm.data.record import FAKE, REAL, Record
from fakevlm.errors import UserError
from fakevlm.prompt import PromptSpec

_BLOCK = 64
_EXTENSIONS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "GIF": "gif", "BMP": "bmp", "TIFF": "tif", "HEIF": "heic"}


@dataclass
class LabelledData:
    """What became of the labelled images."""

    records: Counter[str] = field(default_factory=Counter)
    """Records by label."""
    unsure: int = 0
    """Images whose label is neither real nor fake; they get no record."""
    elsewhere: int = 0
    """Labelled images that this run does not hold."""
    failed: dict[str, str] = field(default_factory=dict)
    """Why an image could not be had any more, by its address."""


def write_labelled_data(
    folder: RunFolder,
    labels: Labels,
    output: str,
    *,
    category: str,
    split: str,
    input_store: Store,
    output_store: Store,
    on_parts: OnParts = nobody,
) -> LabelledData:
    """Copy the images that are called real or fake to OUTPUT/images, and write OUTPUT/data_json/SPLIT.json at the end.

    Images are fetched from the run's source and must be those that were labelled, byte for byte. Raises UserError where
    no labelled image is in the run, and for a split that exists.
    """
    run = folder.open()
    check_writable(output, output_store)
    fs, root = output_store.filesystem(output)
    path = f"{root.rstrip('/')}/data_json/{split}.json"
    if fs.exists(path):
        raise UserError(f"split: {redact(output)}/data_json/{split}.json exists; name another --split or --output")
    result = LabelledData(unsure=sum(image.label == "unsure" for image in labels.of_image.values()))
    wanted = pa.array([key for key, image in labels.of_image.items() if image.label != "unsure"], pa.string())
    fetcher = Fetcher(input_store.resolved(), max_bytes=run.identity.max_bytes)
    records: list[Record] = []
    seen: set[str] = set()
    for rows in _labelled_rows(folder, run, wanted, seen, on_parts):
        for first in range(0, rows.num_rows, _BLOCK):
            block = rows.slice(first, _BLOCK)
            manifest = pa.concat_tables(_manifest_rows(folder, run, block))
            for row, fetched in zip(block.to_pylist(), fetcher.fetch(manifest), strict=True):
                if fetched.data is None or fetched.sha256 != row["sha256"]:
                    result.failed[row["uri"]] = fetched.error_message or "has other bytes now than were labelled"
                    continue
                name = _name(row)
                put_atomic(fs, f"{root.rstrip('/')}/{name}", fetched.data)
                label = labels.of_image[row["sha256"]].label
                records.append(_record(name, row, label == "fake", category))
                result.records[label] += 1
    result.elsewhere = len(wanted) - len(seen)
    if not seen:
        raise UserError("labels: no image of this run has a label that says real or fake")
    if not records:
        uri, reason = next(iter(result.failed.items()))
        raise UserError(f"input: no labelled image could be fetched again, such as {redact(uri)}: {reason}")
    text = json.dumps([record.to_json() for record in records], indent=1, ensure_ascii=False)
    put_atomic(fs, path, text.encode())
    return result


def _labelled_rows(
    folder: RunFolder, run: RunFile, wanted: pa.Array, seen: set[str], on_parts: OnParts
) -> Iterator[pa.Table]:
    """The first row of each labelled content, part by part."""
    columns = ("row_id", "uri", "sha256", "width", "height", "format")
    for part in whole_tables(folder, run, folder.shards(), columns):
        rows = part.filter(pc.is_in(part["sha256"], wanted))
        fresh = []
        for key in rows["sha256"].to_pylist():
            fresh.append(key not in seen)
            seen.add(key)
        on_parts(1)
        if any(fresh):
            yield rows.filter(pa.array(fresh, pa.bool_()))


def _manifest_rows(folder: RunFolder, run: RunFile, rows: pa.Table) -> list[pa.Table]:
    reader = folder.manifest(run)
    return [reader.rows(row_id, 1) for row_id in rows["row_id"].to_pylist()]


def _name(row: dict[str, str]) -> str:
    extension = _EXTENSIONS.get(str(row["format"]).upper(), str(row["format"] or "img").lower())
    return f"images/{row['sha256'][:2]}/{row['sha256']}.{extension}"


def _record(name: str, row: dict[str, int], is_fake: bool, category: str) -> Record:
    prompt = PromptSpec()
    word = prompt.fake_word if is_fake else prompt.real_word
    return Record.model_validate(
        {
            "image": name,
            "label": FAKE if is_fake else REAL,
            "cate": category,
            "width": row["width"],
            "height": row["height"],
            "conversations": [
                {"from": "human", "value": prompt.question},
                {"from": "gpt", "value": f"{prompt.answer_prefix} {word} image."},
            ],
        }
    )
