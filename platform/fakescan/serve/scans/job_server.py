"""Ray's job server as the scans of a server see it: with time limits, and every failure in one line."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import ray
from ray.exceptions import AuthenticationError
from ray.job_submission import JobDetails, JobSubmissionClient

from fakescan.serve.scans.state import ScanRefusedError
from fakescan.storage.url import redact_text

T = TypeVar("T")

ANSWER_S = 20.0
"""Seconds in which the job server must answer; it waits up to 10 itself for the agent that starts jobs."""
CONNECT_S = 5.0
"""Seconds in which it must accept a connection."""

_NOT_FOUND = "status code 404"
_STATUS = re.compile(r"^Request failed with status code \d+: ")


class _Client(JobSubmissionClient):
    """Ray's client, which by itself waits for an answer forever."""

    def __init__(self, address: str, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        super().__init__(address)

    def _do_request(self, method: str, endpoint: str, **options: Any) -> Any:
        return super()._do_request(method, endpoint, timeout=(CONNECT_S, self._timeout_s), **options)

    def session(self) -> str:
        """Name of the cluster's session."""
        return str(self._do_request("GET", "/api/version").json()["session_name"])


class _Connection(NamedTuple):
    client: _Client
    is_own: bool


class JobServer:
    """The job server at `address`, `http(s)://HOST:PORT`, or that of the cluster this process is in.

    Ray's client sends the cluster's token, which Ray puts in the environment of every actor. Connected at the first
    call, and again after a failure. Every method raises ScanRefusedError: `not_found` for a job that does not exist,
    else `unavailable`.
    """

    def __init__(self, address: str | None, *, timeout_s: float = ANSWER_S) -> None:
        self._address = address.rstrip("/") if address is not None else None
        self._timeout_s = timeout_s
        self._connection: _Connection | None = None

    def submit(self, job_id: str, entrypoint: str, runtime_env: dict[str, Any], metadata: dict[str, str]) -> None:
        """Starts a shell command as a job."""
        self._call(
            lambda client: client.submit_job(
                entrypoint=entrypoint, submission_id=job_id, runtime_env=runtime_env, metadata=metadata
            )
        )

    def job(self, job_id: str) -> JobDetails:
        """One job."""
        return self._call(lambda client: client.get_job_info(job_id))

    def jobs(self) -> list[JobDetails]:
        """All jobs that the cluster remembers, those of others included."""
        return self._call(lambda client: client.list_jobs())

    def stop(self, job_id: str) -> None:
        """Tells a job to end; it is killed when it does not within a few seconds."""
        self._call(lambda client: client.stop_job(job_id))

    def is_own(self) -> bool:
        """Whether it is the job server of the cluster that this process is in."""
        return self._call(lambda _: self._connected().is_own)

    def _call(self, action: Callable[[_Client], T]) -> T:
        try:
            return action(self._connected().client)
        # A wrong address may be anybody's, and answer anything. What requests raises is an OSError.
        except (AuthenticationError, OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
            if isinstance(error, RuntimeError) and _NOT_FOUND in str(error):
                raise ScanRefusedError("not_found", "there is no such scan") from None
            self._connection = None
            raise _unavailable(_reason(error)) from error

    def _connected(self) -> _Connection:
        connection = self._connection
        if connection is None:
            connection = self._connection = self._connect()
        return connection

    def _connect(self) -> _Connection:
        own = str(ray.get_runtime_context().get_session_name()) if ray.is_initialized() else None
        if self._address is not None:
            client = _Client(self._address, self._timeout_s)
            if client.get_address() != self._address:
                raise RuntimeError("RAY_ADDRESS or RAY_API_SERVER_ADDRESS in the environment takes precedence")
            return _Connection(client, own is not None and client.session() == own)
        if own is None:
            raise RuntimeError("this process is in no Ray cluster")
        client = _Client(ray.get_runtime_context().gcs_address, self._timeout_s)
        if client.session() != own:
            # A cluster without a dashboard names the usual port nevertheless, where that of another may answer.
            raise RuntimeError("this cluster has no dashboard")
        return _Connection(client, True)


def _unavailable(reason: str) -> ScanRefusedError:
    return ScanRefusedError(
        "unavailable", f"scans.job_address: no job server of a Ray cluster with a dashboard answers ({reason})"
    )


def _reason(error: Exception) -> str:
    """One line of a client's or server's message, which may be a traceback."""
    if type(error).__name__ in {"ConnectTimeout", "ReadTimeout"}:
        return "timed out"
    lines = [line for line in _STATUS.sub("", str(error)).splitlines() if line.strip(" .")]
    line = redact_text((lines or [type(error).__name__])[-1])
    return line.strip(" .")[:200]
