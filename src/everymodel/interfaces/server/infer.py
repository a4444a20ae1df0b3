"""The Open Inference Protocol, version 2, as spoken by KServe, Triton and MLServer.

Each column of the schema is one input tensor of shape [n] or [n, 1]; where all columns are numbers, one tensor of
shape [n, p] with the columns in the order of the metadata is understood as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from everymodel import __version__
from everymodel.core.schema import PIXEL_TASKS, Column
from everymodel.interfaces.server.errors import Problem, problem
from everymodel.interfaces.server.openapi import gives_probabilities

if TYPE_CHECKING:
    from everymodel.interfaces.server.app import Server


class Tensor(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    data: list[Any]
    parameters: dict[str, Any] | None = None


class Output(msgspec.Struct):
    name: str
    parameters: dict[str, Any] | None = None


class InferRequest(msgspec.Struct):
    inputs: list[Tensor]
    id: str | None = None
    outputs: list[Output] | None = None
    parameters: dict[str, Any] | None = None


_TYPES = (
    "BOOL",
    "UINT8",
    "UINT16",
    "UINT32",
    "UINT64",
    "INT8",
    "INT16",
    "INT32",
    "INT64",
    "FP16",
    "FP32",
    "FP64",
    "BYTES",
)
_decoder = msgspec.json.Decoder(InferRequest)


def _datatype(column: Column) -> str:
    return "FP64" if column.kind == "number" else "BYTES"


def _flat(data: list[Any]) -> list[Any]:
    """Row-major values; the protocol allows nested lists too."""
    while data and isinstance(data[0], list):
        if not all(isinstance(part, list) for part in data):
            raise ValueError
        data = [cell for part in data for cell in part]
    return data


class Protocol:
    """The metadata of a model and the answer to an infer request."""

    def __init__(self, server: Server):
        self.server = server
        model = server.model
        self.name = server.metrics.model
        self.columns = model.schema.features
        several = len(model.classes) if model.task == "multilabel" else len(model.targets)
        self.kind = {"regression": "FP64", "multilabel": "INT64"}.get(model.task, "BYTES")
        self.outputs = [{"name": "prediction", "datatype": self.kind, "shape": [-1, several] if several > 1 else [-1]}]
        if model.task in ("reduce", "embed"):
            self.outputs = [{"name": "columns", "datatype": "FP64", "shape": [-1, len(model.columns)]}]
        elif model.task == "anomaly":
            self.outputs.append({"name": "score", "datatype": "FP64", "shape": [-1]})
        if gives_probabilities(model):
            self.outputs.append({"name": "probabilities", "datatype": "FP64", "shape": [-1, len(model.classes)]})

    def metadata(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "versions": [],
            "platform": "everymodel",
            "inputs": [{"name": c.name, "datatype": _datatype(c), "shape": [-1]} for c in self.columns],
            "outputs": self.outputs,
        }

    def infer(self, body: bytes) -> dict[str, Any]:
        try:
            request = _decoder.decode(body)
        except msgspec.ValidationError as error:
            raise Problem(422, "invalid_request_body", f"{error}.") from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Problem(400, "malformed_json", f"The body is not JSON: {error}.") from None
        columns = self._columns(request.inputs)
        rows = len(next(iter(columns.values())))
        if rows > self.server.limits.rows:
            raise Problem(
                413, "too_many_rows", f"The request has {rows} rows; at most {self.server.limits.rows} are taken."
            )
        wanted = [o.name for o in request.outputs] if request.outputs else [o["name"] for o in self.outputs]
        strange = set(wanted) - {o["name"] for o in self.outputs}
        if strange:
            raise Problem(
                422,
                "unknown_output",
                f"There is no output {sorted(strange)[0]!r}; there is {[o['name'] for o in self.outputs]}.",
            )
        try:
            batch, notes = self.server.model.read(columns, files=False)
            answers = self.server.model.answers(batch)
            decided = self._decided(answers) if "prediction" in wanted else answers
        except Exception as error:
            raise problem(error, "inputs") from error
        self.server.metrics.rows += rows
        self.server.metrics.notes += len(notes)
        made = []
        for name in wanted:
            values = decided if name == "prediction" else answers
            data = values.ravel().tolist()
            kind = self.kind if name == "prediction" else "FP64"
            if kind == "BYTES":
                data = [str(v) for v in data]
            made.append({"name": name, "shape": list(np.shape(values)), "datatype": kind, "data": data})
        return {"model_name": self.name, "id": request.id or "", "outputs": made}

    def _decided(self, answers: Any) -> np.ndarray:
        model = self.server.model
        if model.task not in PIXEL_TASKS:
            return model.decide(answers)
        told = model.told(answers)  # type: ignore[attr-defined]
        return np.array([msgspec.json.encode(one).decode() for one in told], dtype=object)

    def _columns(self, inputs: list[Tensor]) -> dict[str, list[Any]]:
        if not inputs:
            raise Problem(422, "invalid_request_body", "inputs is empty.", param="inputs")
        names = [c.name for c in self.columns]
        columns: dict[str, list[Any]] = {}
        for i, tensor in enumerate(inputs):
            where = f"inputs[{i}]"
            if tensor.datatype not in _TYPES:
                raise Problem(
                    422,
                    "invalid_tensor",
                    f"datatype {tensor.datatype!r} is not one of {', '.join(_TYPES)}.",
                    param=where,
                )
            try:
                data = _flat(tensor.data)
            except ValueError:
                raise Problem(422, "invalid_tensor", f"The data of {tensor.name!r} is ragged.", param=where) from None
            shape = tensor.shape
            if not shape or min(shape) < 1 or int(np.prod([float(s) for s in shape])) != len(data):
                raise Problem(
                    422,
                    "invalid_tensor",
                    f"The tensor {tensor.name!r} has shape {shape} but {len(data)} values.",
                    param=where,
                )
            if len(shape) == 1 or (len(shape) == 2 and shape[1] == 1):
                columns[tensor.name] = data
            elif len(shape) == 2 and shape[1] == len(names) and len(inputs) == 1:
                columns = {name: data[j :: len(names)] for j, name in enumerate(names)}
            else:
                raise Problem(
                    422,
                    "invalid_tensor",
                    f"The tensor {tensor.name!r} has shape {shape}. Send one tensor of shape [n] per column, "
                    f"or a single one of shape [n, {len(names)}].",
                    param=where,
                )
        if len({len(v) for v in columns.values()}) > 1:
            raise Problem(422, "invalid_tensor", "The input tensors have different numbers of rows.", param="inputs")
        return columns


def routes(server: Server) -> list[Route]:
    """The protocol's routes for one model."""
    from everymodel.interfaces.server.app import check_json, json_response, read_body

    protocol = Protocol(server)

    def known(request: Request) -> None:
        if request.path_params["name"] != protocol.name:
            raise Problem(404, "not_found", f"This server has one model, {protocol.name!r}.")

    async def about(request: Request) -> Response:
        return json_response({"name": "everymodel", "version": __version__, "extensions": []})

    async def live(request: Request) -> Response:
        return json_response({"live": True})

    async def ready(request: Request) -> Response:
        if "name" in request.path_params:
            known(request)
        return json_response({"ready": server.ready}, 200 if server.ready else 503)

    async def metadata(request: Request) -> Response:
        known(request)
        return json_response(protocol.metadata())

    async def infer(request: Request) -> Response:
        known(request)
        check_json(request.scope)
        body = await read_body(request.scope, request.receive, server.limits)
        return json_response(await server.aside(lambda: protocol.infer(body)))

    return [
        Route("/v2", about),
        Route("/v2/health/live", live),
        Route("/v2/health/ready", ready),
        Route("/v2/models/{name}", metadata),
        Route("/v2/models/{name}/ready", ready),
        Route("/v2/models/{name}/infer", infer, methods=["POST"]),
    ]
