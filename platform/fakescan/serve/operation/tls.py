"""The certificate of a server: checked before it starts, and read again when it is renewed."""

import asyncio
import logging
import ssl
from pathlib import Path
from typing import Any

from fakevlm.errors import UserError

logger = logging.getLogger("ray.serve.fakescan")

_LOOK_S = 5.0
"""Seconds between two looks at the certificate's files."""
_ROUNDS = 8
"""Messages each way that a handshake takes at most."""
_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"


def check_certificate(certfile: str, keyfile: str, password: str | None) -> str | None:
    """Checks that certificate and key can be read and belong together. Raises UserError.

    Returns what clients will find wrong with the certificate apart from its name and its issuer, such as that it has
    expired; None where that is nothing.
    """
    certificate, key = _read("tls-cert", certfile), _read("tls-key", keyfile)
    if b"PRIVATE KEY-----" in certificate and _CERTIFICATE not in certificate:
        swapped = "; are --tls-cert and --tls-key swapped?" if _CERTIFICATE in key else ""
        raise UserError(f"tls-cert: {certfile} has no certificate{swapped}")
    if b"PRIVATE KEY-----" not in key and (not key.strip() or _CERTIFICATE in key):
        if certfile == keyfile:
            raise UserError(f"tls-cert: {certfile} has no private key; name it with --tls-key")
        raise UserError(f"tls-key: {keyfile} has no private key")
    if b"ENCRYPTED" in key and not password:
        raise UserError(f"tls-key: {keyfile} is encrypted; name its password in http_options.ssl_keyfile_password")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        server.load_cert_chain(certfile, keyfile, lambda: password or "")
    except (ssl.SSLError, OSError) as error:
        words = "not PEM, or damaged"
        if "MISMATCH" in str(error):
            words = "the key does not belong to the certificate"
        elif password:
            words = "the password is wrong, or one of them is damaged"
        raise UserError(f"tls-cert: {certfile} with the key {keyfile}: {words} ({_reason(error)})") from None
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.load_verify_locations(certfile)
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # the certificate itself is trusted, whoever has issued it
    try:
        _shake_hands(client, server)
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    except ssl.SSLError as error:
        return _reason(error)
    return None


def _read(setting: str, file: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise UserError(f"{setting}: cannot read {file}: {error.strerror}") from None


def _shake_hands(client: ssl.SSLContext, server: ssl.SSLContext) -> None:
    """A handshake in memory. Raises ssl.SSLError."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client.wrap_bio(to_client, to_server), server.wrap_bio(to_server, to_client, server_side=True)]
    for _ in range(_ROUNDS):
        for end in tuple(ends):
            try:
                end.do_handshake()
                ends.remove(end)
            except ssl.SSLWantReadError:
                pass


def _reason(error: OSError) -> str:
    return str(getattr(error, "reason", None) or "PEM").replace("_", " ").lower()


class CertificateRenewal:
    """Has a running uvicorn use a certificate that was renewed in place, within seconds."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stamp: tuple[tuple[int, int, int], ...] | None = None

    def look(self, config: Any) -> None:
        """Reads the files of a `uvicorn.Config` again where they change, from now on; to be called in its event loop.

        A connection has shaken hands when the protocol hears of it, so that a look then would be too late for it.
        """
        loop = asyncio.get_running_loop()
        if config.ssl is None or loop is self._loop:
            return
        self._loop = loop
        self._look_again(config)

    def _look_again(self, config: Any) -> None:
        self._read(config)
        if self._loop is not None:
            self._loop.call_later(_LOOK_S, self._look_again, config)

    def _read(self, config: Any) -> None:
        files = (config.ssl_certfile, config.ssl_keyfile)
        try:
            stats = [Path(file).stat() for file in files]
            stamp = tuple((stat.st_mtime_ns, stat.st_ino, stat.st_size) for stat in stats)
            if stamp == self._stamp:
                return
            password = config.ssl_keyfile_password
            # Tried before: half of a pair would leave the context without a key.
            check_certificate(*files, password)
            config.ssl.load_cert_chain(*files, lambda: password or "")
        except (OSError, UserError) as error:
            logger.warning("the certificate stays as it is: %s", error)
            return
        if self._stamp is not None:
            logger.info("the certificate was read again from %s", files[0])
        self._stamp = stamp
