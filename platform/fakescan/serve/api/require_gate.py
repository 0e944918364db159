"""Refuses requests that have not come through the gate, and tells the gate which responses are a replica's."""

import secrets
from collections.abc import Awaitable, Callable

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fakescan import tracing
from fakescan.serve.internal_headers import (
    CLIENT,
    CODE,
    FROM_REPLICA,
    GATE_TOKEN,
    KEY_ID,
    KEY_NAME,
    LAST_OUTCOMES,
    REQUEST_ID,
)
from fakescan.serve.outcome_header import noting_outcomes
from fakescan.serve.problem import Problem
from fakescan.serve.serve_file import GATE, GATE_VARIABLE
from fakescan.serve.work import work_headers
from fakescan.terminal.json_logs.fields import log_fields

Admit = Callable[[str], Awaitable[bool]]
"""Whether a gate token, which the gate adds to the requests that it lets in, is the gate's."""


class RequireGate:
    """ASGI middleware around the application of a replica."""

    def __init__(self, app: ASGIApp, admit: Admit) -> None:
        self._app = app
        self._admit = admit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles a request, whose id, key and client go into the scope.

        What has become of its images goes with the last message of the response.
        """
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        scope["fakescan.request_id"] = headers.get(REQUEST_ID, b"").decode("latin-1") or secrets.token_hex(8)
        scope["fakescan.key"] = headers.get(KEY_NAME, b"").decode("latin-1")
        scope["fakescan.key_id"] = headers.get(KEY_ID, b"").decode("latin-1")
        scope["fakescan.client"] = headers.get(CLIENT, b"").decode("latin-1")

        is_complete = False

        async def send_from_replica(message: Message) -> None:
            nonlocal is_complete
            is_complete = message["type"] == "http.response.body" and not message.get("more_body", False)
            if message["type"] == "http.response.start":
                headers = [*message.get("headers", ()), (FROM_REPLICA, b"1"), *work_headers(scope)]
                message = {**message, "headers": headers}
            elif notes.judged and not message.get("more_body", False):
                message = {**message, LAST_OUTCOMES: notes.text()}
            await send(message)

        request_id = scope["fakescan.request_id"]
        with noting_outcomes() as notes, log_fields(request_id=request_id):
            if await self._admit(headers.get(GATE_TOKEN, b"").decode("latin-1")):
                # Only the gate's word is taken for the trace that a request belongs to.
                traced = tracing.server_span("replica", scope["headers"], request_id=request_id)
                with traced as span, log_fields(trace_id=tracing.trace_id(span)):
                    try:
                        await self._app(scope, receive, send_from_replica)
                    except Exception:
                        # Starlette raises again what it has answered and logged; Serve would log it once more.
                        if not is_complete:
                            raise
                return
        problem = Problem(
            "unavailable",
            f"requests do not come through fakescan's gate: start Serve with {GATE_VARIABLE}={GATE} in "
            "controller_options.runtime_env.env_vars",
        )
        await problem_response(problem, scope["fakescan.request_id"])(scope, receive, send_from_replica)


def problem_response(problem: Problem, request_id: str) -> Response:
    """The response for a problem."""
    headers = {**problem.headers(), CODE.decode(): problem.code}
    return Response(problem.body(request_id), problem.status, headers=headers)
