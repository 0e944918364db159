"""The header in which a replica tells the proxy how a request's images were judged, and the metrics made of it."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Histogram

from fakescan.serve.internal_headers import ENGINE

if TYPE_CHECKING:  # the proxy reads the header, and should not load what an engine needs
    from fakescan.serve.detector import JudgedImage

_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_BATCHES = (1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128, 256, 1024)


def engine_header(judged: "Iterable[JudgedImage]") -> dict[str, str]:
    """The header for the images of one request: the longest times, and the mean batch."""
    images = [image for image in judged if image.batch]
    if not images:
        return {}
    values = {
        "batch": sum(image.batch for image in images) / len(images),
        "wait_ms": 1e3 * max(image.wait_s for image in images),
        "decode_ms": 1e3 * max(image.decode_s for image in images),
        "judge_ms": 1e3 * max(image.judge_s for image in images),
    }
    return {ENGINE.decode(): " ".join(f"{name}={value:.2f}" for name, value in values.items())}


def read_engine(header: str) -> dict[str, float]:
    """The values of `engine_header`."""
    return {name: float(value) for name, _, value in (part.partition("=") for part in header.split())}


class EngineMetrics:
    """How images were judged, as the responses say that went through one proxy."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def seconds(name: str, words: str) -> Histogram:
            return Histogram(f"fakescan_{name}_seconds", words, buckets=_BUCKETS_S, registry=registry)

        self._batch = Histogram(
            "fakescan_engine_batch", "Images in the engine with a request's own, on average over its steps.",
            buckets=_BATCHES, registry=registry,
        )  # fmt: skip
        self._wait = seconds("wait", "Seconds that a request's images waited for their turns.")
        self._decode = seconds("decode", "Seconds of a request's longest decoding.")
        self._judge = seconds("judge", "Seconds of a request's longest judgement, in the engine.")

    def observe(self, values: Mapping[str, float]) -> None:
        """Counts a response with what `read_engine` found in it; nothing where that is empty."""
        if not values:
            return
        self._batch.observe(values["batch"])
        self._wait.observe(values["wait_ms"] / 1e3)
        self._decode.observe(values["decode_ms"] / 1e3)
        self._judge.observe(values["judge_ms"] / 1e3)
