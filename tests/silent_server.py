"""A server on loopback that takes connections and never says a word, or says only what it is given."""

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self


class SilentServer:
    """Sends `greeting` to whoever connects, and nothing more; `connections` counts them."""

    def __init__(self, greeting: bytes = b"") -> None:
        self._greeting = greeting
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._socket.getsockname()[1]}"

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    @property
    def connections(self) -> int:
        return len(self._open)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # of the socket that is closed at the end
            while True:
                connection, _ = self._socket.accept()
                self._open.append(connection)
                connection.sendall(self._greeting)

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for connection in self._open:
            connection.close()
