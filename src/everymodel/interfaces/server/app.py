"""The ASGI application: routes, limits, request ids and the one error shape."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Message, Receive, Scope, Send

from everymodel import __version__
from everymodel.core.errors import EverymodelError
from everymodel.interfaces.server import act, ahead, chat, docs, infer, openapi, sample
from everymodel.interfaces.server.answer import Answer, Answerer, PredictRequest, decode
from everymodel.interfaces.server.errors import Problem, problem
from everymodel.interfaces.server.metrics import Metrics
from everymodel.scoring import Model
from everymodel.scoring.agent import Agent
from everymodel.scoring.generator import Generator
from everymodel.scoring.steps.base import Batch

log = logging.getLogger("everymodel.server")
_encode = msgspec.json.Encoder().encode
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_JSON = [(b"content-type", b"application/json")]
# Answers that take longer than about a millisecond leave the event loop, so that health checks stay quick.
_ROWS_ON_LOOP = 32
_BYTES_ON_LOOP = 256 * 1024
_SLOW = 150e-6  # seconds for one row, above which single rows are answered together


@dataclass(frozen=True)
class Limits:
    """What one request may ask for."""

    body_bytes: int = 16 * 1024 * 1024
    rows: int = 10_000
    body_seconds: float = 30.0  # how long a caller may take to send the body
    threads: int = 1  # batches answered at once, beside the event loop


class Server:
    """One model and all that is made of it once: card, OpenAPI document, counters, threads."""

    def __init__(self, model: Model, limits: Limits):
        self.model, self.limits = model, limits
        self.answerer = Answerer(model)
        self.card = model.card()
        self.metrics = Metrics(str(self.card.get("name") or "model"), __version__)
        self.pool = ThreadPoolExecutor(limits.threads, thread_name_prefix="answer")
        self.openapi = openapi.document(model, limits.rows, limits.body_bytes)
        if isinstance(model, Generator):
            self.openapi = sample.described(model, self.openapi, limits.rows)
        elif isinstance(model, Agent):
            self.openapi = act.described(model, self.openapi, limits.rows)
        self.ready = True
        self.together = Together(self.answerer) if _seconds_for_one(self.answerer) > _SLOW else None

    def close(self) -> None:
        self.ready = False
        self.pool.shutdown(wait=True, cancel_futures=False)

    async def predict(self, scope: Scope, receive: Receive) -> dict[str, Any]:
        sample.refuse(self.model)
        act.refuse(self.model)
        check_json(scope)
        body = await read_body(scope, receive, self.limits)
        if len(body) > _BYTES_ON_LOOP:
            answer = await self.aside(lambda: self._answer(decode(body, self.limits.rows)))
        else:
            request = decode(body, self.limits.rows)
            if (
                request.explain is not False
                or request.edges
                or ahead.asked(self.model, request)
                or (request.rows is not None and len(request.rows) > _ROWS_ON_LOOP)
            ):
                answer = await self.aside(lambda: self._answer(request))
            elif self.together is not None and request.rows is None and request.edges is None:
                answer = await self.together.answer(request)
            else:
                answer = self._answer(request)
        self.metrics.rows += answer.rows
        self.metrics.notes += answer.notes
        return answer.body

    def _answer(self, request: PredictRequest) -> Answer:
        try:
            return self.answerer(request)
        except Exception as error:
            raise problem(error, "row" if request.rows is None else "rows") from error

    async def aside(self, work: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self.pool, work)


class Together:
    """Single rows that arrive in the same turn of the event loop pass through the pack as one batch.

    Nobody waits: what is there when the loop is next idle goes at once. Each row is read by itself before, so that one
    bad row spoils only its own request.
    """

    def __init__(self, answerer: Answerer):
        self.answerer = answerer
        self.waiting: list[tuple[PredictRequest, asyncio.Future[Answer]]] = []

    async def answer(self, request: PredictRequest) -> Answer:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        self.waiting.append((request, future))
        if len(self.waiting) == 1:
            loop.call_soon(self._flush)
        return await future

    def _flush(self) -> None:
        waiting, self.waiting = self.waiting, []
        read = []
        for request, future in waiting:
            try:
                read.append((request, future, *self.answerer.read(request)))
            except Exception as error:
                _fail(future, error)
        if not read:
            return
        batches = [batch for _, _, batch, _ in read]
        try:
            answers = self.answerer.model.answers(_stack(batches))
        except Exception as error:
            for _, future, _, _ in read:
                _fail(future, error)
            return
        for i, (request, future, batch, notes) in enumerate(read):
            try:
                said = self.answerer.say(request, batch, notes, answers[i : i + 1])
            except Exception as error:
                _fail(future, error)
            else:
                if not future.done():  # the caller may have gone
                    future.set_result(said)


def _fail(future: asyncio.Future[Answer], error: Exception) -> None:
    if not future.done():
        future.set_exception(problem(error))


def _stack(batches: list[Batch]) -> Batch:
    if len(batches) == 1:
        return batches[0]
    names = batches[0].columns
    return Batch({name: np.concatenate([b.columns[name] for b in batches]) for name in names}, len(batches))


def _seconds_for_one(answerer: Answerer) -> float:
    """Time for one made-up row, after a first that warms everything up; 0 where it cannot be answered."""
    request = PredictRequest(row=openapi.example_row(answerer.model), missing_columns="impute", unseen="ignore")
    try:
        answerer(request)
        started = time.perf_counter()
        answerer(request)
    except EverymodelError:
        return 0.0
    return time.perf_counter() - started


async def read_body(scope: Scope, receive: Receive, limits: Limits) -> bytes:
    """The whole body; Problem 413 when it is too large, 408 when it does not come."""
    headers = dict(scope["headers"])
    length = headers.get(b"content-length")
    too_large = Problem(
        413,
        "body_too_large",
        f"The body is larger than the {limits.body_bytes} bytes that this server takes. Send the rows in parts.",
    )
    if length is not None and length.isdigit() and int(length) > limits.body_bytes:
        raise too_large
    message = await _next(receive, limits.body_seconds)
    body = message.get("body", b"")
    if not message.get("more_body"):
        if len(body) > limits.body_bytes:
            raise too_large
        return body
    parts, size, until = [body], len(body), time.monotonic() + limits.body_seconds
    while message.get("more_body"):
        message = await _next(receive, until - time.monotonic())
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limits.body_bytes:
            raise too_large
    return b"".join(parts)


async def _next(receive: Receive, seconds: float) -> Message:
    try:
        async with asyncio.timeout(seconds):
            message = await receive()
    except TimeoutError:
        raise Problem(
            408, "body_timeout", "The body did not arrive in time.", headers={"connection": "close"}
        ) from None
    if message["type"] == "http.disconnect":
        raise Problem(400, "client_gone", "The caller closed the connection before the body was complete.")
    return message


def check_json(scope: Scope) -> None:
    """Problem 415 unless the body is said to be plain JSON."""
    for name, value in scope["headers"]:
        if name == b"content-type":
            kind = value.partition(b";")[0].strip().lower()
            if kind != b"application/json" and not kind.endswith(b"+json"):
                raise Problem(
                    415,
                    "unsupported_media_type",
                    f"The body is {kind.decode('latin-1')!r}; this server reads JSON. "
                    "Set the header Content-Type: application/json.",
                )
        elif name == b"content-encoding" and value.strip().lower() not in (b"", b"identity"):
            raise Problem(
                415, "unsupported_media_type", "Compressed bodies are not read. Send the JSON without Content-Encoding."
            )


Handler = Callable[[Request], Awaitable[Response]]


def json_response(content: Any, status: int = 200) -> Response:
    return Response(_encode(content), status, media_type="application/json")


class App:
    """The outermost layer, in plain ASGI because every request pays for it: id, timing, errors, routing."""

    def __init__(self, server: Server):
        self.server = server
        self.routes = _routes(server)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1000})
            return
        started = time.perf_counter()
        request_id = _request_id(scope)
        metrics = self.server.metrics
        metrics.in_flight += 1
        route, status = "unknown", 500
        head = (b"x-request-id", request_id.encode())

        async def tagged(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), head]
            await send(message)

        try:
            if scope["path"] == "/v1/predict" and scope["method"] == "POST":
                route = "/v1/predict"
                answer = await self.server.predict(scope, receive)
                answer["request_id"] = request_id
                await _send(send, 200, _encode(answer), [*_JSON, head])
                status = 200
            else:
                found, route = self._find(scope)
                await found(scope, receive, tagged)
        except Exception as error:
            known = problem(error)
            status = known.status
            if status >= 500:
                log.error("request %s failed", request_id, exc_info=error)
            extra = [(k.encode(), v.encode()) for k, v in known.headers.items()]
            await _send(send, status, _encode(known.body(request_id)), [*_JSON, head, *extra])
        finally:
            metrics.in_flight -= 1
            metrics.observe(route, _method(scope["method"]), status, time.perf_counter() - started)

    def _find(self, scope: Scope) -> tuple[Callable[[Scope, Receive, Send], Awaitable[None]], str]:
        allowed: set[str] = set()
        for route in self.routes:
            match, child = route.matches(scope)
            if match is Match.FULL:
                scope.update(child)
                return route.handle, route.path
            if match is Match.PARTIAL:
                allowed |= route.methods or set()
        if allowed:
            words = ", ".join(sorted(allowed))
            raise Problem(
                405,
                "method_not_allowed",
                f"{scope['method']} is not possible here; {words} is.",
                headers={"allow": words},
            )
        raise Problem(404, "not_found", f"There is nothing at {scope['path']}. GET /docs shows what there is.")

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            else:
                self.server.close()
                await send({"type": "lifespan.shutdown.complete"})
                return


async def _send(send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            text = value.decode("latin-1")
            if _REQUEST_ID.fullmatch(text):
                return text
    return os.urandom(16).hex()


def _method(word: str) -> str:
    return word if word in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS") else "other"


def _routes(server: Server) -> list[Route]:
    async def model(request: Request) -> Response:
        return json_response(server.card)

    async def schema(request: Request) -> Response:
        return json_response(openapi.row_schema(server.model))

    async def health(request: Request) -> Response:
        return json_response({"status": "ok" if server.ready else "stopping"}, 200 if server.ready else 503)

    async def document(request: Request) -> Response:
        return json_response(server.openapi)

    async def page(request: Request) -> Response:
        return docs.page(server.openapi, server.card)

    async def metrics(request: Request) -> Response:
        return Response(server.metrics.text(), media_type="text/plain; version=0.0.4")

    async def predict(request: Request) -> Response:
        # Reached only by methods other than POST that Starlette would match; POST is answered before routing.
        raise Problem(405, "method_not_allowed", "POST rows here.", headers={"allow": "POST"})

    return [
        Route("/v1/predict", predict, methods=["POST"]),
        Route("/v1/model", model),
        Route("/v1/model/schema", schema),
        Route("/healthz", health),
        Route("/openapi.json", document),
        Route("/docs", page),
        Route("/", page),
        Route("/metrics", metrics),
        *sample.routes(server),
        *act.routes(server),
        *chat.routes(server),
        *infer.routes(server),
    ]


def make_app(model: Model, limits: Limits | None = None) -> App:
    """An ASGI application that answers for `model`."""
    return App(Server(model, limits or Limits()))
