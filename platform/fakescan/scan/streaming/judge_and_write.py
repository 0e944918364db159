"""The actor stage: judges a shard and writes its part, by the same thread in the engine's process."""

from typing import Any

import pyarrow as pa

from fakescan.scan.judge import Judge, JudgeSettings
from fakescan.scan.metrics.stage_metrics import in_stage
from fakescan.scan.stages import Write


class JudgeAndWrite:
    """One task less for each shard: what comes out of the engine's process is a summary, and the part exists.

    While a thread waits for the store, the engine works on the shards of the others.
    """

    def __init__(self, settings: JudgeSettings, ledger: Any, write: Write) -> None:
        self._judge = Judge(settings, ledger)
        self._write = write
        self._run_id = settings.run_id

    def __call__(self, table: pa.Table) -> pa.Table:
        """From `decoded_schema` to the columns of `PartSummary`, one row."""
        with in_stage(self._run_id, "judge"):
            judged = self._judge(table)
        with in_stage(self._run_id, "write"):
            return self._write.part(judged)
