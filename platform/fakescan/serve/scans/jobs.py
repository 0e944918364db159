"""Scans that clients start: each is a Ray job, and the cluster's job table is the only record of it."""

import os
import re
import secrets
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from ray.job_submission import JobDetails, JobStatus

from fakescan.engine.judging_settings import JudgingSettings
from fakescan.serve.config import Scans
from fakescan.serve.scans.allowed_prefixes import allowed_source, place_of
from fakescan.serve.scans.audit import Audit
from fakescan.serve.scans.command import command, environment, store_settings
from fakescan.serve.scans.job_server import JobServer
from fakescan.serve.scans.progress import NOTHING_DONE, Budget, Progress, ProgressReader
from fakescan.serve.scans.state import (
    Client,
    Refusal,
    ScanCounts,
    ScanRefusedError,
    ScanRequest,
    ScanState,
    Status,
)
from fakescan.storage.url import redact_text, scheme_of
from fakevlm.errors import UserError
from fakevlm.verdict import Calibration

__all__ = ["Client", "Refusal", "ScanCounts", "ScanJobs", "ScanRefusedError", "ScanRequest", "ScanState", "failure"]

MAX_LISTED = 200
"""Scans in a listing, the newest."""

_ID = re.compile(r"scan-\d{8}-[0-9a-f]{6}")
_ERROR = re.compile(r"^fakescan: error: (.+)$", re.MULTILINE)
_STATUS: dict[JobStatus, Status] = {
    JobStatus.PENDING: "pending",
    JobStatus.RUNNING: "running",
    JobStatus.SUCCEEDED: "succeeded",
    JobStatus.FAILED: "failed",
    JobStatus.STOPPED: "stopped",
}
_PARALLEL = 8

# A class with a method called `list` has no other list.
States = list[ScanState]
Jobs = list[JobDetails]


class ScanJobs:
    """Starts, shows and stops scans. The methods block, and may be called by several threads at once.

    A scan belongs to the key that started it: with another there is no such scan. Starts and stops are written to the
    audit before they happen, see `Audit`.

    A scan that stops or fails leaves its folder. `fakescan scan SOURCE --output FOLDER` with the same settings resumes
    it; the job's command, which `ray job list` shows, has them all. The job table lives as long as the cluster's head:
    after a restart the scans are unknown, and their results still exist.

    Every method raises ScanRefusedError: `unavailable` when the job server does not answer, and the codes of its own.
    """

    def __init__(self, settings: Scans, server: JudgingSettings, calibration: Calibration) -> None:
        """A scan judges as the server does: with its settings and the calibration that follows from them.

        Raises UserError, naming the setting, for one that no scan could run with.
        """
        self._settings = settings
        self._output = _checked_output(settings)
        self._progress = ProgressReader(settings.output_store.resolved())
        self._server = JobServer(settings.job_address)
        self._audit = Audit(self._output, settings.output_store)
        self._starting = threading.Lock()
        self._fixed: dict[str, Any] = {
            "model": server.model,
            "calibration": calibration.model_dump(mode="json"),
            "max_new_tokens": server.max_new_tokens,
            "engine": {"kind": server.engine.kind, **server.engine.model_dump(mode="json", exclude_defaults=True)},
            "replicas": f"{settings.replicas.low}-{settings.replicas.high}",
            "device": server.device if server.device != "auto" else None,
            "input_store": store_settings("scans.input_store", settings.input_store),
            "output_store": store_settings("scans.output_store", settings.output_store),
            "model_store": store_settings("model_store", server.model_store),
        }

    def start(self, request: ScanRequest, client: Client) -> ScanState:
        """Submits a scan: `invalid` or `forbidden` for its source, `overloaded` when too many run or wait.

        `unavailable` too where the audit cannot be written, which lies where the results would.

        Several processes that start scans at the same moment may go over `max_running`.
        """
        source = allowed_source(request.source, self._settings.allow)
        created_at = datetime.now(UTC)
        scan_id = f"scan-{created_at:%Y%m%d}-{secrets.token_hex(3)}"
        output = f"{self._output}/{scan_id}"
        metadata = {
            "fakescan": "scan",
            "source": source,
            "output": output,
            "asked_by": client.name,
            "key_id": client.key_id,
            "created_at": created_at.isoformat(timespec="milliseconds"),
        }
        with self._starting:
            running = sum(not job.status.is_terminal() for job in self._jobs())
            if running >= self._settings.max_running:
                raise ScanRefusedError(
                    "overloaded",
                    f"as many scans run or wait as scans.max_running allows ({running}); try again when one has ended",
                )
            runtime = environment(inherit=self._server.is_own())
            asked = request.model_dump(mode="json", exclude_defaults=True)
            self._audit.write("start", scan_id, client, {**asked, "source": source, "output": output})
            self._server.submit(scan_id, command(self.settings(request, source, output)), runtime, metadata)
        return _scan_state(scan_id, "pending", metadata)

    def settings(self, request: ScanRequest, source: str, output: str) -> dict[str, Any]:
        """The settings of a scan, as a `fakescan scan --config` file has them."""
        settings = {
            "source": source,
            "allowed_prefixes": list(self._settings.allow),
            "private_hosts": list(self._settings.private_hosts),
            "output": output,
            "explain": request.explain,
            "threshold": request.threshold,
            "limit": request.limit,
            "sample": request.sample,
            "globs": list(request.globs),
            **self._fixed,
        }
        return {name: value for name, value in settings.items() if value not in (None, [], {})}

    def get(self, scan_id: str, client: Client) -> ScanState:
        """The state of a scan, or `not_found`. Its folder need not exist yet, nor be readable."""
        return self._state(self._job(scan_id, client), Budget())

    def stop(self, scan_id: str, client: Client) -> ScanState:
        """Tells a scan to stop, which takes it a few seconds; one that has ended stays as it is."""
        job = self._job(scan_id, client)
        if not job.status.is_terminal():
            with suppress(ScanRefusedError):  # it is logged, and a scan must stop all the same
                self._audit.write("stop", scan_id, client, {})
            self._server.stop(scan_id)
            job = self._job(scan_id, client)
        return self._state(job, Budget())

    def list(self, client: Client) -> States:
        """The newest scans of a client, the newest first."""
        own = [job for job in self._jobs() if _belongs_to(job, client)]
        newest = sorted(own, key=lambda job: job.start_time or 0, reverse=True)[:MAX_LISTED]
        budget = Budget()
        with ThreadPoolExecutor(_PARALLEL, thread_name_prefix="fakescan-scans") as pool:
            return list(pool.map(lambda job: self._state(job, budget), newest))

    def _job(self, scan_id: str, client: Client) -> JobDetails:
        # Only a scan's id: the job server answers for other jobs as well.
        job = self._server.job(scan_id) if _ID.fullmatch(scan_id) else None
        if job is None or not _is_scan(job) or not _belongs_to(job, client):
            raise ScanRefusedError("not_found", "there is no such scan")
        return job

    def _jobs(self) -> Jobs:
        return [job for job in self._server.jobs() if _is_scan(job)]

    def _state(self, job: JobDetails, budget: Budget) -> ScanState:
        metadata = job.metadata or {}
        status = _STATUS[job.status]
        progress = NOTHING_DONE if status == "pending" else self._progress.read(metadata["output"], budget)
        ended_at = datetime.fromtimestamp(job.end_time / 1000, UTC) if job.end_time else None
        message = failure(job) if status == "failed" else None
        return _scan_state(str(job.submission_id), status, metadata, progress, ended_at, message)


def failure(job: JobDetails) -> str:
    """Why a job failed: the last error that `fakescan` printed, else Ray's own message; one line without secrets.

    Ray keeps the last ten lines of a failed job's log with the job, so no log is read.
    """
    printed = _ERROR.findall(job.message or "")
    if printed:
        return redact_text(printed[-1])
    if job.driver_exit_code is not None:
        return f"the scan ended with status {job.driver_exit_code}; `ray job logs {job.submission_id}` shows its log"
    return redact_text((job.message or "").strip().partition("\n")[0])[:300] or "the scan did not start"


def _is_scan(job: JobDetails) -> bool:
    metadata = job.metadata or {}
    has_scan_id = _ID.fullmatch(job.submission_id or "") is not None
    return has_scan_id and metadata.get("fakescan") == "scan" and {"source", "output", "created_at"} <= metadata.keys()


def _belongs_to(job: JobDetails, client: Client) -> bool:
    """Whether a client may see and stop a scan. Ids stay with a key; its name may be another's later."""
    metadata = job.metadata or {}
    if "key_id" not in metadata:  # started before scans had owners
        return metadata.get("asked_by", "-") == client.name
    return metadata["key_id"] == client.key_id


def _scan_state(
    scan_id: str,
    status: Status,
    metadata: dict[str, str],
    progress: Progress = NOTHING_DONE,
    ended_at: datetime | None = None,
    message: str | None = None,
) -> ScanState:
    return ScanState(
        id=scan_id,
        status=status,
        source=metadata["source"],
        output=metadata["output"],
        results=f"{metadata['output']}/parts/*.parquet",
        started_by=metadata.get("asked_by", "-"),
        created_at=datetime.fromisoformat(metadata["created_at"]),
        ended_at=ended_at,
        rows=progress.rows,
        rows_done=progress.rows_done,
        counts=progress.counts,
        meaning=progress.meaning,
        notice=progress.notice,
        message=message,
    )


def _checked_output(settings: Scans) -> str:
    """The folder of the outputs. Raises UserError for settings that no scan could run with."""
    for prefix in settings.allow:
        try:
            place_of(prefix)
        except ValueError as error:
            raise UserError(f"scans.allow: {prefix!r} {error}") from None
    output = settings.output.rstrip("/")
    if scheme_of(output) == "file" and "://" not in output and not os.path.isabs(output):
        raise UserError(
            f"scans.output: {settings.output} means another folder on every machine; give a URL or full path"
        )
    if settings.job_address is not None and not settings.job_address.startswith(("http://", "https://")):
        raise UserError(f"scans.job_address: {settings.job_address!r} must be written http://HEAD:8265")
    return output
