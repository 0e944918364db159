"""POST /v1/detect: verdicts in one response, or as they come."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from pydantic import BaseModel
from starlette.responses import Response

from fakescan.serve.api.event_stream import event_stream
from fakescan.serve.api.uploads import DetectRequest
from fakescan.serve.decoding.upload import Upload
from fakescan.serve.detector import Detector, JudgedImage, Result, refusal
from fakescan.serve.outcome_header import outcome_header
from fakescan.serve.problem import Problem
from fakescan.serve.work import Admit
from fakevlm.reading import Meaning


class Timings(BaseModel):
    """Milliseconds that a request took, by part. Images of one request overlap: these are the longest."""

    decode_ms: float
    """Waiting for its turns, decoding, and handing over to the engine."""
    judge_ms: float
    """In the engine, its queue included."""
    total_ms: float
    """From the end of the body to the response."""


class Detection(BaseModel):
    """The response of POST /v1/detect."""

    request_id: str
    model: str
    threshold: float
    """Score from which an image was called fake."""
    uncertain_low: float | None
    """Scores from here to just under `uncertain_high` were called uncertain; null for both where none was."""
    uncertain_high: float | None
    meaning: Meaning
    """What the model's verdicts are worth."""
    notice: str | None
    """What whoever reads them must know; null for nothing in particular."""
    results: list[Result]
    timings: Timings


async def detect(detector: Detector, request: DetectRequest, request_id: str, admit: Admit) -> Response:
    """Judges all images of a request. Raises Problem where its only image has no verdict."""
    started = time.perf_counter()
    request.uploads = await admit(request.uploads)
    options = detector.options(request.options.explain, request.options.threshold)
    if request.options.stream:
        return await _stream(detector, request, request_id, started)
    async with asyncio.timeout(detector.config.limits.request_timeout_s), asyncio.TaskGroup() as group:
        tasks = [group.create_task(detector.judge(upload, options)) for upload in request.uploads]
    judged = [task.result() for task in tasks]
    if len(judged) == 1 and (problem := refusal(judged[0].result)):
        raise problem
    detection = Detection(
        request_id=request_id,
        model=detector.model,
        threshold=options.calibration.threshold,
        uncertain_low=options.calibration.uncertain_low,
        uncertain_high=options.calibration.uncertain_high,
        meaning=detector.words.meaning,
        notice=detector.notice,
        results=[one.result for one in judged],
        timings=_timings(judged, started),
    )
    return Response(
        detection.model_dump_json(), media_type="application/json", headers=outcome_header(detection.results)
    )


async def _stream(detector: Detector, request: DetectRequest, request_id: str, started: float) -> Response:
    """Server-sent events. The response begins with the first score, so that until then it can be a refusal."""
    events = _events(detector, request, request_id, started)
    first = await anext(events)
    if isinstance(first, Problem):
        await events.aclose()
        raise first

    async def body() -> AsyncGenerator[bytes, None]:
        async with aclosing(events):
            yield first
            async for event in events:
                yield event if isinstance(event, bytes) else server_event("error", event.content(request_id))

    return event_stream(body())


async def _events(
    detector: Detector, request: DetectRequest, request_id: str, started: float
) -> AsyncGenerator[bytes | Problem, None]:
    options = detector.options(request.options.explain, request.options.threshold)
    queue: asyncio.Queue[Result | JudgedImage | Exception] = asyncio.Queue()

    async def follow(upload: Upload) -> None:
        try:
            async with aclosing(detector.stream(upload, options)) as growing:
                async for part in growing:
                    queue.put_nowait(part)
        except Exception as error:  # noqa: BLE001 - it is raised again where the events are made
            queue.put_nowait(error)

    tasks = [asyncio.create_task(follow(upload)) for upload in request.uploads]
    sent: dict[int, int] = {}
    judged: list[JudgedImage] = []
    limit_s = detector.config.limits.request_timeout_s
    deadline = asyncio.get_running_loop().time() + limit_s
    try:
        while len(judged) < len(tasks):
            try:
                async with asyncio.timeout_at(deadline):
                    part = await queue.get()
            except TimeoutError:
                yield too_slow(limit_s)
                return
            if isinstance(part, Exception):
                raise part
            result = part.result if isinstance(part, JudgedImage) else part
            problem = refusal(result)
            if problem is not None and len(tasks) == 1:
                yield problem
                return
            for event in _news(result, sent):
                yield event
            if isinstance(part, JudgedImage):
                judged.append(part)
                yield server_event("result", result.model_dump(mode="json"))
        end = {
            "request_id": request_id,
            "model": detector.model,
            "threshold": options.calibration.threshold,
            "uncertain_low": options.calibration.uncertain_low,
            "uncertain_high": options.calibration.uncertain_high,
            "meaning": detector.words.meaning,
            "notice": detector.notice,
            "timings": _timings(judged, started).model_dump(),
        }
        yield server_event("done", end)
    finally:
        for task in tasks:
            task.cancel()


def _news(result: Result, sent: dict[int, int]) -> list[bytes]:
    """Events for what is new in a result: its verdict, and more of its explanation."""
    events: list[bytes] = []
    if result.error is not None:
        return events
    if result.index not in sent:
        sent[result.index] = 0
        events.append(server_event("verdict", result.model_copy(update={"explanation": None}).model_dump(mode="json")))
    text = (result.explanation or "")[sent[result.index] :]
    if text:
        sent[result.index] += len(text)
        events.append(server_event("explanation", {"index": result.index, "text": text}))
    return events


def server_event(name: str, data: Any) -> bytes:
    """One server-sent event."""
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


def too_slow(limit_s: float) -> Problem:
    """The refusal of a request that took too long."""
    return Problem("timeout", f"no verdict within {limit_s:g} s; the server is busy, try again later")


def _timings(judged: list[JudgedImage], started: float) -> Timings:
    return Timings(
        decode_ms=_ms(max(one.decode_s for one in judged)),
        judge_ms=_ms(max(one.judge_s for one in judged)),
        total_ms=_ms(time.perf_counter() - started),
    )


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 2)
