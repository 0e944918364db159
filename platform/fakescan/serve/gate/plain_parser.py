"""httptools' parser for a server that upgrades to nothing: an offer to is passed over, as RFC 9110, 7.8 has it.

By itself the parser ends the message after the headers of such a request, so that its body would be read as the next
request. Clients offer h2c without asking anybody: the JDK's, and curl with --http2.
"""

from typing import Protocol

import httptools


class Upgradable(Protocol):
    """What the parser's callbacks belong to."""

    def take_head_without_upgrade(self) -> bytes | None:
        """The head of the request that the parser has stopped at, without its offer; None: that is no offer."""


class PlainParser:
    """Parses the requests of one connection."""

    def __init__(self, protocol: Upgradable) -> None:
        self._protocol = protocol
        self._parser = self._new()

    def feed_data(self, data: bytes) -> None:
        """Parses what has come. Raises what httptools raises."""
        while True:
            try:
                self._parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as upgrade:
                head = self._protocol.take_head_without_upgrade()
                if head is None:
                    raise
                data = head + data[upgrade.args[0] :]
                self._parser = self._new()

    def get_http_version(self) -> str:
        """Such as 1.1."""
        return self._parser.get_http_version()

    def get_method(self) -> bytes:
        """Such as POST."""
        return self._parser.get_method()

    def should_keep_alive(self) -> bool:
        """Whether the client may send another request on this connection."""
        return self._parser.should_keep_alive()

    def should_upgrade(self) -> bool:
        """Whether the parser takes what follows the headers for something else."""
        return self._parser.should_upgrade()

    def _new(self) -> httptools.HttpRequestParser:
        parser = httptools.HttpRequestParser(self._protocol)
        parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn has it
        return parser
