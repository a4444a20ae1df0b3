"""POST /v1/enhance: a larger image for an image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from everymodel.interfaces.server.errors import Problem, problem
from everymodel.scoring.generator import Generator
from everymodel.scoring.images import ImageCellError, data_url, pixels

if TYPE_CHECKING:
    from everymodel.interfaces.server.app import Server

PIXELS = 4_000_000  # of an enlarged image


class EnhanceRequest(msgspec.Struct, forbid_unknown_fields=True):  # pyright: ignore[reportGeneralTypeIssues]
    """An image, and how it is to be enlarged."""

    image: str
    fidelity: float = 0.0


_decode = msgspec.json.Decoder(EnhanceRequest).decode


def answer(model: Generator, body: bytes) -> dict[str, Any]:
    """The enlarged image as a PNG in a data URL; Problem 400, 413 or 422 for what is wrong."""
    try:
        asked = _decode(body)
    except msgspec.ValidationError as error:
        raise Problem(422, "invalid_request_body", f'{error}. Expected such as {{"image": "<base64>"}}.') from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, "malformed_json", f"The body is not JSON: {error}.") from None
    if not 0 <= asked.fidelity <= 1:
        raise Problem(422, "invalid_parameter", "fidelity: expected a number from 0 to 1.", param="fidelity")
    try:
        image = pixels(asked.image, files=False)
    except ImageCellError as error:
        raise Problem(422, "invalid_image", f"image: {error}.", param="image") from None
    factor = model.step.factor  # type: ignore[attr-defined]
    if image.shape[0] * image.shape[1] * factor**2 > PIXELS:
        why = f"{image.shape[1]} x {image.shape[0]} pixels, {factor} times as large, are more than {PIXELS:,}."
        raise Problem(413, "too_large", f"{why} Send the image in parts.", param="image")
    made = model.upscale(image, asked.fidelity)
    return {"image": data_url(made), "height": made.shape[0], "width": made.shape[1]}


def routes(server: Server) -> list[Route]:
    """The route of a model that enlarges."""
    model = server.model
    assert isinstance(model, Generator)

    async def enhance(request: Request) -> Response:
        from everymodel.interfaces.server.app import check_json, json_response, read_body

        check_json(request.scope)
        body = await read_body(request.scope, request.receive, server.limits)

        def made() -> dict[str, Any]:
            try:
                return answer(model, body)
            except Problem:
                raise
            except Exception as error:
                raise problem(error) from error

        told = await server.aside(made)
        server.metrics.rows += 1
        return json_response(told)

    return [Route("/v1/enhance", enhance, methods=["POST"])]


def described(document: dict[str, Any]) -> dict[str, Any]:
    """The OpenAPI document with /v1/enhance in place of /v1/predict."""
    post = document["paths"].pop("/v1/predict")["post"]
    reply = {"schema": {"$ref": "#/components/schemas/Enhanced"}}
    found = {**post["responses"]["200"], "description": "The larger image.", "content": {"application/json": reply}}
    asked = {"schema": {"$ref": "#/components/schemas/EnhanceRequest"}}
    document["paths"] = {
        "/v1/enhance": {
            "post": {
                "summary": "Make an image larger",
                "operationId": "enhance",
                "requestBody": {"required": True, "content": {"application/json": asked}},
                "responses": {**post["responses"], "200": found},
            }
        },
        **document["paths"],
    }
    schemas = document["components"]["schemas"]
    del schemas["PredictRequest"], schemas["Prediction"]
    schemas["EnhanceRequest"] = {
        "type": "object",
        "required": ["image"],
        "additionalProperties": False,
        "properties": {
            "image": {"type": "string", "description": "An encoded image in base64, or a data URL."},
            "fidelity": {
                "type": "number",
                "minimum": 0,
                "maximum": 1,
                "default": 0,
                "description": "1: the least error; 0: the most detail, which is likely, not seen.",
            },
        },
    }
    schemas["Enhanced"] = {
        "type": "object",
        "required": ["image", "height", "width"],
        "properties": {
            "image": {"type": "string", "description": "A PNG as a data URL."},
            "height": {"type": "integer"},
            "width": {"type": "integer"},
        },
    }
    return document
