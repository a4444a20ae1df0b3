"""Texts over the routes that OpenAI's clients speak: /v1/chat/completions, /v1/completions, /v1/models.

A client is pointed at `http://host:port/v1` with any key. What a small model cannot do (tools, logprobs, penalties) is
refused by name rather than left out silently.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from everymodel.core.errors import EverymodelError
from everymodel.interfaces.server.errors import Problem, problem
from everymodel.scoring.generator import Generator
from everymodel.scoring.steps.writing import Stream, TextWriter

if TYPE_CHECKING:
    from everymodel.interfaces.server.app import Server

MOST = 8192  # tokens of an answer
CHOICES = 8  # answers to one request
_SHORT = 16  # tokens of a completion where none are asked for, as elsewhere
_REFUSED: dict[str, Any] = {  # what is not done here, and the value that says so
    "tools": None,
    "functions": None,
    "logprobs": False,
    "top_logprobs": None,
    "frequency_penalty": 0,
    "presence_penalty": 0,
    "logit_bias": None,
    "response_format": None,
    "suffix": None,
    "best_of": 1,
}
_encode = msgspec.json.Encoder().encode


class Asked(msgspec.Struct):
    """What both routes share; fields of others' APIs that change nothing here, such as `user`, are let by."""

    model: str | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    n: int | None = None
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None
    tools: Any = None
    functions: Any = None
    logprobs: Any = None
    top_logprobs: Any = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logit_bias: Any = None
    response_format: Any = None
    suffix: Any = None
    best_of: int | None = None


class Said(msgspec.Struct):
    """One message; its content is a text, or parts of which each is one."""

    role: str
    content: str | list[dict[str, Any]] | None = None


class AskedChat(Asked):
    messages: list[Said] = []


class AskedText(Asked):
    prompt: str | list[str] = ""
    echo: bool = False


def _decoded(body: bytes, kind: Any) -> Any:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `")
        param = path.rstrip("`").removeprefix("$").removeprefix(".") or None
        raise Problem(422, "invalid_request_body", f"{message}.", param=param) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, "malformed_json", f"The body is not JSON: {error}.") from None


def _prompt(writer: TextWriter, messages: list[Said]) -> tuple[str, list[str]]:
    """The messages as one text, and where the answer ends."""
    if not messages:
        why = 'messages is empty: expected such as [{"role": "user", "content": "Hello"}].'
        raise Problem(422, "invalid_parameter", why, param="messages")
    told = []
    for i, message in enumerate(messages):
        content = message.content
        if isinstance(content, list):
            if any(part.get("type") != "text" or not isinstance(part.get("text"), str) for part in content):
                why = "a message holds something else than text, which this model cannot read."
                raise Problem(422, "invalid_parameter", why, param=f"messages[{i}].content")
            content = "".join(part["text"] for part in content)
        role = "system" if message.role == "developer" else message.role
        told.append({"role": role, "content": content})
    try:
        return writer.chat(told)
    except EverymodelError as error:
        raise Problem(422, "invalid_parameter", str(error), param="messages") from error


class Answers:
    """The answers to one request, each a stream."""

    def __init__(self, writer: TextWriter, asked: Asked, prompts: list[str], stops: list[str], usual: int):
        for name, free in _REFUSED.items():
            value = getattr(asked, name)
            if value not in (None, free, [], {}) and not (name == "response_format" and value == {"type": "text"}):
                raise Problem(422, "unsupported_parameter", f"This model has no {name}: leave it out.", param=name)
        count = 1 if asked.n is None else asked.n
        if not 1 <= count <= CHOICES or count * len(prompts) > CHOICES:
            raise Problem(422, "invalid_parameter", f"n={count}: expected 1 to {CHOICES} answers in all.", param="n")
        length = asked.max_completion_tokens if asked.max_completion_tokens is not None else asked.max_tokens
        length = usual if length is None else length
        if not 1 <= length <= MOST:
            raise Problem(422, "invalid_parameter", f"max_tokens={length}: expected 1 to {MOST:,}.", param="max_tokens")
        own = [asked.stop] if isinstance(asked.stop, str) else asked.stop or []
        options = {"length": length, "temperature": asked.temperature, "top_p": asked.top_p, "top_k": asked.top_k}
        options["stop"] = [*own, *stops]
        if asked.seed is not None and asked.seed < 0:
            raise Problem(422, "invalid_parameter", f"seed={asked.seed}: expected 0 or more.", param="seed")
        seed = secrets.randbits(48) if asked.seed is None else asked.seed
        try:
            self.streams = [
                Stream(writer, prompt, seed + i * 1_000_003, options)
                for i, prompt in enumerate(p for p in prompts for _ in range(count))
            ]
        except EverymodelError as error:
            param = str(error).partition("=")[0]
            raise Problem(
                422, "invalid_parameter", str(error), param=param if param.isidentifier() else None
            ) from error

    def usage(self) -> dict[str, Any]:
        """Tokens, and what of the prompt the model could not see."""
        read = sum(s.prompt_tokens for s in self.streams)
        written = sum(s.tokens for s in self.streams)
        unseen = sum(s.unseen for s in self.streams)
        told: dict[str, Any] = {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
        strange = sorted({c for s in self.streams for c in s.strange})
        told |= {"unseen_prompt_tokens": unseen} if unseen else {}
        return told | ({"unknown_prompt_characters": "".join(strange[:64])} if strange else {})


def routes(server: Server) -> list[Route]:
    """The routes, where the model writes texts."""
    if not isinstance(server.model, Generator) or server.model.makes != "texts":
        return []
    writer: Any = server.model.step
    name = str(server.card.get("name") or "model")
    born = int(time.time())
    entry = {"id": name, "object": "model", "created": born, "owned_by": "everymodel"}

    def known(asked: Asked) -> None:
        if asked.model is not None and asked.model != name:
            why = f"There is no model {asked.model[:80]!r} here; this server answers with {name!r}."
            raise Problem(404, "model_not_found", why, param="model")

    async def chat(request: Request) -> Response:
        asked = _decoded(await _body(server, request), AskedChat)
        known(asked)
        prompt, stops = _prompt(writer, asked.messages)
        answers = Answers(writer, asked, [prompt], stops, writer.usual)
        return await _answered(server, asked, answers, name, chats=True)

    async def text(request: Request) -> Response:
        asked = _decoded(await _body(server, request), AskedText)
        known(asked)
        prompts = [asked.prompt] if isinstance(asked.prompt, str) else asked.prompt
        answers = Answers(writer, asked, prompts or [""], [], _SHORT)
        first = [p for p in prompts or [""] for _ in range(asked.n or 1)] if asked.echo else None
        return await _answered(server, asked, answers, name, chats=False, first=first)

    async def models(request: Request) -> Response:
        return _json({"object": "list", "data": [entry]})

    async def model(request: Request) -> Response:
        known(Asked(model=request.path_params["name"]))
        return _json(entry)

    return [
        Route("/v1/chat/completions", chat, methods=["POST"]),
        Route("/v1/completions", text, methods=["POST"]),
        Route("/v1/models", models),
        Route("/v1/models/{name:path}", model),
    ]


async def _body(server: Server, request: Request) -> bytes:
    from everymodel.interfaces.server.app import check_json, read_body

    check_json(request.scope)
    return await read_body(request.scope, request.receive, server.limits)


def _json(value: Any) -> Response:
    return Response(_encode(value), media_type="application/json")


async def _answered(
    server: Server, asked: Asked, answers: Answers, name: str, *, chats: bool, first: list[str] | None = None
) -> Response:
    head = {
        "id": ("chatcmpl-" if chats else "cmpl-") + secrets.token_hex(12),
        "object": "chat.completion" if chats else "text_completion",
        "created": int(time.time()),
        "model": name,
    }
    if asked.stream:
        usage = bool((asked.stream_options or {}).get("include_usage"))
        events = _events(server, answers, head, chats, usage, first)
        return StreamingResponse(events, media_type="text/event-stream", headers={"cache-control": "no-store"})

    def written() -> list[str]:
        try:
            return ["".join(stream) for stream in answers.streams]
        except EverymodelError as error:
            raise problem(error) from error

    choices = []
    for i, (made, stream) in enumerate(zip(await server.aside(written), answers.streams, strict=True)):
        own: dict[str, Any] = {"index": i, "finish_reason": stream.ended, "logprobs": None}
        if chats:
            own["message"] = {"role": "assistant", "content": made.strip()}
        else:
            own["text"] = (first[i] if first else "") + made
        choices.append(own)
    server.metrics.rows += len(choices)
    return _json({**head, "choices": choices, "usage": answers.usage()})


async def _events(
    server: Server, answers: Answers, head: dict[str, Any], chats: bool, usage: bool, first: list[str] | None
) -> AsyncIterator[bytes]:
    """The answers as server-sent events, piece by piece, one answer after the other."""
    head = {**head, "object": "chat.completion.chunk"} if chats else head

    def event(i: int, piece: str | None, ended: str | None = None, **more: Any) -> bytes:
        said: dict[str, Any] = {"text": piece or ""}
        if chats:
            said = {"delta": {**more, **({} if piece is None else {"content": piece})}}
        return _told({**head, "choices": [{"index": i, **said, "finish_reason": ended, "logprobs": None}]})

    try:
        for i, stream in enumerate(answers.streams):
            if chats or first:
                yield event(i, first[i] if first else "", **({"role": "assistant"} if chats else {}))
            pieces: Iterator[str] = iter(stream)
            began = False
            while (piece := await server.aside(lambda pieces=pieces: next(pieces, None))) is not None:
                piece = piece if began or not chats else piece.lstrip()
                if piece:
                    began = True
                    yield event(i, piece)
            yield event(i, None, stream.ended)
        if usage:
            yield _told({**head, "choices": [], "usage": answers.usage()})
    except Exception as error:  # the answer has begun, so its status can tell nothing any more
        yield _told(problem(error).body(""))
    yield b"data: [DONE]\n\n"
    server.metrics.rows += len(answers.streams)


def _told(value: Any) -> bytes:
    return b"data: " + _encode(value) + b"\n\n"


def described(document: dict[str, Any]) -> None:
    """Put these routes into the OpenAPI document."""
    shared = {
        "model": {"type": "string"},
        "max_tokens": {"type": "integer", "minimum": 1, "maximum": MOST},
        "temperature": {"type": "number", "minimum": 0, "default": 1},
        "top_p": {"type": "number", "maximum": 1, "default": 1},
        "top_k": {"type": "integer", "minimum": 1},
        "seed": {"type": "integer", "minimum": 0},
        "stop": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
        "n": {"type": "integer", "minimum": 1, "maximum": CHOICES, "default": 1},
        "stream": {"type": "boolean", "default": False, "description": "Server-sent events, ended by [DONE]."},
    }
    message = {
        "type": "object",
        "required": ["role", "content"],
        "properties": {"role": {"enum": ["system", "user", "assistant"]}, "content": {"type": "string"}},
    }
    routes = {
        "/v1/chat/completions": ("Answer in a chat", "chat", {"messages": {"type": "array", "items": message}}),
        "/v1/completions": (
            "Go on from a text",
            "complete",
            {"prompt": {"type": "string"}, "echo": {"type": "boolean"}},
        ),
    }
    for path, (summary, word, own) in routes.items():
        content = {"application/json": {"schema": {"type": "object", "properties": {**own, **shared}}}}
        document["paths"][path] = {
            "post": {
                "summary": summary,
                "operationId": word,
                "requestBody": {"required": True, "content": content},
                "responses": {"200": {"description": "As OpenAI's API of this name answers."}},
            }
        }
