"""Inventories as Amazon writes them, made for tests."""

import csv
import gzip
import hashlib
import io
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote_plus

import pyarrow as pa
import pyarrow.orc as pa_orc
import pyarrow.parquet as pq

from tests.fakescan.sources.conftest import Place

DATE = "2026-11-25T00-00Z"
CREATED = datetime(2026, 11, 25, tzinfo=UTC)
COLUMNS = {
    "Bucket": "bucket",
    "Key": "key",
    "VersionId": "version_id",
    "IsLatest": "is_latest",
    "IsDeleteMarker": "is_delete_marker",
    "Size": "size",
    "LastModifiedDate": "last_modified_date",
    "ETag": "e_tag",
    "StorageClass": "storage_class",
    "IntelligentTieringAccessTier": "intelligent_tiering_access_tier",
}
"""Names in CSV and in the other formats."""


@dataclass
class Report:
    """One inventory of the bucket `photos`. Rows are dicts by CSV's names; what they lack is empty."""

    rows: list[dict[str, Any]]
    format: str = "CSV"
    files: int = 1
    bucket: str = "photos"
    destination: str = "inv"
    changes: dict[str, Any] = field(default_factory=dict)
    """Fields of the manifest that are otherwise."""

    def data_files(self) -> dict[str, bytes]:
        """Name and bytes of each data file."""
        step = -(-len(self.rows) // self.files) or 1
        pieces = [self.rows[first : first + step] for first in range(0, len(self.rows), step)]
        extension = {"CSV": "csv.gz", "Parquet": "parquet", "ORC": "orc"}[self.format]
        return {f"{number:08}.{extension}": self._data(piece) for number, piece in enumerate(pieces)}

    def manifest(self, folder: str) -> dict[str, Any]:
        """The manifest.json for data files below `folder` in the destination bucket."""
        return {
            "sourceBucket": self.bucket,
            "destinationBucket": f"arn:aws:s3:::{self.destination}",
            "version": "2016-11-30",
            "creationTimestamp": str(int(CREATED.timestamp() * 1000)),
            "fileFormat": self.format,
            "fileSchema": ", ".join(COLUMNS) if self.format == "CSV" else "message s3.inventory { }",
            "files": [
                {
                    "key": f"{folder}/data/{name}".lstrip("/"),
                    "size": len(data),
                    "MD5checksum": hashlib.md5(data).hexdigest(),
                }
                for name, data in self.data_files().items()
            ],
            **self.changes,
        }

    def put(self, place: Place, folder: str = "photos/daily", date: str = DATE) -> str:
        """Write it below a place as Amazon does; returns the URL of its manifest.json."""
        prefix = place.url.partition("://")[2].partition("/")[2] if place.url.startswith("s3") else ""
        data = json.dumps(self.manifest(f"{prefix}/{folder}".strip("/")), indent=2).encode()
        for name, content in self.data_files().items():
            place.put(f"{folder}/data/{name}", content)
        place.put(f"{folder}/hive/dt={date[:10]}-00-00/symlink.txt", b"s3://...")
        place.put(f"{folder}/{date}/manifest.json", data)
        place.put(f"{folder}/{date}/manifest.checksum", hashlib.md5(data).hexdigest().encode())
        return f"{place.url}/{folder}/{date}/manifest.json"

    def _data(self, rows: list[dict[str, Any]]) -> bytes:
        rows = [{"Bucket": self.bucket, **row} for row in rows]
        sink = io.BytesIO()
        if self.format == "CSV":
            text = io.StringIO()
            writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
            for row in rows:
                cells = [row.get(name) for name in COLUMNS]
                cells[1] = quote_plus(row["Key"], safe="/")
                writer.writerow(
                    ["" if cell is None else str(cell).lower() if cell in (True, False) else cell for cell in cells]
                )
            return gzip.compress(text.getvalue().encode(), mtime=0)  # the same bytes whenever it is made
        kinds = {"Size": pa.int64(), "IsLatest": pa.bool_(), "IsDeleteMarker": pa.bool_()}
        columns = {
            own: pa.array([row.get(name) for row in rows], kinds.get(name, pa.string()))
            for name, own in COLUMNS.items()
        }
        (pq if self.format == "Parquet" else pa_orc).write_table(pa.table(columns), sink)
        return sink.getvalue()
