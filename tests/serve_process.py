"""`fakescan serve` as a process of its own, as a user starts it, and requests to it."""

import ipaddress
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from cluster.ports import free_port
from tests.scan_process import ScanProcess, running

PAIRS = sorted((Path(__file__).parent.parent / "samples" / "pairs").iterdir())


@dataclass
class Served:
    """A server that answers."""

    process: ScanProcess
    url: str
    key: str | None = None

    @property
    def pairs(self) -> list[Path]:
        """Sample images, real and forged."""
        return PAIRS

    def client(self, **options: Any) -> httpx.Client:
        """A client that sends the server's key."""
        headers = {"authorization": f"Bearer {self.key}"} if self.key else {}
        return httpx.Client(base_url=self.url, headers=headers, **{"timeout": 120.0, **options})

    def below(self, title: str) -> list[psutil.Process]:
        """The server's processes with this in their title."""
        found = []
        for process in psutil.Process(self.process.pid).children(recursive=True):
            try:
                if title in " ".join(process.cmdline()):
                    found.append(process)
            except psutil.NoSuchProcess:
                continue
        return found


def open_to_others(pid: int) -> set[str]:
    """Where the processes below one listen that other machines could reach."""
    found = set()
    for process in psutil.Process(pid).children(recursive=True):
        try:
            connections = process.net_connections("inet")
        except psutil.NoSuchProcess:  # ended meanwhile
            continue
        for connection in connections:
            address = ipaddress.ip_address(connection.laddr.ip)
            if isinstance(address, ipaddress.IPv6Address):
                address = address.ipv4_mapped or address
            if connection.status == psutil.CONN_LISTEN and not address.is_loopback:
                found.add(f"process {process.pid} at {address}:{connection.laddr.port}")
    return found


def never_slowing(folder: Path, **limits: Any) -> Path:
    """A Serve file of a server that slows nobody down for what comes to nothing: tests send much of that."""
    file = folder / "never_slowing.yaml"
    args = {"limits": {"refused_per_minute": 10**9, **limits}}
    file.write_text(json.dumps({"applications": [{"import_path": "fakescan.serve.app:build", "args": args}]}))
    return file  # JSON is YAML


@contextmanager
def serving(*arguments: object, key: str | None = None, environment: dict[str, str] | None = None) -> Iterator[Served]:
    """Start `fakescan serve` and wait until it answers; make sure that nothing of it is left in the end."""
    port = free_port()
    with running("serve", "--port", port, *arguments, environment={**os.environ, **(environment or {})}) as process:
        process.wait_for("the server answers", lambda: "serving" in process.out, 240)
        yield Served(process, f"http://127.0.0.1:{port}", key)
        process.press_ctrl_c()
        assert process.end(60) == 0, process.err
