"""The OpenAPI document and the JSON schema of a row, from the schema in the model file; no training row is in them."""

from __future__ import annotations

import datetime
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from everymodel import __version__
from everymodel.core.schema import FREE_TASKS, PIXEL_TASKS, SERIES_TASKS, STEP_TASKS, WRITTEN_TASKS, Column
from everymodel.interfaces.server import ahead
from everymodel.scoring import Model
from everymodel.scoring.graph_sets import GraphSetModel
from everymodel.scoring.graphs import reader
from everymodel.scoring.images import data_url

_LEVELS_SHOWN = 200


def example_value(column: Column, made_up: Sequence[Any] = ()) -> Any:
    """A typical cell of a column: the middle of the made-up cells that the file brings, else of the range seen."""
    if column.kind == "boolean":
        return column.levels[1] if len(column.levels) == 2 else True
    if column.kind == "category":
        return column.levels[0] if column.levels else ""
    if column.kind == "text":
        return "some text"
    if column.kind == "image":
        return data_url(np.full(column.shape, 128, dtype=np.uint8))
    if column.kind == "sequence":
        return [[0.0] * column.shape[1]] * 3 if column.shape[1] > 1 else [0.0, 0.0, 0.0]
    if column.low is None or column.high is None:
        return None if column.kind == "date" else 0
    known = sorted(v for v in made_up if isinstance(v, int | float) and math.isfinite(v))
    middle = known[len(known) // 2] if known else (column.low + column.high) / 2
    if column.kind == "date":
        return _date(middle, column.date_format, (column.low % 86400, column.high % 86400) == (0, 0))
    if column.integer:
        return round(middle)
    spread = (column.high - column.low) or abs(middle) or 1.0
    return round(middle, max(0, 2 - math.floor(math.log10(spread))))


def example_row(model: Model) -> dict[str, Any]:
    """A typical row. It is made up cell by cell, so it is no row of the training data."""
    told = model.manifest.get("background")
    cells = told if isinstance(told, dict) else {}
    named = {model.told["graph"]: "g1", model.told["node"]: "n1"} if isinstance(model, GraphSetModel) else {}
    return named | {
        c.name: example_value(c, cells[c.name] if isinstance(cells.get(c.name), list) else ())
        for c in model.schema.features
    }


def _date(seconds: float, pattern: str | None, whole_day: bool) -> str:
    moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=seconds)
    if pattern:
        return moment.strftime(pattern.partition("|")[0])
    return moment.date().isoformat() if whole_day else moment.replace(microsecond=0).isoformat()


def column_schema(column: Column, unseen: str, example: Any) -> dict[str, Any]:
    """JSON schema (2020-12) of one cell. Ranges are what was seen at fit, not limits, so they stand in words."""
    said: dict[str, Any] = {"examples": [example]}
    words = []
    if column.kind == "number":
        # Numbers written as text are read by the same rules as at fit: "1,200", "45%", "(3)".
        said["type"] = ["number", "string", "null"]
        if column.low is not None and column.high is not None:
            said["x-seen"] = {"low": column.low, "high": column.high}
            words.append(
                f"{'Whole numbers' if column.integer else 'Numbers'} from {column.low:g} to {column.high:g} were seen."
            )
        if column.percent:
            words.append("A plain number is a share: 0.45 is 45 %.")
    elif column.kind == "boolean":
        said["type"] = ["boolean", "string", "number", "null"]
        if len(column.levels) == 2:
            said["x-levels"] = list(column.levels)
            words.append(f"{column.levels[0]!r} or {column.levels[1]!r}; true and false are understood.")
    elif column.kind == "date":
        said["type"] = ["string", "null"]
        words.append(
            f"A date written as {column.date_format.replace('|', ' or ')}."
            if column.date_format
            else "A date or time in ISO 8601."
        )
        if column.low is not None and column.high is not None:
            said["x-seen"] = {"low": _date(column.low, None, False), "high": _date(column.high, None, False)}
    elif column.kind == "category":
        shown = list(column.levels[:_LEVELS_SHOWN])
        if unseen == "error" and len(column.levels) <= _LEVELS_SHOWN:
            # Levels may have been numbers or true/false in the user's table; their canonical text is what counts.
            said["anyOf"] = [{"enum": [*shown, None]}, {"type": ["number", "boolean"]}]
        else:
            said["type"] = ["string", "number", "boolean", "null"]
        said["x-levels" if len(column.levels) <= _LEVELS_SHOWN else "x-frequent-levels"] = shown
        if len(column.levels) > _LEVELS_SHOWN:
            words.append(f"{len(column.levels)} levels are known; the most frequent {_LEVELS_SHOWN} are listed.")
        words.append(
            "A level that is not known is refused." if unseen == "error" else "A level that is not known counts as new."
        )
    elif column.kind == "image":
        said["type"] = ["string", "array"]
        height, width, channels = column.shape
        words.append("An encoded image (PNG, JPEG, ...) as base64 text, or rows of pixels.")
        words.append(f"It is read as {height} x {width} pixels, {'grey' if channels == 1 else 'colour'}.")
    elif column.kind == "sequence":
        said["type"] = "array"
        words.append(f"A list of {'numbers' if column.shape[1] == 1 else f'steps of {column.shape[1]} numbers'}.")
    else:
        said["type"] = ["string", "null"]
    if column.missing:
        words.append(f"{column.missing:.1%} were missing at fit.")
    if words:
        said["description"] = " ".join(words)
    return said


def row_schema(model: Model) -> dict[str, Any]:
    """JSON schema of one row."""
    schema, example = model.schema, example_row(model)
    cells = {c.name: column_schema(c, schema.unseen, example[c.name]) for c in schema.features}
    required = list(cells)
    reads = reader(model)
    if reads is not None and reads.asked is not None:
        words = "The id of a node of the model's graph, or of a new one: then with the other fields, and `edges`."
        for told in cells.values():
            told.pop("anyOf", None)
            told |= {"type": ["string", "number"], "description": words}
        cells = {c.name: column_schema(c, "warn", example_value(c)) for c in reads.asked.features} | cells
    if isinstance(model, GraphSetModel):
        texts = {model.told["graph"]: "The graph that this node is of.", model.told["node"]: "The id of this node."}
        cells = {k: {"type": ["string", "number"], "description": v} for k, v in texts.items()} | cells
        required = list(cells)
    if model.task in PIXEL_TASKS:  # the shape in the schema is not that of the images
        for told in cells.values():
            told["description"] = "An encoded image (PNG, JPEG, ...) of any size as base64 text, or rows of pixels."
    return {
        "type": "object",
        "description": "One row. The order of the fields does not matter, and fields that are not known are ignored.",
        "properties": cells,
        "required": required,
        "additionalProperties": True,
        "examples": [example],
    }


def gives_probabilities(model: Model) -> bool:
    return model.task not in ("regression", "anomaly", "reduce", "embed") and model.pack.output == "probabilities"


def gives_intervals(model: Model) -> bool:
    return model.task == "regression" and bool(model.manifest.get("intervals")) and len(model.targets) == 1


def prediction_schema(model: Model) -> dict[str, Any]:
    """JSON schema of the answer for one row."""
    if model.task in FREE_TASKS:
        return _free_schema(model)
    labels = [str(c).lower() if isinstance(c, bool) else str(c) for c in model.classes or ()]
    if model.task in SERIES_TASKS or (model.task == "regression" and len(model.targets) > 1):
        value: dict[str, Any] = {
            "type": "object",
            "description": "The predicted values.",
            "properties": {name: {"type": "number"} for name in model.targets},
        }
    elif model.task == "regression":
        value = {"type": "number", "description": "The predicted value."}
    elif model.task == "multilabel":
        value = {
            "type": "object",
            "description": "1 for each label that applies, else 0.",
            "properties": {c: {"type": "integer", "enum": [0, 1]} for c in labels},
        }
    elif model.task in (*PIXEL_TASKS, *STEP_TASKS, *WRITTEN_TASKS):
        value = _value(model)
        return {"type": "object", "required": ["prediction"], "properties": {"prediction": value}}
    else:
        plain = [c.item() if hasattr(c, "item") else c for c in model.classes]
        value = {"enum": plain, "description": "The predicted class."}
    said: dict[str, Any] = {
        "type": "object",
        "required": ["prediction"],
        "properties": {
            "prediction": value,
            "explanation": {
                "type": "object",
                "description": "What each column adds to the answer, if explain was asked for.",
            },
        },
    }
    if model.task in SERIES_TASKS:
        del said["properties"]["explanation"]
        said["properties"]["interval"] = ahead.INTERVAL
        said["properties"]["times"] = {"type": "array", "description": "When, where no history was given."}
        said["properties"]["series"] = {"description": "Which series, where the model was made of several."}
    elif model.task == "regression":
        said["properties"]["interval"] = {
            "type": "object",
            "description": "Bounds that hold the true value with the given level, if interval was asked for.",
            "properties": {k: {"type": "number"} for k in ("level", "low", "high")},
        }
    else:
        said["properties"]["probabilities"] = {
            "type": "object",
            "description": "Probability of each class, if proba was asked for.",
            "properties": {c: {"type": "number", "minimum": 0, "maximum": 1} for c in labels},
        }
    return said


def _value(model: Model) -> dict[str, Any]:
    """JSON schema of what is said of one image or sentence."""
    if model.task in STEP_TASKS:
        tags = {"type": "array", "items": {"enum": list(model.classes)}}
        return {**tags, "description": "A tag for each word."}
    if model.task in WRITTEN_TASKS:
        return {"type": ["string", "array"], "description": "The text that was written."}
    plain = [c.item() if hasattr(c, "item") else c for c in model.classes]
    share = {"type": "number", "minimum": 0, "maximum": 1}
    if model.task == "segment":
        return {
            "type": "object",
            "required": ["mask", "shares"],
            "properties": {
                "mask": {
                    "type": "string",
                    "description": "A grey PNG in the size of the image, as a data URL; the value of a pixel is its "
                    f"class, one of {', '.join(map(str, plain[:40]))}.",
                },
                "shares": {
                    "type": "object",
                    "description": "The share of the pixels that each class has.",
                    "properties": {str(c): share for c in plain},
                },
            },
        }
    box = {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 4}
    return {
        "type": "array",
        "description": "The things that were found, best first.",
        "items": {
            "type": "object",
            "required": ["label", "score", "box"],
            "properties": {
                "label": {"enum": plain},
                "score": share,
                "box": {**box, "description": "Left, top, right and bottom in pixels of the image."},
            },
        },
    }


def _free_schema(model: Model) -> dict[str, Any]:
    """JSON schema of the answer for one row of a model that has no target."""
    explanation = {"type": "object", "description": "What each column adds to the answer, if explain was asked for."}
    if model.task in ("reduce", "embed"):
        made = {"type": "object", "description": "The new columns.", "required": model.columns,
                "properties": {name: {"type": "number"} for name in model.columns}}  # fmt: skip
        return {"type": "object", "required": ["columns"], "properties": {"columns": made, "explanation": explanation}}
    plain = [c.item() if hasattr(c, "item") else c for c in model.classes]
    if model.task == "anomaly":
        said = {
            "prediction": {"enum": plain, "description": "Whether the score is above the threshold."},
            "score": {"type": "number", "description": "How odd the row is; higher is odder."},
        }
        if isinstance(model.manifest.get("tail"), dict):
            text = "Share of ordinary rows that are odder still."
            said["tail"] = {"type": "number", "minimum": 0, "maximum": 1, "description": text}
        return {"type": "object", "required": ["prediction", "score"],
                "properties": {**said, "explanation": explanation}}  # fmt: skip
    told = "; ".join(f"{s['number']}: {s['name']}" for s in model.segments[:40])
    share = {"type": "number", "minimum": 0, "maximum": 1}
    return {
        "type": "object",
        "required": ["prediction", "name", "confidence"],
        "properties": {
            "prediction": {"enum": plain, "description": f"The group's number. {told}".strip()},
            "name": {"type": "string", "description": "The group's name."},
            "confidence": {**share, "description": "Membership in that group."},
            "probabilities": {
                "type": "object",
                "description": "Membership in each group, if proba was asked for.",
                "properties": {str(c): share for c in plain},
            },
            "explanation": explanation,
        },
    }


_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["type", "code", "message", "param", "fields", "request_id"],
            "properties": {
                "type": {"enum": ["invalid_request", "server_error"]},
                "code": {"type": "string", "description": "A stable word for programs."},
                "message": {"type": "string", "description": "What came, what was expected and what to do."},
                "param": {"type": ["string", "null"], "description": "Where in the request: row.age, rows[3].age."},
                "fields": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {"row": {"type": ["integer", "null"]}, "field": {}, "came": {}, "allowed": {}},
                    },
                },
                "request_id": {"type": "string"},
            },
        }
    },
}


def document(model: Model, max_rows: int, max_bytes: int) -> dict[str, Any]:
    """The OpenAPI 3.1 document of the server of `model`."""
    schema = model.schema
    row = example_row(model)
    options: dict[str, Any] = {
        "explain": {
            "type": ["boolean", "integer"],
            "default": False,
            "description": "What each column adds to the answer; a number keeps the strongest ones.",
        },
        "missing_columns": {
            "enum": ["error", "impute"],
            "default": "error",
            "description": "What to do when a row lacks a field: refuse it, or treat the field as missing.",
        },
        "unseen": {
            "enum": ["warn", "error", "ignore", None],
            "default": None,
            "description": f"What to do with categories never seen at fit; null: as chosen at fit ({schema.unseen}).",
        },
    }
    if model.task in SERIES_TASKS:
        options |= ahead.OPTIONS
    elif gives_intervals(model):
        options["interval"] = {
            "type": ["boolean", "number"],
            "default": False,
            "description": "Add an interval; true means the level 0.9.",
            "examples": [0.9],
        }
    if gives_probabilities(model):
        options["proba"] = {
            "type": "boolean",
            "default": False,
            "description": "Add the probability of each class.",
            "examples": [True],
        }
    if isinstance(model, GraphSetModel):
        options["edges"] = {
            "type": "array",
            "items": {"type": ["array", "object"]},
            "description": "Pairs of ids of nodes, [source, target] or [source, target, weight]; or an object for each "
            "edge, with the columns that the edges had. One answer is given for each graph.",
        }
    if reader(model) is not None:
        options["edges"] = {
            "type": ["array", "null"],
            "items": {"type": ["array", "object"]},
            "description": "New nodes: pairs of ids, [source, target] or [source, target, weight], between the rows or "
            "to nodes of the model's graph.",
        }
    asked = {name: options[name]["examples"][0] for name in ("interval", "proba") if name in options}
    many: dict[str, Any] = {"rows": [row, row]}
    if isinstance(model, GraphSetModel):
        asked["edges"] = []
        many = {"rows": [row, {**row, model.told["node"]: "n2"}], "edges": [["n1", "n2"]]}

    def answers(*codes: int, schema: dict[str, Any] | None = None, text: str = "The answer.") -> dict[str, Any]:
        head = {"X-Request-Id": {"schema": {"type": "string"}, "description": "Yours if you sent one, else made here."}}
        said: dict[str, Any] = {
            "200": {"description": text, "headers": head, "content": {"application/json": {"schema": schema or {}}}}
        }
        for code in codes:
            said[str(code)] = {"$ref": f"#/components/responses/E{code}"}
        return said

    def get(summary: str, word: str, **more: Any) -> dict[str, Any]:
        return {"get": {"summary": summary, "operationId": word, "responses": answers(**more)}}

    meanings = {
        400: "The body is not JSON.",
        408: "The body did not arrive in time.",
        409: "This model cannot do that.",
        413: f"More than {max_rows} rows or {max_bytes} bytes.",
        415: "The body is not said to be JSON.",
        422: "A row or option is not valid; `fields` names each cell, what came and what is allowed.",
        500: "The server failed; its log has the reason under the request id.",
    }
    ref = {"$ref": "#/components/schemas/Prediction"}
    notes = {
        "notes": {
            "type": "array",
            "description": "Cells that were taken in another way than they came, such as levels never seen.",
            "items": {"type": "object"},
        },
        "request_id": {"type": "string"},
    }
    card = model.card()
    return {
        "openapi": "3.1.0",
        "info": {
            "title": str(card.get("title") or card.get("name") or "everymodel"),
            "version": __version__,
            "description": str(card.get("headline") or "A model served by everymodel."),
        },
        "servers": [{"url": "/"}],
        "paths": {
            "/v1/predict": {
                "post": {
                    "summary": "Answer one row or many",
                    "operationId": "predict",
                    "requestBody": {
                        "required": True,
                        "content": {
                            "application/json": {
                                "schema": {"$ref": "#/components/schemas/PredictRequest"},
                                "examples": {
                                    "one": {"summary": "One row", "value": {"row": row, **asked}},
                                    "many": {"summary": "Many rows", "value": many},
                                },
                            }
                        },
                    },
                    "responses": answers(
                        400,
                        408,
                        409,
                        413,
                        415,
                        422,
                        500,
                        text="A prediction for one row, predictions in the order of the rows for many.",
                        schema={
                            "anyOf": [
                                {
                                    "allOf": [ref, {"type": "object", "properties": notes}],
                                    "description": "For one row.",
                                },
                                {
                                    "type": "object",
                                    "description": "For many rows.",
                                    "required": ["predictions"],
                                    "properties": {"predictions": {"type": "array", "items": ref}, **notes},
                                },
                            ]
                        },
                    ),
                }
            },
            "/v1/model": get("The model's card", "model", schema={"type": "object"}),
            "/v1/model/schema": get("JSON schema of a row", "schema", schema={"type": "object"}),
            "/healthz": get("Whether the server is up", "health", schema={"type": "object"}),
            "/metrics": {
                "get": {
                    "summary": "Counters in Prometheus' text format",
                    "operationId": "metrics",
                    "responses": {"200": {"description": "The counters.", "content": {"text/plain": {}}}},
                }
            },
        },
        "components": {
            "schemas": {
                "Row": row_schema(model),
                "PredictRequest": {
                    "type": "object",
                    "properties": {
                        "row": {"$ref": "#/components/schemas/Row"},
                        "rows": {
                            "type": "array",
                            "items": {"$ref": "#/components/schemas/Row"},
                            "maxItems": max_rows,
                        },
                        **options,
                    },
                    "oneOf": [
                        {"required": ["row"]},
                        {"required": ["rows"]},
                        *(
                            [
                                {
                                    "required": ["horizon"],
                                    "not": {"anyOf": [{"required": ["row"]}, {"required": ["rows"]}]},
                                }
                            ]
                            if model.task in SERIES_TASKS
                            else []
                        ),
                    ],
                },
                "Prediction": prediction_schema(model),
                "Error": _ERROR,
            },
            "responses": {
                f"E{code}": {
                    "description": text,
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
                }
                for code, text in meanings.items()
            },
        },
    }
