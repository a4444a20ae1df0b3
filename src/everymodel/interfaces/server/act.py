"""POST /v1/act: what an agent does next.

{"observation": [0.0, 0.1, -0.02, 0.3]}                     # {"action": 1}
{"observation": [[...], [...]], "temperature": 1, "seed": 7}  # {"actions": [1, 0]}
{"moves": ["C3", "B2"]}                                     # board games: {"action": "D4"}
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from everymodel.core.errors import DataError
from everymodel.interfaces.server.errors import Problem, problem
from everymodel.scoring.agent import Agent
from everymodel.scoring.spaces import Space

if TYPE_CHECKING:
    from everymodel.interfaces.server.app import Server

NUMBERS = 1 << 22  # of all observations of one request
SIMULATIONS = 10_000  # positions that one answer of a board game may look at
_ON_LOOP = 4096  # bytes of a request that is answered at once; larger ones leave the event loop


class ActRequest(msgspec.Struct, forbid_unknown_fields=True):  # pyright: ignore[reportGeneralTypeIssues]
    """What is seen, and how the action is to be chosen."""

    observation: Any = msgspec.UNSET
    moves: list[str | int] | None = None
    temperature: float = 0.0
    seed: int | None = None
    mask: list[Any] | None = None
    simulations: int | None = None


_decode = msgspec.json.Decoder(ActRequest).decode


def plays(model: Any) -> bool:
    """Whether it is an agent of a board game, which is told moves instead of observations."""
    return isinstance(model, Agent) and hasattr(model.step, "rules")


def decode(body: bytes, model: Agent) -> ActRequest:
    """The request in `body`; Problem 400 for what is not JSON, 422 for JSON of the wrong form."""
    try:
        return _decode(body)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `")
        param = path.rstrip("`").removeprefix("$").removeprefix(".") or None
        such = msgspec.json.encode(example(model)).decode()
        raise Problem(422, "invalid_request_body", f"{message}. Expected such as {such}.", param=param) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, "malformed_json", f"The body is not JSON: {error}.") from None


def answer(model: Agent, asked: ActRequest, most: int) -> dict[str, Any]:
    """The action, or actions; with the seed that chooses them again, where chance has a part.

    Raises
    ------
    Problem, EverymodelError
    """
    seed = asked.seed
    if seed is not None and seed < 0:
        raise Problem(422, "invalid_parameter", f"seed={seed}: expected a whole number from 0.", param="seed")
    if asked.temperature > 0 and seed is None:
        seed = secrets.randbits(31)
    drawn = {} if asked.temperature == 0 else {"seed": seed}
    if plays(model):
        return {**_move(model, asked, seed), **drawn}
    if asked.moves is not None or asked.simulations is not None:
        name = "moves" if asked.moves is not None else "simulations"
        raise Problem(
            422, "invalid_parameter", f"{name}: for board games; this agent acts on observations.", param=name
        )
    if asked.observation is msgspec.UNSET:
        raise Problem(422, "invalid_request_body", f"observation is missing; expected {model.observation_space}.",
                      param="observation")  # fmt: skip
    _limited(model.observation_space, asked.observation, most)
    mask = None if asked.mask is None else _mask(asked.mask)
    made = model.act(asked.observation, seed=seed, temperature=asked.temperature, mask=mask)
    one = np.ndim(made) == len(model.action_space.shape)
    told = made if isinstance(made, int) else np.asarray(made).tolist()
    return {"action": told, **drawn} if one else {"actions": told, **drawn}


def _move(model: Agent, asked: ActRequest, seed: int | None) -> dict[str, Any]:
    """A move of a board game after those that were played."""
    rules = model.step.rules  # type: ignore[attr-defined]
    if asked.mask is not None or asked.observation is not msgspec.UNSET:
        name = "mask" if asked.mask is not None else "observation"
        raise Problem(422, "invalid_parameter", f"{name}: this agent plays {rules.word}: give moves.", param=name)
    if asked.moves is None:
        raise Problem(422, "invalid_request_body", 'moves is missing; expected those played so far, such as [].',
                      param="moves")  # fmt: skip
    if len(asked.moves) > rules.longest:
        raise Problem(413, "too_many_rows", f"{len(asked.moves)} moves; no game has more than {rules.longest}.",
                      param="moves")  # fmt: skip
    options: dict[str, Any] = {}
    if asked.simulations is not None:
        if not 0 <= asked.simulations <= SIMULATIONS:
            raise Problem(422, "invalid_parameter", f"simulations={asked.simulations}: expected 0 to {SIMULATIONS:,}.",
                          param="simulations")  # fmt: skip
        options["simulations"] = asked.simulations
    action = int(model.act(asked.moves, seed=seed, temperature=asked.temperature, **options))
    return {"action": rules.name(action), "number": action}


def _limited(space: Space, observation: Any, most: int) -> None:
    """Problem 413 for more than the server answers at once."""
    depth, inside = 0, observation
    while isinstance(inside, list) and inside and depth <= len(space.shape):
        depth, inside = depth + 1, inside[0]
    rows = len(observation) if depth > len(space.shape) else 1
    if rows > most or rows * space.width > max(NUMBERS, space.width):
        raise Problem(413, "too_many_rows", f"{rows:,} observations; at most {most:,} are answered at once, and "
                      f"{NUMBERS:,} numbers.", param="observation")  # fmt: skip


def _mask(told: list[Any]) -> np.ndarray:
    """Which choices are allowed: true and false, or 1 and 0."""
    flat = [v for row in told for v in (row if isinstance(row, list) else [row])]
    if not all(v in (True, False) and isinstance(v, int) for v in flat):
        raise Problem(422, "invalid_parameter", "mask: expected true or false for each action.", param="mask")
    try:
        return np.asarray(told, dtype=bool)
    except ValueError:
        raise Problem(422, "invalid_parameter", "mask: its rows have different lengths.", param="mask") from None


def example(model: Agent) -> dict[str, Any]:
    """A request that can be sent."""
    if plays(model):
        return {"moves": []}
    seen = model.observation_space.example(np.random.default_rng(0))
    if not isinstance(seen, int):
        seen = np.round(np.asarray(seen, dtype=np.float64), 3).tolist()
    return {"observation": seen}


def routes(server: Server) -> list[Route]:
    """The route, where the model is an agent."""
    model = server.model
    if not isinstance(model, Agent):
        return []
    quick = not plays(model)

    async def act(request: Request) -> Response:
        from everymodel.interfaces.server.app import check_json, json_response, read_body

        check_json(request.scope)
        body = await read_body(request.scope, request.receive, server.limits)

        def made() -> dict[str, Any]:
            try:
                return answer(model, decode(body, model), server.limits.rows)
            except DataError as error:
                param = "mask" if str(error).startswith("A mask") else "observation" if quick else "moves"
                raise Problem(422, error.code, str(error), param=param) from error
            except Exception as error:
                raise problem(error) from error

        told = made() if quick and len(body) <= _ON_LOOP else await server.aside(made)
        server.metrics.rows += len(told.get("actions", (0,)))
        return json_response(told)

    return [Route("/v1/act", act, methods=["POST"])]


def refuse(model: Any) -> None:
    """Problem 409 for questions that an agent has no answer to."""
    if isinstance(model, Agent):
        such = msgspec.json.encode(example(model)).decode()
        such = such if len(such) < 200 else '{"observation": [...]}'
        raise Problem(409, "cannot", f"This model is an agent: POST /v1/act, such as {such}.")


def described(model: Agent, document: dict[str, Any], most: int) -> dict[str, Any]:
    """The OpenAPI document with /v1/act in place of /v1/predict."""
    sees, does = model.observation_space, model.action_space
    action: dict[str, Any] = _schema(does)
    asked: dict[str, Any] = {
        "temperature": {"type": "number", "minimum": 0, "maximum": 100, "default": 0,
                        "description": "0: the best action; 1: drawn as in training; between and beyond: more or less "
                        "by chance."},
        "seed": {"type": ["integer", "null"], "minimum": 0, "default": None,
                 "description": "Equal seeds give equal actions; null draws one, which is told."},
    }  # fmt: skip
    if plays(model):
        rules = model.step.rules  # type: ignore[attr-defined]
        names = f"{rules.name(0)} ... {rules.name(rules.actions - 1)}"
        asked = {
            "moves": {"type": "array", "items": {"type": ["string", "integer"]}, "maxItems": rules.longest,
                      "description": f"The moves from the start of the game, of both sides in turn ({names})."},
            "simulations": {"type": ["integer", "null"], "minimum": 0, "maximum": SIMULATIONS, "default": None,
                            "description": "Positions to look at: fewer are weaker and quicker. 0: no look ahead."},
            **asked,
        }  # fmt: skip
        action = {"type": "string", "description": "The move."}
        reply = {"action": action, "number": {"type": "integer", "description": "The move's number."}}
        needed = ["moves"]
    else:
        one = _schema(sees)
        asked = {
            "observation": {"anyOf": [one, {"type": "array", "items": one, "maxItems": most}],
                            "description": f"What is seen: {sees}; or several, of which each is answered."},
            **asked,
        }  # fmt: skip
        if does.discrete:
            row = {"type": "array", "items": {"type": ["boolean", "integer"]}, "minItems": does.n, "maxItems": does.n}
            many = {"anyOf": [row, {"type": "array", "items": row}, {"type": "null"}]}
            asked["mask"] = {**many, "default": None, "description": "Which actions are allowed."}
        reply = {"action": action, "actions": {"type": "array", "items": action}}
        needed = ["observation"]
    reply["seed"] = {"type": "integer", "description": "Where chance has a part: chooses the same again."}
    post = document["paths"].pop("/v1/predict")["post"]
    found = {**post["responses"]["200"], "description": "The action; actions for several observations.",
             "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Action"}}}}  # fmt: skip
    body = {"schema": {"$ref": "#/components/schemas/ActRequest"},
            "examples": {"one": {"summary": "What to do next", "value": example(model)}}}  # fmt: skip
    document["paths"] = {
        "/v1/act": {
            "post": {
                "summary": "What to do next",
                "operationId": "act",
                "requestBody": {"required": True, "content": {"application/json": body}},
                "responses": {**post["responses"], "200": found},
            }
        },
        **document["paths"],
    }
    schemas = document["components"]["schemas"]
    del schemas["PredictRequest"], schemas["Prediction"]
    schemas["ActRequest"] = {"type": "object", "required": needed, "properties": asked, "additionalProperties": False}
    schemas["Action"] = {"type": "object", "properties": reply}
    return document


def _schema(space: Space) -> dict[str, Any]:
    """One observation or action."""
    if space.discrete:
        return {"type": "integer", "minimum": 0, "maximum": space.n - 1}
    made: dict[str, Any] = {"type": "number"}
    if len(space.low) == len(space.high) == 1:
        made |= {k: v for k, v in (("minimum", space.low[0]), ("maximum", space.high[0])) if v is not None}
    for size in reversed(space.shape):
        made = {"type": "array", "items": made, "minItems": size, "maxItems": size}
    return made
