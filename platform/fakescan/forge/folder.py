"""The dataset folder: its hidden ledger of finished photographs, and the files that are written when all are."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, Literal

from fsspec import AbstractFileSystem
from pydantic import ValidationError

from fakescan.forge.config import ForgeConfig
from fakescan.settings.strict_model import StrictModel
from fakescan.storage.bound_settings import changes, put_settings, read_settings, refuse_changes
from fakescan.storage.objects import list_names, put_atomic, read_bytes
from fakescan.storage.preflight import check_writable
from fakescan.storage.url import redact
from fakevlm.data.paths import LIST_FOLDER
from fakevlm.data.record import SEVERITIES
from fakevlm.errors import UserError


class PhotographPart(StrictModel):
    """What became of one photograph. It is finished when, and only when, its part exists in the ledger."""

    photograph: str
    split: str
    status: Literal["forged", "too_small", "unsuitable", "unreadable"]
    """`unsuitable`: none of the chosen families suits its category."""
    message: str | None = None
    """What is wrong with an unreadable one."""
    records: tuple[dict[str, Any], ...] = ()
    """Its records as the dataset has them: each real one is followed by its forged twin."""
    flat: int = 0
    """Pairs that were left out because no artifact would have shown."""


class ForgeFolder:
    """The output: the dataset, and the ledger in it."""

    def __init__(self, config: ForgeConfig) -> None:
        self.fs: AbstractFileSystem
        self.fs, self.path = config.output_store.filesystem(config.output)
        self._config = config
        self._ledger = f"{self.path}/.parts"

    def claim(self, fingerprint: str) -> None:
        """Write the settings, or check that they are those of the earlier run. Raises UserError if they are not."""
        settings = {**self._config.identity(), "photographs": fingerprint}
        check_writable(self._config.output, self._config.output_store)
        file, url = f"{self._ledger}/settings.json", self._config.output
        before = read_settings(self.fs, file, "output", "--output")
        if before is not None:
            refuse_changes("output", url, changes(before, settings), "--output")
            return
        if list_names(self.fs, f"{self.path}/{LIST_FOLDER}"):
            raise UserError(f"output: {redact(url)} holds a dataset that was not forged here; use another --output")
        put_settings(self.fs, file, settings)

    def finished(self) -> set[int]:
        """Numbers of the photographs that have a part."""
        names = (name for name, _ in list_names(self.fs, self._ledger))
        return {int(name[:-5]) for name in names if name.endswith(".json") and name[:-5].isdigit()}

    def put_image(self, path: str, data: bytes) -> None:
        """Write one image; `path` is relative to the dataset."""
        put_atomic(self.fs, f"{self.path}/{path}", data)

    def put_part(self, number: int, part: PhotographPart) -> None:
        """Finish a photograph, after all its images."""
        put_atomic(self.fs, f"{self._ledger}/{number:08d}.json", part.model_dump_json().encode())

    def parts(self, count: int) -> Iterator[PhotographPart]:
        """All parts, in the order of the photographs."""
        for number in range(count):
            name = f"{self._ledger}/{number:08d}.json"
            try:
                yield PhotographPart.model_validate_json(read_bytes(self.fs, name))
            except (FileNotFoundError, ValidationError):
                raise UserError(
                    f"output: {redact(name)} is damaged; delete it and run the same command again"
                ) from None

    def finish(self, parts: list[PhotographPart]) -> dict[str, int]:
        """Write the records of every split and forge.json; returns the number of records by split."""
        counts = {}
        for split in self._config.shares:
            records = [record for part in parts if part.split == split for record in part.records]
            lines = ",\n".join(json.dumps(record) for record in records)
            put_atomic(self.fs, f"{self.path}/{LIST_FOLDER}/{split}.json", f"[\n{lines}\n]\n".encode())
            counts[split] = len(records)
        put_settings(self.fs, f"{self.path}/forge.json", self._summary(parts, counts))
        return counts

    def forget(self) -> None:
        """Remove the ledger of a run that made nothing, so that the folder can be used with other settings."""
        self.fs.rm(self._ledger, recursive=True)

    def _summary(self, parts: list[PhotographPart], records: dict[str, int]) -> dict[str, Any]:
        pairs: dict[str, dict[str, dict[str, int]]] = {}
        for record in (record for part in parts for record in part.records if record["label"] == 0):
            family = pairs.setdefault(record["cate"], {}).setdefault(record["family"], dict.fromkeys(SEVERITIES, 0))
            family[record["severity"]] += 1
        by_status = Counter(part.status for part in parts)
        return {
            "settings": self._config.identity(),
            "photographs": {"all": len(parts), **dict(sorted(by_status.items()))},
            "unreadable": {part.photograph: part.message for part in parts if part.status == "unreadable"},
            "flat_pairs_left_out": sum(part.flat for part in parts),
            "records": records,
            "pairs": {category: dict(sorted(families.items())) for category, families in sorted(pairs.items())},
        }
