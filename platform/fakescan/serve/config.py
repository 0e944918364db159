"""Settings of a server: the one model behind the command line and the `args` of a Serve file."""

from ipaddress import ip_network
from typing import Annotated, Self

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from fakescan.engine.judging_settings import JudgingSettings
from fakescan.engine.model import model_name
from fakescan.settings.flag import Flag, FlagGroup
from fakescan.settings.replicas import Replicas, parse_replicas
from fakescan.settings.strict_model import StrictModel
from fakescan.storage.store import Store
from fakescan.storage.url import redact
from fakescan.tracing import endpoint_fault
from fakevlm.checkpoint.checkpoint import Checkpoint
from fakevlm.reading import BASE_RATE

MAX_REPLICAS = 10_000
"""Engines at once, at most: what is more is a slip of the keyboard."""


def _bounded(replicas: Replicas) -> Replicas:
    if replicas.high > MAX_REPLICAS:
        raise ValueError(f"at most {MAX_REPLICAS:,} engines")
    return replicas


class Limits(StrictModel):
    """Bounds on one request, one client and one proxy."""

    model_config = ConfigDict(strict=True)

    max_body_bytes: Annotated[int, Field(ge=1024)] = 64 * 2**20
    """Bytes of one request's body; more is refused while it arrives (413)."""
    max_buffered_bytes: Annotated[int, Field(ge=2048)] = 256 * 2**20
    """Bytes of the bodies that one proxy holds at once; beyond them, or the share of a key or address, requests are
    refused (503). At least twice `max_body_bytes`."""
    max_connections: Annotated[int, Field(ge=8)] = 2048
    """Connections that one proxy keeps; for one more, the one that has been idle longest is closed."""
    max_connections_per_address: Annotated[int, Field(ge=1)] = 256
    """The same for one address (of IPv6 a /64 network), those in `trusted_proxies` excepted."""
    max_images: Annotated[int, Field(ge=1, le=256)] = 16
    """Images in one request."""
    max_pixels: Annotated[int, Field(ge=1)] = 50_000_000
    """Images with more pixels than this are not decoded (413)."""
    max_request_pixels: Annotated[int, Field(ge=1)] = 200_000_000
    """Pixels of all images of one request; a key can have four times as many waiting at a replica (413, 429)."""
    upload_timeout_s: Annotated[float, Field(gt=0)] = 30.0
    """Seconds in which a body must have arrived (408)."""
    request_timeout_s: Annotated[float, Field(gt=0)] = 60.0
    """Seconds from the whole body to the verdict, or to the end of a stream (503)."""
    per_minute: Annotated[int, Field(ge=1)] = 600
    """Images in a minute for a key that has no limit of its own (429)."""
    burst: Annotated[int, Field(ge=1)] = 60
    """Images that such a key may send at once."""
    megapixels_per_image: Annotated[float, Field(gt=0)] = 12.5
    """An image counts once for each megapixels of this number that it begins."""
    requests_per_minute: Annotated[int, Field(ge=1)] = 1200
    """Requests other than images in a minute for a key, at each proxy (429)."""
    anonymous_per_minute: Annotated[int, Field(ge=1)] = 1200
    """Requests without a valid key in a minute from one address, at each proxy (429); a quarter of them at once."""
    refused_per_minute: Annotated[int, Field(ge=1)] = 600
    """Images and requests in a minute that come to nothing by their client's doing, for one key at one address, at each
    proxy (429); a tenth of them at once. Each 2 MiB read for them count as one more, and a verdict earns one."""
    max_ongoing_requests: Annotated[int, Field(ge=1)] = 64
    """Requests that one replica works on at once."""
    max_queued_requests: Annotated[int, Field(ge=1)] = 64
    """Requests that wait for a replica, at each proxy; one more is refused (503)."""

    @model_validator(mode="after")
    def _one_body_fits(self) -> Self:
        if self.max_buffered_bytes < 2 * self.max_body_bytes:
            raise ValueError(
                f"max_buffered_bytes: {self.max_buffered_bytes} is less than twice max_body_bytes "
                f"({self.max_body_bytes}); one client may hold half of it, so the largest body would never fit"
            )
        return self


class AccessLog(StrictModel):
    """Where every request is written, as JSON lines."""

    model_config = ConfigDict(strict=True)

    folder: str | None = None
    """Folder of the file, on every node. Default: Serve's log folder."""
    max_bytes: Annotated[int, Field(ge=4096)] = 64 * 2**20
    """Bytes of a file, from which on another one is begun."""
    files: Annotated[int, Field(ge=1, le=1000)] = 5
    """Files of each proxy; the oldest goes."""


class Scans(StrictModel):
    """Which scans clients may start, and where the results go."""

    allow: Annotated[tuple[str, ...], Field(min_length=1)]
    """URL prefixes or folders; a scan's source must be below one of them."""
    private_hosts: tuple[str, ...] = ()
    """Hosts in allow whose names may lead to private addresses; others may not."""
    output: str
    """Folder or URL prefix in which every scan gets a folder of its own."""
    max_running: Annotated[int, Field(ge=1)] = 2
    """Scans that may run or wait at once; one more is refused (503)."""
    job_address: str | None = None
    """Address of the cluster's job server, such as http://HEAD:8265. Default: that of the cluster the replica is in."""
    replicas: Annotated[Replicas, BeforeValidator(parse_replicas), AfterValidator(_bounded)] = Replicas()
    """Engines of one scan: a number, or a range such as 1-4."""
    input_store: Store = Store()
    """Credentials and endpoint of the sources; secrets as env:NAME, read in the job."""
    output_store: Store = Store()
    """Credentials and endpoint of the output; secrets as env:NAME, read in the job and in the replicas."""


class ServeConfig(JudgingSettings):
    """One server: the checkpoint, how many engines, who may ask, how much."""

    replicas: Annotated[
        Replicas,
        BeforeValidator(parse_replicas),
        AfterValidator(_bounded),
        Flag("N|N-M", group=FlagGroup.ENGINES),
    ] = Replicas()
    """Engines at once: a number, or a range such as 1-4 that follows the load."""
    served_model_name: Annotated[
        str | None,
        Field(min_length=1, max_length=200),
        Flag("NAME", group=FlagGroup.SERVER),
    ] = None
    """Name by which clients know the model, whatever checkpoint is behind it. Default: the checkpoint's own name."""
    target_ongoing_requests: Annotated[float, Field(gt=0)] = 24.0
    """Requests in flight for each replica that the autoscaler aims at."""
    cpus_per_replica: Annotated[float, Field(ge=0)] = 1.0
    """CPUs that Ray reserves for each replica."""
    decode_threads: Annotated[int, Field(ge=1, le=64, strict=True)] = 4
    """Images that one replica decodes at once, on a core each: so many small ones, and as many large ones."""
    keys: Annotated[str | None, Flag("FILE", group=FlagGroup.SERVER)] = None
    """File of API keys that `fakescan keys add` writes, on every node. Default: none; needed without `no_auth`."""
    no_auth: Annotated[bool, Flag(group=FlagGroup.SERVER)] = False
    """Let everybody in who reaches the port. Without it, a server without `keys` does not start."""
    base_rate: Annotated[float, Field(gt=0, lt=1)] = BASE_RATE
    """Share of fakes among the images that are sent: answers say in words how sure a score is where so many are."""
    provenance: Annotated[bool, Flag(group=FlagGroup.SERVER, help="Do not say what the files say of their origin.")] = (
        True
    )
    """Say in answers what each file says of its own origin; it changes no score and no verdict."""
    trust_list: Annotated[str | None, Flag("PATH", group=FlagGroup.SERVER)] = None
    """PEM file, or folder of them, of trusted signers, on every node. Default: what `fakescan provenance update-trust`
    fetched last."""
    limits: Limits = Limits()
    """Bounds on requests."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses or networks of reverse proxies; of their requests X-Forwarded-For names the client."""
    access_log: AccessLog = AccessLog()
    """The log of all requests."""
    otlp_endpoint: Annotated[str | None, Flag("URL", group=FlagGroup.SERVER)] = None
    """OpenTelemetry collector that gets the spans of requests, such as http://127.0.0.1:4318. Default: that of
    OTEL_EXPORTER_OTLP_ENDPOINT, else no traces."""
    scans: Scans | None = None
    """Lets clients start scans. Default: no."""

    def public_model_name(self, checkpoint: Checkpoint) -> str:
        """The name by which clients know the checkpoint: the one that is set, or its own.

        Of a path or a URL that is the last part: folders and buckets are not for clients, and change.
        """
        if self.served_model_name is not None:
            return self.served_model_name
        name, _ = model_name(self.model, self.engine, checkpoint)
        place = checkpoint.pinned
        if self.model is None or self.engine.is_simulated or not (place.startswith("/") or "://" in place):
            return name
        return name.replace(redact(self.model), redact(place).rstrip("/").rpartition("/")[2] or "checkpoint", 1)

    @field_validator("served_model_name")
    @classmethod
    def _can_be_shown(cls, name: str | None) -> str | None:
        if name is not None and (name != name.strip() or not name.isprintable()):
            raise ValueError("it has control characters, or space around it; leave them out")
        return name

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        for network in networks:
            try:
                ip_network(network)
            except ValueError as error:
                raise ValueError(
                    f"{error}; write an address such as 10.0.0.7 or a network such as 10.0.0.0/8"
                ) from None
        return networks

    @field_validator("otlp_endpoint")
    @classmethod
    def _address(cls, url: str | None) -> str | None:
        if url is not None and (fault := endpoint_fault(url)):
            raise ValueError(fault)
        return url

    @model_validator(mode="after")
    def _a_list_is_used(self) -> Self:
        if self.trust_list is not None and not self.provenance:
            raise ValueError("trust_list: without provenance no signer is checked; leave one of the two out")
        return self

    @model_validator(mode="after")
    def _someone_decides_who_may_ask(self) -> Self:
        if self.no_auth and self.keys is not None:
            raise ValueError("keys and no_auth exclude each other; give one of them")
        if not self.no_auth and self.keys is None:
            raise ValueError(
                "keys: missing; make a file with `fakescan keys add NAME --file keys.json` and name it with --keys, "
                "or let everybody in with --no-auth"
            )
        return self
