"""Folders of a scan's report with invented rows, for tests of the page that reads them: no scan, no images of anyone.

Make one to look at: `python -m tests.report_folder FOLDER ROWS`.
"""

import hashlib
import io
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from fakescan.report.overview.page_files import drill_down
from fakescan.report.rows.schema import FACET_ROWS_PER_FILE, FACET_ROWS_PER_GROUP, facets_schema, write_facets

DATA = "data/0123456789ab/"
VERDICTS = ("real", "fake", "uncertain", None)
CODES = ("not_found", "not_an_image", "too_large")
WORDS = ("hands", "eyes", "text", "background", "lighting", "skin")
FLAGS = ("explained", "overruled", "trusted")
ORIGINS = ("ai_generated", "ai_edited", "captured", "composite", "signed_other", "none")
LABELS = ("AI-generated", "AI-edited", "captured", "composite", "signed, origin not said", "says nothing")
BASE = "s3://photos/library"
THRESHOLD = 0.5
REPEATING = {
    "verdict",
    "folder",
    "words",
    "flags",
    "format",
    "error_code",
    "error_message",
    "etag",
    "kept:album",
}
HOSTILE = '"><img src=x onerror=document.title=1>\u202egpj.exe'
"""In a name or an explanation: markup that would run, and a sign that turns the rest around."""
Json = dict[str, Any]


@dataclass
class ReportFolder:
    """What to invent."""

    rows: int = 5000
    flagged_share: float = 0.04
    folders: int = 60
    thumbs: int = 200
    thumb_px: int = 192
    row_group_rows: int = 4096
    meaning: str = "full"
    names: dict[int, str] = field(default_factory=dict)
    """File names of some row ids, instead of invented ones."""
    explanations: dict[int, str] = field(default_factory=dict)
    folder_names: dict[int, str] = field(default_factory=dict)
    view: Json | None = None
    samples: int = 0
    """Images in each sample."""
    signer: str = "Signer Inc."
    designs: Sequence[str] = ("estimate",)
    """The samples, which are all of the same images."""
    copied: bool = True
    """Whether every tenth picture has copies; else nobody knows."""
    looked: bool = False
    """Whether the flagged images were looked at again."""

    def write(self, folder: Path) -> Json:
        """Write the folder, page included; returns report.json."""
        for name, data in drill_down():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        (folder / DATA).mkdir(parents=True, exist_ok=True)
        rows = _rows(self)
        tree = _tree(self, rows)
        report = _report(self, rows, tree)
        report["rows"] = _write(folder, "rows", _row_table(self, rows), 262_144, self.row_group_rows)
        report["facets"] = _write_facets(folder, _facet_table(self, rows))
        report["thumbs"] = _write_thumbs(self, folder, rows)
        (path,) = _write(folder, "folders", tree, len(tree), len(tree), name="folders.parquet")["files"]
        report["folders"] |= {"count": len(tree), "bytes": path["bytes"], "footer_bytes": path["footer_bytes"]}
        if self.samples:
            (folder / "review").mkdir(exist_ok=True)
            for design in self.designs:
                (folder / "review" / f"{design}.json").write_text(json.dumps(sample_of(self, rows, design)))
        (folder / "report.json").write_text(json.dumps(report))
        (folder / "report.html").write_text("<!doctype html><html lang=en><title>report</title><p>The overview.")
        return report


@dataclass
class _Rows:
    """Columns in the order of the report."""

    row_id: NDArray[np.int64]
    score: NDArray[np.float32]
    verdict: NDArray[np.int8]
    error: NDArray[np.int8]
    leaf: NDArray[np.int32]
    folder: NDArray[np.int32]
    """The leaf's id in the tree."""
    words: NDArray[np.int32]
    kilobytes: NDArray[np.int32]
    thumb: NDArray[np.int32]
    lead: NDArray[np.int32]
    """The first position of the same picture."""

    @property
    def scored(self) -> int:
        return int((self.error == 0).sum())

    @property
    def origin(self) -> NDArray[np.uint8]:
        """The number of what the file says of its origin."""
        said = np.where(self.row_id % 31 < 5, self.row_id % 31 + 1, len(ORIGINS))
        return np.where(self.row_id % 97 == 0, 0, said).astype(np.uint8)

    @property
    def is_trusted(self) -> NDArray[np.bool_]:
        return (self.row_id % 2 == 0) & (self.origin > 0) & (self.origin < len(ORIGINS))


def _rows(wanted: ReportFolder) -> _Rows:
    random = np.random.default_rng(1)
    count = wanted.rows
    leaf = random.integers(0, wanted.folders, count).astype(np.int32)
    badness = random.beta(0.6, 8, wanted.folders) * 2 * wanted.flagged_share / 0.14
    fake = random.random(count) < np.clip(badness[leaf], 0.001, 0.97)
    score = np.where(fake, 1 - random.beta(1, 5, count) / 2, random.beta(1, 9, count) / 2).astype(np.float32)
    error = np.where(random.random(count) < 0.01, random.integers(1, len(CODES) + 1, count), 0).astype(np.int8)
    verdict = np.where(error > 0, 3, score >= THRESHOLD).astype(np.int8)
    verdict[(verdict < 3) & (np.abs(score - THRESHOLD) < 0.03)] = 2
    row_id = np.arange(count, dtype=np.int64)
    order = np.lexsort((row_id, -score.astype(np.float64), error))
    words = random.integers(0, 1 << len(WORDS), count).astype(np.int32)
    words &= random.integers(0, 1 << len(WORDS), count).astype(np.int32)
    words[verdict != 1] = 0
    thumb = np.where(np.arange(count) < min(wanted.thumbs, count), np.arange(count), -1).astype(np.int32)
    kilobytes = random.integers(20, 9000, count).astype(np.int32)
    folder = _leaf_ids(wanted)[leaf]
    columns = (row_id, score, verdict, error, leaf, folder, words, kilobytes)
    picture = np.where(row_id % 10 == 0, row_id % 1000, row_id) if wanted.copied else row_id
    picture = np.where(error > 0, -1 - row_id, picture)[order]
    _, firsts, place = np.unique(picture, return_index=True, return_inverse=True)
    lead = firsts[place].astype(np.int32)
    return _Rows(*(column[order] for column in columns), thumb=thumb, lead=lead)


def _folder_paths(wanted: ReportFolder) -> list[str]:
    paths = [f"{2015 + leaf % 10}/{'abcdefgh'[leaf // 10 % 8]}{leaf:05d}" for leaf in range(wanted.folders)]
    return [wanted.folder_names.get(leaf, path) for leaf, path in enumerate(paths)]


def _row_table(wanted: ReportFolder, rows: _Rows) -> pa.Table:
    paths = np.array(_folder_paths(wanted), dtype=object)
    uris = [
        f"{BASE}/{path}/{wanted.names.get(int(row), f'img_{row:08d}.jpg')}"
        for path, row in zip(paths[rows.leaf], rows.row_id, strict=True)
    ]
    digests = b"".join(hashlib.sha256(row.to_bytes(8, "little")).digest() for row in rows.row_id.tolist())
    errors = rows.error > 0
    explanations = [
        wanted.explanations.get(
            int(row), f"This is a fake image. The {WORDS[int(row) % len(WORDS)]} in picture {row} look painted."
        )
        if verdict == 1
        else None
        for row, verdict in zip(rows.row_id, rows.verdict, strict=True)
    ]
    codes = np.array([None, *CODES], dtype=object)[rows.error]
    score = pa.array(rows.score, mask=errors)
    return pa.table(
        {
            "row_id": rows.row_id,
            "uri": uris,
            "sha256": pa.Array.from_buffers(pa.binary(32), len(uris), [None, pa.py_buffer(digests)]),
            "width": pa.array(np.full(len(errors), 1024, np.int32), mask=errors),
            "height": pa.array(np.full(len(errors), 768, np.int32), mask=errors),
            "format": pa.array(["JPEG"] * len(errors)),
            "num_bytes": pa.array(rows.kilobytes.astype(np.int64) * 1024),
            "verdict": pa.array(np.array(VERDICTS, dtype=object)[rows.verdict], pa.string()),
            "score": score,
            "logit": pa.array(np.log(rows.score + 1e-6) - np.log1p(1e-6 - rows.score), pa.float32(), mask=errors),
            "off_script": pa.array(np.full(len(errors), 0.0007, np.float32), mask=errors),
            "explanation": pa.array(explanations, pa.string()),
            "remark": pa.nulls(len(errors), pa.string()),
            "error_code": pa.array(codes, pa.string()),
            "error_message": pa.array([code and f"the object is {code}" for code in codes], pa.string()),
            "scanned_at": pa.array(np.full(len(errors), 1_790_000_000_000_000), pa.timestamp("us", "UTC")),
            "folder": rows.folder,
            "words": rows.words,
            "flags": _flags(rows),
            "thumb": pa.array(rows.thumb, mask=rows.thumb < 0),
            **_origin_columns(wanted, rows),
            **_picture_columns(wanted, rows),
            "etag": pa.array(['"0f"'] * len(errors)),
            "kept:album": pa.array([f"album {row % 7}" for row in rows.row_id]),
        }
    )


def _picture_columns(wanted: ReportFolder, rows: _Rows) -> dict[str, pa.Array]:
    """`picture`, the least row id, and `images`, of each row that has a verdict."""
    absent = (rows.error > 0) | (not wanted.copied)
    least = np.full(len(rows.lead), np.iinfo(np.int64).max)
    np.minimum.at(least, rows.lead, rows.row_id)
    sizes = np.bincount(rows.lead, minlength=len(rows.lead)).astype(np.int32)
    return {"picture": pa.array(least[rows.lead], mask=absent), "images": pa.array(sizes[rows.lead], mask=absent)}


def _facet_table(wanted: ReportFolder, rows: _Rows) -> pa.Table:
    return pa.table(
        {
            "verdict": rows.verdict.astype(np.uint8),
            "error": rows.error.astype(np.uint8),
            "folder": rows.folder,
            "words": rows.words,
            "flags": _flags(rows),
            "row_id": rows.row_id.astype(np.int32),
            "kilobytes": rows.kilobytes,
            "origin": rows.origin,
            "back": (np.arange(len(rows.lead)) - rows.lead).astype(np.int32),
            "spread": np.where(wanted.looked & (rows.verdict == 1), rows.row_id * 7919 % 1000, 0).astype(np.uint16),
        },
        schema=facets_schema(len(rows.row_id)),
    )


def _write_facets(folder: Path, table: pa.Table) -> Json:
    """As a report is written."""
    files = []
    for number, first in enumerate(range(0, len(table), FACET_ROWS_PER_FILE)):
        part, path = table.slice(first, FACET_ROWS_PER_FILE), folder / DATA / f"facets-{number:05d}.parquet"
        with pa.OSFile(str(path), "wb") as sink:
            groups = range(0, len(part), FACET_ROWS_PER_GROUP)
            write_facets((part.slice(row, FACET_ROWS_PER_GROUP) for row in groups), part.schema, sink)
        files.append({"name": path.name, "first": first, "rows": len(part), **sizes_of(path)})
    return {"count": len(table), "row_group_rows": FACET_ROWS_PER_GROUP, "files": files}


def _flags(rows: _Rows) -> NDArray[np.int32]:
    return (rows.verdict == 1).astype(np.int32) | (rows.is_trusted.astype(np.int32) << 2)


def _origin_columns(wanted: ReportFolder, rows: _Rows) -> dict[str, Any]:
    """What files say of their origin: one in 31 of each kind, the others nothing; one in 97 was not read."""
    names = np.array([None, *ORIGINS], dtype=object)[rows.origin]
    speaks = (rows.origin > 0) & (rows.origin < len(ORIGINS))
    basis = np.where(speaks, np.where(rows.is_trusted, "c2pa_trusted", "iptc"), None)
    words = [f"{name} (signed by {wanted.signer})" if has else None for name, has in zip(names, speaks, strict=True)]
    detail = [json.dumps({"sources": [{"says": wanted.signer}]}) if has else None for has in speaks]
    return {
        "provenance": pa.array(names, pa.string()),
        "provenance_basis": pa.array(basis, pa.string()),
        "provenance_generator": pa.nulls(len(names), pa.string()),
        "provenance_signer": pa.array(np.where(rows.is_trusted, wanted.signer, None), pa.string()),
        "provenance_detail": pa.array(detail, pa.string()),
        "origin": rows.origin,
        "origin_words": pa.array(words, pa.string()),
    }


def _provenance(rows: _Rows) -> Json:
    def counts(chosen: NDArray[np.bool_]) -> Json:
        by_verdict = {
            name: int((chosen & (rows.verdict == place)).sum())
            for place, name in enumerate(("real", "fake", "uncertain", "errors"))
        }
        return {"rows": int(chosen.sum()), **by_verdict}

    known = list(zip(range(1, 7), ORIGINS, LABELS, strict=True))
    origins = [
        {
            "number": number,
            "name": name,
            "label": label,
            "trusted": int(((rows.origin == number) & rows.is_trusted).sum()),
        }
        | counts(rows.origin == number)
        for number, name, label in [*known, (0, "unread", "not read")]
    ]
    cross = [
        {"name": name, "label": label, **counts((rows.origin == number) & rows.is_trusted)}
        for number, name, label in known
    ]

    def rate(place: int, wrong: str) -> Json:
        row = cross[place]
        judged = row["real"] + row["fake"] + row["uncertain"]
        return {"wrong": row[wrong], "judged": judged, "share": {"value": row[wrong] / judged, "low": 0.1, "high": 0.9}}

    return {
        "read": int((rows.origin > 0).sum()),
        "origins": origins,
        "bases": {"c2pa_trusted": int(rows.is_trusted.sum())},
        "cross": [row for row in cross if row["rows"]],
        "misses": rate(0, "real"),
        "false_alarms": rate(2, "fake"),
        "notes": ["Who signs is no random sample."],
    }


def _leaf_ids(wanted: ReportFolder) -> NDArray[np.int32]:
    """The id in the tree of each leaf: base, then each year with its folders."""
    paths = _folder_paths(wanted)
    order = {path: number for number, path in enumerate(_preorder(paths))}
    return np.array([order[path] for path in paths], np.int32)


def _preorder(paths: Sequence[str]) -> list[str]:
    found = {""}
    for path in paths:
        parts = path.split("/")
        found |= {"/".join(parts[:depth]) for depth in range(1, len(parts) + 1)}
    return sorted(found, key=lambda path: path.split("/") if path else [])


def _tree(wanted: ReportFolder, rows: _Rows) -> pa.Table:
    paths = _preorder(_folder_paths(wanted))
    ids = {path: number for number, path in enumerate(paths)}
    own = np.zeros((len(paths), 4), np.int64)
    np.add.at(own, (rows.folder, rows.verdict), 1)
    parent = [ids[path.rpartition("/")[0]] if path else -1 for path in paths]
    total, last = own.copy(), list(range(len(paths)))
    for number in range(len(paths) - 1, 0, -1):
        total[parent[number]] += total[number]
        last[parent[number]] = max(last[parent[number]], last[number])
    judged = total[:, :3].sum(axis=1)
    base_rate = total[0, 1] / max(1, judged[0])
    middle = (total[:, 1] + 20 * base_rate) / (judged + 20)
    half = 1.96 * np.sqrt(middle * (1 - middle) / (judged + 21))
    return pa.table(
        {
            "id": pa.array(range(len(paths)), pa.int32()),
            "parent": pa.array(parent, pa.int32()),
            "last": pa.array(last, pa.int32()),
            "depth": pa.array([path.count("/") + 1 if path else 0 for path in paths], pa.int32()),
            "name": [path.rpartition("/")[2] for path in paths],
            "path": paths,
            "rows": pa.array(total.sum(axis=1), pa.int32()),
            **{name: pa.array(total[:, place], pa.int32()) for place, name in enumerate(("real", "fake", "uncertain"))},
            "errors": pa.array(total[:, 3], pa.int32()),
            "own_rows": pa.array(own.sum(axis=1), pa.int32()),
            "merged": pa.array([0] * len(paths), pa.int32()),
            "share": total[:, 1] / np.maximum(1, judged),
            "shrunk": middle,
            "low": np.maximum(0, middle - half),
            "high": np.minimum(1, middle + half),
        }
    )


def _picture_facts(rows: _Rows) -> Json:
    counts = {name: rows.verdict == place for place, name in enumerate(VERDICTS[:3])}
    return {
        "total": len(np.unique(rows.lead[rows.error == 0])),
        "images": {str(name): int(chosen.sum()) for name, chosen in counts.items()},
        "pictures": {str(name): len(np.unique(rows.lead[chosen])) for name, chosen in counts.items()},
        "mixed": 0,
        "blank": 0,
        "largest": [],
    }


def _report(wanted: ReportFolder, rows: _Rows, tree: pa.Table) -> Json:
    count, scored = len(rows.row_id), rows.scored
    ends = np.arange(101) / 100
    at_least = scored - np.searchsorted(np.sort(rows.score[:scored]), ends.astype(np.float32), side="left")
    totals = {
        name: int((rows.verdict == place).sum()) for place, name in enumerate(("real", "fake", "uncertain", "errors"))
    }
    band = np.minimum(9, (rows.score[:scored] * 10).astype(int))
    bands = [
        {"low": number / 10, "high": (number + 1) / 10, "rows": int((band == number).sum())}
        | {
            name: int(((band == number) & (rows.verdict[:scored] == place)).sum())
            for place, name in enumerate(VERDICTS[:3])
        }
        for number in range(10)
    ]
    errors, place = [], scored
    for number, code in enumerate(CODES, start=1):
        found = int((rows.error == number).sum())
        if found:
            message = {"message": f"the object is {code}", "rows": found, "row_id": 1, "uri": f"{BASE}/2015/x.jpg"}
            errors.append(
                {
                    "number": number,
                    "code": code,
                    "rows": found,
                    "position": place,
                    "messages": [message],
                    "other_messages": 0,
                }
            )
        place += found
    worst = sorted(tree.to_pylist(), key=lambda folder: -folder["low"])[:50]
    share = {"value": 0.041, "low": 0.031, "high": 0.052}
    return {
        "format": "fakescan-report-1",
        "created_at": "2026-11-26T22:00:00Z",
        "fakescan_version": "0.1.0",
        "view": wanted.view,
        "run": {
            "url": "s3://results/library audit",
            "run_id": "20261126-library",
            "model": "fakevlm-7b",
            "source": BASE,
            "meaning": wanted.meaning,
            "warning": None,
            "cautions": ["Where fakes are rare, most fake verdicts are false alarms."]
            if wanted.meaning == "full"
            else [],
            "is_finished": True,
            "rows": count,
            "done": count,
            "unreadable": [],
            "is_calibrated": True,
            "score_meaning": "The score is the probability that an image is fake, as calibrated.",
            "threshold": THRESHOLD,
            "uncertain_low": 0.47,
            "uncertain_high": 0.53,
            "names": {"real": "real", "fake": "fake", "uncertain": "uncertain", "error": "errors"},
            "limits": ["A verdict is no proof.", "The model sees only the square in the middle of a picture."],
            "notes": [],
            "left_out": {},
            "seen": count,
            "keep_columns": ["album"],
        },
        "totals": {"rows": count, "judged": scored, "overruled": 0, "noted": 0, **totals},
        "prevalence": {
            "statement": f"Between 3.1 % and 5.2 % of {count:,} images are fake (95 %, 600 reviewed).",
            "basis": "labels",
            "share": share,
            "above_zero": True,
            "reviewed": 600,
            "bands": [],
            "notes": [],
            "by_picture": None,
        },
        "pictures": _picture_facts(rows) if wanted.copied else None,
        "no_pictures": None if wanted.copied else "The run was begun by a version that did not hash pictures.",
        "scores": {"scored": scored, "at_least": at_least.tolist(), "bands": bands},
        "data": DATA,
        "folders": {
            "merged": 0,
            "base": BASE,
            "base_rate": totals["fake"] / max(1, scored),
            "name": "folders.parquet",
            "worst": worst,
        },
        "errors": errors,
        "words": [
            {"bit": bit, "name": name, "label": name, "rows": int(((rows.words >> bit) & 1).sum())}
            for bit, name in enumerate(WORDS)
        ],
        "flags": [
            {"bit": 0, "name": "explained", "label": "has an explanation", "rows": totals["fake"]},
            {"bit": 1, "name": "overruled", "label": "calibration overruled the model’s word", "rows": 0},
            {
                "bit": 2,
                "name": "trusted",
                "label": "origin signed by a trusted signer",
                "rows": int(rows.is_trusted.sum()),
            },
        ],
        "formats": {"JPEG": count},
        "num_bytes": int(rows.kilobytes.sum()) * 1024,
        "copies": {"contents": count, "rows": count, "differing": 0},
        "provenance": _provenance(rows),
        "strip": _strip(rows) if wanted.looked else None,
        "samples": [
            {"design": design, "name": f"review/{design}.json", "drawn": wanted.samples}
            for design in wanted.designs
            if wanted.samples
        ],
        "labels": None,
    }


def _strip(rows: _Rows) -> Json:
    looked = int((rows.verdict == 1).sum())
    counts = {"looked": looked, "holds": looked, "changes": 0, "unknown": 0}
    return {"stability": "flagged", "share": None, "unstable": "keep", **counts, "variants": []}


def sample_of(wanted: ReportFolder, rows: _Rows | None = None, design: str = "estimate") -> Json:
    """A sample: every so many images, in an order that says nothing of the score."""
    rows = rows or _rows(wanted)
    positions = np.random.default_rng(2).permutation(rows.scored)[: wanted.samples].tolist()
    items = [
        {
            "row_id": int(rows.row_id[position]),
            "position": position,
            "sha256": hashlib.sha256(int(rows.row_id[position]).to_bytes(8, "little")).hexdigest(),
        }
        for position in positions
    ]
    return {"design": design, "items": items}


def _write(
    folder: Path,
    kind: str,
    table: pa.Table,
    file_rows: int,
    group_rows: int,
    name: str = "",
    compression: str = "snappy",
) -> Json:
    files = []
    for number, first in enumerate(range(0, len(table), file_rows)):
        part = table.slice(first, file_rows)
        path = folder / DATA / (name or f"{kind}-{number:05d}.parquet")
        pq.write_table(
            part,
            path,
            compression=compression,
            row_group_size=group_rows,
            write_page_index=True,
            data_page_size=64 * 1024,
            write_batch_size=1024,
            max_rows_per_page=1024 if kind == "rows" else 262_144,
            use_dictionary=[name for name in table.column_names if name in REPEATING],
        )
        files.append({"name": path.name, "first": first, "rows": len(part), **sizes_of(path)})
    return {"count": len(table), "row_group_rows": group_rows, "files": files}


def sizes_of(path: Path) -> dict[str, int]:
    """A file's bytes, and those of its footer."""
    data = path.read_bytes()
    return {"bytes": len(data), "footer_bytes": int.from_bytes(data[-8:-4], "little") + 8}


def _write_thumbs(wanted: ReportFolder, folder: Path, rows: _Rows) -> Json:
    count = int((rows.thumb >= 0).sum())
    distinct = [picture(number, wanted.thumb_px) for number in range(min(count, 24))]
    images = [{"bytes": distinct[number % len(distinct)], "path": f"{number}.jpg"} for number in range(count)]
    table = pa.table(
        {
            "thumb": pa.array(range(count), pa.int32()),
            "position": pa.array(range(count), pa.int64()),
            "row_id": rows.row_id[:count],
            "image": pa.array(images, pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
            "error_code": pa.nulls(count, pa.string()),
            "error_message": pa.nulls(count, pa.string()),
        }
    )
    found = _write(folder, "thumbs", table, 1024, 32, compression="none")
    return {**found, "size": wanted.thumb_px, "missing": 0}


def picture(number: int, size: int = 192) -> bytes:
    """A JPEG of a landscape that nobody took."""
    random = np.random.default_rng(number)
    sky, ground = (tuple(int(value) for value in random.integers(40, 230, 3)) for _ in range(2))
    image = Image.new("RGB", (size, size * 3 // 4), sky)
    draw = ImageDraw.Draw(image)
    for layer in range(4):
        top = image.height * (0.35 + 0.15 * layer)
        ridge = [(x, top + random.normal(0, image.height / 14)) for x in range(0, size + 24, 24)]
        colour = tuple(int(value * (0.55 + 0.15 * layer)) for value in ground)
        draw.polygon([(0, image.height), *ridge, (size, image.height)], fill=colour)
    x, y = random.integers(20, size - 20), random.integers(10, image.height // 3)
    draw.ellipse([x - 12, y - 12, x + 12, y + 12], fill=(255, 236, 180))
    data = io.BytesIO()
    noise = Image.fromarray(random.integers(0, 40, (image.height, size, 3), dtype=np.uint8))
    Image.blend(image, noise, 0.12).save(data, "JPEG", quality=75)
    return data.getvalue()


if __name__ == "__main__":
    ReportFolder(rows=int(sys.argv[2]), folders=max(10, int(sys.argv[2]) // 500), thumbs=int(sys.argv[2]) // 50).write(
        Path(sys.argv[1])
    )
