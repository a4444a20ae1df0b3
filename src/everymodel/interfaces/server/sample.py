"""POST /v1/sample: new data made by a generator, and what the API's description and page say of it."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from everymodel.core.errors import ParameterError
from everymodel.interfaces.server import chat, enhance
from everymodel.interfaces.server.errors import Problem, problem
from everymodel.scoring.generator import Generator
from everymodel.scoring.images import data_url, grid

if TYPE_CHECKING:
    from everymodel.interfaces.server.app import Server

PIXELS = 1 << 24  # bytes of images in one answer
TILES = 65_536  # of levels in one answer
TEXTS, LETTERS = 64, 20_000  # texts (pieces, levels) in one answer, and all that they may hold together
_WISHES = {
    "table": "{column: value}, obeyed exactly.",
    "texts": "How they begin.",
    "pieces": "How they begin: frames (lists of pitches), or a MIDI file after data:audio/midi;base64,.",
    "levels": "{width, height, start, goal, map}, each as one likes; in a map ? leaves a tile free.",
}
_LENGTHS = ("length", "max_tokens", "frames", "steps")  # options that say how long a sample is


class SampleRequest(msgspec.Struct, forbid_unknown_fields=True):  # pyright: ignore[reportGeneralTypeIssues]
    """How many samples, and which."""

    n: int = 1
    condition: Any = None
    seed: int | None = None
    truncation: float | None = None
    options: dict[str, Any] = {}
    interpolate: list[int] | None = None
    format: str | None = None


_decode = msgspec.json.Decoder(SampleRequest).decode


def decode(body: bytes) -> SampleRequest:
    """The request in `body`; Problem 400 for what is not JSON, 422 for JSON of the wrong form; no body asks for one."""
    try:
        return _decode(body if body.strip() else b"{}")
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `")
        param = path.rstrip("`").removeprefix("$").removeprefix(".") or None
        raise Problem(
            422, "invalid_request_body", f"{message}. Expected such as {{\"n\": 4, \"seed\": 0}}.", param=param
        ) from None  # fmt: skip
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, "malformed_json", f"The body is not JSON: {error}.") from None


def answer(model: Generator, request: SampleRequest, most: int) -> dict[str, Any]:
    """Samples as JSON: images as PNG in data URLs, rows as objects, texts; with the seed that makes them again.

    Raises
    ------
    Problem, EverymodelError
    """
    makes = model.makes
    if request.format not in (None, "grid", "list") or (request.format is not None and makes != "images"):
        why = f'format={request.format!r}: for images "list" or "grid"; leave it out for others.'
        raise Problem(422, "invalid_parameter", why, param="format")
    ends = request.interpolate
    if ends is not None and (len(ends) != 2 or min(ends) < 0):
        raise Problem(422, "invalid_parameter", "interpolate: expected two seeds, such as [3, 8].", param="interpolate")
    _limited(model, request, most)
    if makes in ("images", "rows", "texts") and not _simple(request.condition):
        raise Problem(422, "invalid_parameter", "condition: expected a class, or a list of classes.", param="condition")
    seed = secrets.randbits(31) if request.seed is None else request.seed
    if ends is not None:
        made = model.interpolate(*ends, steps=max(request.n, 2), condition=request.condition)
    else:
        made = model.sample(
            request.n, request.condition, seed=seed, truncation=request.truncation, **_plain_options(request.options)
        )
    if hasattr(made, "columns"):  # a frame
        made = {str(name): made[name].to_numpy(dtype=object) for name in made.columns}
    body: dict[str, Any] = {"n": _count(made), "makes": makes, **({"seed": seed} if ends is None else {})}
    if makes == "images":
        if request.format == "grid":
            body["image"] = data_url(grid(made, len(made) if ends is not None else None))
        else:
            body["samples"] = [data_url(image) for image in made]
    elif isinstance(made, dict):
        columns = {name: _cells(cells) for name, cells in made.items()}
        body["samples"] = [dict(zip(columns, row)) for row in zip(*columns.values())]
    else:
        body["samples"] = [_midi(one) if makes == "pieces" else _cell(one) for one in made]
    return body


def _midi(piece: Any) -> str:
    """A MIDI file as a data URL."""
    import base64

    return "data:audio/midi;base64," + base64.b64encode(bytes(piece)).decode()


def _simple(condition: Any) -> bool:
    plain = str | int | float | bool | None
    return isinstance(condition, plain) or (
        isinstance(condition, list) and all(isinstance(c, plain) for c in condition)
    )


def _plain_options(options: dict[str, Any]) -> dict[str, Any]:
    reserved = sorted({"n", "condition", "seed", "truncation", "self", "rng"} & set(options))
    if reserved:
        raise Problem(422, "invalid_parameter", f"{reserved[0]} stands beside options, not in it.", param="options")
    return options


def _limited(model: Generator, request: SampleRequest, most: int) -> None:
    """Problem 413 for more than the server makes at once."""
    limit, why = most, f"at most {most:,} rows"
    if model.makes == "images":
        one = int(np.prod(model.step.columns()[0].shape)) if model.step.columns() else 1
        limit = max(min(most, PIXELS // one), 1)
        why = f"at most {limit:,} images of this size"
    elif model.makes not in ("rows", "table"):
        limit, why = min(most, TEXTS), f"at most {TEXTS} {model.makes}"
        for name in _LENGTHS:
            value = request.options.get(name)
            if isinstance(value, int | float) and request.n * value > LETTERS:
                why = f"{name}={value} for each of {request.n}: at most {LETTERS:,} in one answer."
                raise Problem(413, "too_long", why, param=f"options.{name}")
        if model.makes == "levels":
            tiles = model.step.area(request.condition)  # type: ignore[attr-defined]
            limit = min(limit, max(TILES // tiles, 1))
            why = f"at most {limit} levels of {tiles:,} tiles"
            if tiles > TILES:
                raise Problem(413, "too_long", f"{tiles:,} tiles: at most {TILES:,} in one answer.", param="condition")
    if request.n > limit:
        raise Problem(413, "too_many_rows", f"n={request.n}: {why} are made at once. Ask again for more.", param="n")


def _count(made: Any) -> int:
    return len(next(iter(made.values()))) if isinstance(made, dict) else len(made)


def _cells(cells: Any) -> list[Any]:
    return [_cell(v) for v in np.asarray(cells).tolist()] if hasattr(cells, "__len__") else list(cells)


def _cell(value: Any) -> Any:
    """As JSON can hold it; what is missing becomes null."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, float) and value != value:
        return None
    if value is None or isinstance(value, str | int | float | bool | list | dict):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def routes(server: Server) -> list[Route]:
    """The route, where the model is a generator."""
    if not isinstance(server.model, Generator):
        return []
    model = server.model
    if model.task == "enhance":
        return enhance.routes(server)

    async def sample(request: Request) -> Response:
        from everymodel.interfaces.server.app import check_json, json_response, read_body

        check_json(request.scope)
        asked = decode(await read_body(request.scope, request.receive, server.limits))

        def made() -> dict[str, Any]:
            try:
                return answer(model, asked, server.limits.rows)
            except ParameterError as error:
                raise Problem(422, error.code, str(error)) from error
            except Exception as error:
                raise problem(error) from error

        body = await server.aside(made)
        server.metrics.rows += body["n"]
        return json_response(body)

    return [Route("/v1/sample", sample, methods=["POST"])]


def refuse(model: Any) -> None:
    """Problem 409 for questions that a generator has no answer to."""
    if isinstance(model, Generator) and model.task == "enhance":
        raise Problem(409, "cannot", 'This model makes images larger: POST /v1/enhance, {"image": "<base64>"}.')
    if isinstance(model, Generator):
        raise Problem(
            409, "cannot", "This model makes data instead of answering rows: POST /v1/sample, such as {\"n\": 4}."
        )  # fmt: skip


def described(model: Generator, document: dict[str, Any], most: int) -> dict[str, Any]:
    """The OpenAPI document with /v1/sample in place of /v1/predict."""
    if model.task == "enhance":
        return enhance.described(document)
    classes = [str(c) for c in model.step.classes]
    condition: dict[str, Any] = {
        "default": None,
        "description": "What samples shall be: a class, or one for each. null: as it was in the data."
        if classes
        else _WISHES.get(model.makes, "Nothing that this model could be asked for: leave it null."),
    }
    if classes:
        condition["x-classes"] = classes[:200]
    asked: dict[str, Any] = {
        "n": {"type": "integer", "minimum": 1, "maximum": most, "default": 1, "description": "How many."},
        "condition": condition,
        "seed": {
            "type": ["integer", "null"],
            "minimum": 0,
            "default": None,
            "description": "Equal seeds give equal samples; null draws one, which is told.",
        },
        "truncation": {
            "type": ["number", "null"],
            "minimum": 0,
            "default": None,
            "description": "Below 1: more usual samples, less varied.",
        },
        "options": {
            "type": "object",
            "default": {},
            "description": "Options of this kind of model, such as length and temperature of texts.",
        },
    }
    if hasattr(model.step, "interpolate"):
        asked["interpolate"] = {
            "type": ["array", "null"],
            "items": {"type": "integer", "minimum": 0},
            "minItems": 2,
            "maxItems": 2,
            "default": None,
            "description": "Two seeds: n samples on the way between them.",
        }
    one: dict[str, Any] = {"type": "string", "description": "A sample."}
    if model.makes == "images":
        one = {"type": "string", "description": "A PNG as a data URL."}
        asked["format"] = {
            "enum": ["list", "grid", None],
            "default": None,
            "description": "One PNG for each image (list), or one of all (grid).",
        }
    elif model.makes == "pieces":
        one = {"type": "string", "description": "A MIDI file as a data URL."}
    elif model.makes == "levels":
        one = {"type": "array", "description": "A map: its rows."}
    elif model.makes in ("rows", "table"):
        names = [c.name for c in model.schema.features]
        one = {"type": "object", "description": "A row.", "properties": {n: {} for n in names}}
    example: dict[str, Any] = {"n": 4, "seed": 0} | ({"condition": model.step.classes[0]} if classes else {})
    reply = {
        "type": "object",
        "required": ["n", "makes"],
        "properties": {
            "n": {"type": "integer"},
            "makes": {"enum": [model.makes]},
            "seed": {"type": "integer", "description": "Makes the same samples again."},
            "samples": {"type": "array", "items": one},
        },
    }
    if model.makes == "images":
        reply["properties"]["image"] = {"type": "string", "description": "All of them, as one PNG (grid)."}
    post = document["paths"].pop("/v1/predict")["post"]
    answers = {**post["responses"]}
    answers["200"] = {
        **answers["200"],
        "description": "The samples.",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Samples"}}},
    }
    document["paths"] = {
        "/v1/sample": {
            "post": {
                "summary": f"Make new {model.makes if model.makes != 'table' else 'rows'}",
                "operationId": "sample",
                "requestBody": {
                    "required": False,
                    "content": {
                        "application/json": {
                            "schema": {"$ref": "#/components/schemas/SampleRequest"},
                            "examples": {"some": {"summary": "Four samples", "value": json.loads(json.dumps(example))}},
                        }
                    },
                },
                "responses": answers,
            }
        },
        **document["paths"],
    }
    schemas = document["components"]["schemas"]
    del schemas["PredictRequest"], schemas["Prediction"]
    schemas["SampleRequest"] = {"type": "object", "properties": asked, "additionalProperties": False}
    schemas["Samples"] = reply
    if model.makes == "texts":
        chat.described(document)
    return document
