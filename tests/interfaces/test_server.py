# ruff: noqa: E402 - what may be absent is looked for first
"""The server's routes, limits and error shape, called in process over ASGI."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

import httpx
import pytest

pytest.importorskip("starlette")
msgspec = pytest.importorskip("msgspec")

from hand_models import ROW, churn_model, labels_model, price_model, two_values_model

from everymodel.core.schema import Column
from everymodel.interfaces.server import Limits, make_app
from everymodel.interfaces.server.app import App, Together
from everymodel.scoring import Model


class Client:
    """Calls an application without a network; `many` sends requests at the same moment."""

    def __init__(self, model: Model, **limits: Any):
        self.app: App = make_app(model, Limits(**limits))

    def many(self, *calls: tuple[str, str, dict[str, Any]]) -> list[httpx.Response]:
        async def run() -> list[httpx.Response]:
            transport = httpx.ASGITransport(self.app)  # type: ignore[arg-type]
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                return await asyncio.gather(*(client.request(m, path, **kw) for m, path, kw in calls))

        return asyncio.run(run())

    def get(self, path: str, **kw: Any) -> httpx.Response:
        return self.many(("GET", path, kw))[0]

    def post(self, path: str, **kw: Any) -> httpx.Response:
        return self.many(("POST", path, kw))[0]

    def predict(self, **body: Any) -> httpx.Response:
        return self.post("/v1/predict", json=body)


@pytest.fixture(scope="module")
def price() -> Client:
    return Client(price_model())


@pytest.fixture(scope="module")
def churn() -> Client:
    return Client(churn_model())


def is_error(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The error inside, after checking that its shape is the one shape."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert set(body) == {"error"}
    error = body["error"]
    assert set(error) == {"type", "code", "message", "param", "fields", "request_id"}
    assert error["type"] == ("server_error" if status >= 500 else "invalid_request")
    assert error["code"] == code
    assert error["request_id"] == response.headers["x-request-id"]
    return error


# ---- answers --------------------------------------------------------------------------------------------------------


def test_one_row_answers_like_the_model(price: Client) -> None:
    body = price.predict(row=ROW).json()
    assert body["prediction"] == price_model().predict(ROW) == 3000 + 805 + 500 + 100
    assert set(body) == {"prediction", "request_id"}


def test_many_rows_answer_in_their_order(price: Client) -> None:
    rows = [{**ROW, "rooms": r} for r in range(1, 60)]  # more than are answered on the event loop
    told = price.predict(rows=rows).json()["predictions"]
    assert [t["prediction"] for t in told] == [1405.0 + 1000 * r for r in range(1, 60)]


def test_no_rows_are_no_predictions(price: Client) -> None:
    assert price.predict(rows=[]).json()["predictions"] == []


def test_numbers_written_as_text_are_read_as_at_fit(price: Client) -> None:
    plain = price.predict(row={**ROW, "area": 1200}).json()["prediction"]
    assert price.predict(row={**ROW, "area": "1,200"}).json()["prediction"] == plain
    assert price.predict(row={**ROW, "area": "1200.0"}).json()["prediction"] == plain


def test_null_is_missing_and_is_imputed(price: Client) -> None:
    with_null = price.predict(row={**ROW, "rooms": None}).json()["prediction"]
    assert with_null == price.predict(row={**ROW, "rooms": 4}).json()["prediction"]  # 4 fills missing rooms


def test_unseen_level_is_answered_and_noted(price: Client) -> None:
    body = price.predict(row={**ROW, "city": "Ulm"}).json()
    assert body["notes"][0]["field"] == "city" and body["notes"][0]["came"] == "Ulm"
    assert "notes" not in price.predict(row={**ROW, "city": "Ulm"}, unseen="ignore").json()


def test_unseen_level_is_refused_where_the_model_says_so() -> None:
    error = is_error(Client(price_model(unseen="error")).predict(row={**ROW, "city": "Ulm"}), 422, "schema_mismatch")
    assert error["param"] == "row.city"
    assert error["fields"][0]["allowed"] == ["Bonn", "Köln", "Aachen"]


def test_interval(price: Client) -> None:
    told = price.predict(row=ROW, interval=True).json()
    assert told["interval"] == {"level": 0.9, "low": told["prediction"] - 400, "high": told["prediction"] + 400}
    half = price.predict(row=ROW, interval=0.5).json()
    assert half["interval"]["high"] - half["prediction"] == 100
    for level in (0, 1, 1.5, -0.1):
        is_error(price.predict(row=ROW, interval=level), 422, "invalid_parameter")


def test_explanation_adds_up(price: Client) -> None:
    why = price.predict(row=ROW, explain=True).json()["explanation"]
    parts = sum(p["contribution"] for p in why["contributions"])
    assert why["base"] + parts + why["rest"] == pytest.approx(why["answer"], abs=1e-6)
    two = price.predict(rows=[ROW, ROW], explain=2).json()["predictions"]
    assert [len(t["explanation"]["contributions"]) for t in two] == [2, 2]
    is_error(price.predict(row=ROW, explain=0), 422, "invalid_parameter")
    is_error(price.predict(rows=[ROW] * 101, explain=True), 422, "invalid_parameter")


def test_probabilities(churn: Client) -> None:
    told = churn.predict(row={**ROW, "rooms": 5}, proba=True).json()
    assert told["prediction"] == "yes"
    p = 1 / (1 + math.exp(-1.5))
    assert told["probabilities"] == {"no": pytest.approx(1 - p), "yes": pytest.approx(p)}


@pytest.mark.parametrize(
    ("classes", "expected"), [((0, 1), 1), ((False, True), True), ((1.5, 2.5), 2.5), (("no", "yes"), "yes")]
)
def test_labels_keep_their_type(classes: tuple, expected: Any) -> None:
    told = Client(churn_model(classes)).predict(row={**ROW, "rooms": 9}).json()["prediction"]
    assert told == expected and type(told) is type(expected)


def test_multilabel_names_each_label() -> None:
    told = Client(labels_model()).predict(row={**ROW, "rooms": 9}, proba=True).json()
    assert told["prediction"] == {"a": 1, "b": 0}
    assert set(told["probabilities"]) == {"a", "b"}


def test_what_the_model_cannot_do(price: Client, churn: Client) -> None:
    is_error(price.predict(row=ROW, proba=True), 409, "not_supported")
    is_error(churn.predict(row=ROW, interval=0.9), 409, "not_supported")


# ---- what is refused ------------------------------------------------------------------------------------------------


def test_bad_cell_names_field_what_came_and_what_is_allowed(price: Client) -> None:
    error = is_error(price.predict(rows=[ROW, {**ROW, "rooms": "old"}]), 422, "schema_mismatch")
    assert error["param"] == "rows[1].rooms"
    assert error["fields"][0]["row"] == 1 and error["fields"][0]["came"] == "old"
    assert "number" in error["fields"][0]["allowed"]
    assert "rooms" in error["message"] and "old" in error["message"]


@pytest.mark.parametrize(
    "cell", [[1, 2], {"a": 1}, "12 apples", 10**400, -(10**400), "1e999", True and "maybe"], ids=lambda c: str(c)[:12]
)
def test_no_cell_breaks_the_server(price: Client, cell: Any) -> None:
    error = is_error(
        price.post("/v1/predict", content=json.dumps({"row": {**ROW, "rooms": cell}})), 422, "schema_mismatch"
    )
    assert error["fields"][0]["field"] == "rooms"


def test_a_row_of_lists_is_not_taken_for_columns(price: Client) -> None:
    is_error(price.predict(row={name: [cell, cell] for name, cell in ROW.items()}), 422, "schema_mismatch")


def test_missing_field_is_named_and_imputed_only_if_asked(price: Client) -> None:
    short = {k: v for k, v in ROW.items() if k != "area"}
    error = is_error(price.predict(row={**short, "Area": 3}), 422, "schema_mismatch")
    assert error["fields"][0]["field"] == "area" and error["param"] == "row.area"
    told = price.predict(row=short, missing_columns="impute").json()
    assert told["prediction"] == price.predict(row={**ROW, "area": 100}).json()["prediction"]
    assert told["notes"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "malformed_json"),
        (b"", 400, "malformed_json"),
        (b"{", 400, "malformed_json"),
        (b'{"row": NaN}', 400, "malformed_json"),
        (b"\xff\xfe", 400, "malformed_json"),
        (b'{"row": {"city": "\xff"}}', 400, "malformed_json"),
        (b'{"row": ' + b"[" * 100_000, 400, None),
        (b"[]", 422, "invalid_request_body"),
        (b"null", 422, "invalid_request_body"),
        (b"{}", 422, "invalid_request_body"),
        (b'{"row": [1]}', 422, "invalid_request_body"),
        (b'{"rows": [1]}', 422, "invalid_request_body"),
        (b'{"row": {}, "rows": []}', 422, "invalid_request_body"),
        (b'{"rows": [], "rws": 1}', 422, "invalid_request_body"),
        (b'{"rows": [], "unseen": "x"}', 422, "invalid_parameter"),
        (b'{"rows": [], "missing_columns": "x"}', 422, "invalid_parameter"),
        (b'{"rows": [], "proba": 3}', 422, "invalid_request_body"),
    ],
)
def test_bad_bodies(price: Client, body: bytes, status: int, code: str | None) -> None:
    response = price.post("/v1/predict", content=body)
    if code is None:
        assert response.status_code in (400, 422)
    else:
        is_error(response, status, code)


def test_unknown_option_is_named(price: Client) -> None:
    assert is_error(price.predict(row=ROW, probs=True), 422, "invalid_request_body")["param"] == "probs"


def test_media_types(price: Client) -> None:
    body = json.dumps({"row": ROW})
    form = {"content-type": "application/x-www-form-urlencoded"}
    is_error(price.post("/v1/predict", content=body, headers=form), 415, "unsupported_media_type")
    zipped = {"content-type": "application/json", "content-encoding": "gzip"}
    is_error(price.post("/v1/predict", content=body, headers=zipped), 415, "unsupported_media_type")
    for good in ("application/json; charset=utf-8", "application/vnd.shop+json", "Application/JSON"):
        assert price.post("/v1/predict", content=body, headers={"content-type": good}).status_code == 200


def test_caps_on_rows_and_bytes() -> None:
    client = Client(price_model(), rows=3, body_bytes=2000)
    assert client.predict(rows=[ROW] * 3).status_code == 200
    is_error(client.predict(rows=[ROW] * 4), 413, "too_many_rows")
    is_error(client.predict(row={**ROW, "note": "x" * 3000}), 413, "body_too_large")

    async def chunks() -> Any:
        for _ in range(30):
            yield b" " * 100

    # Without a Content-Length the bytes are counted as they come.
    is_error(
        client.post("/v1/predict", content=chunks(), headers={"content-type": "application/json"}),
        413,
        "body_too_large",
    )


def test_a_body_that_never_comes_times_out() -> None:
    app, sent = make_app(price_model(), Limits(body_seconds=0.05)), []

    async def receive() -> Any:
        await asyncio.sleep(10)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/predict", "headers": [], "query_string": b""}
    asyncio.run(app(scope, receive, send))
    assert sent[0]["status"] == 408
    assert json.loads(sent[1]["body"])["error"]["code"] == "body_timeout"


def test_unknown_paths_and_methods(price: Client) -> None:
    is_error(price.get("/nope"), 404, "not_found")
    is_error(price.get("/v1/models/../../etc/passwd"), 404, "not_found")
    response = price.get("/v1/predict")
    is_error(response, 405, "method_not_allowed")
    assert response.headers["allow"] == "POST"
    is_error(price.post("/healthz"), 405, "method_not_allowed")


def test_a_failure_inside_tells_nothing_but_the_request_id(caplog: pytest.LogCaptureFixture) -> None:
    model = price_model()
    client = Client(model)
    model.answers = lambda batch: 1 / 0  # type: ignore[method-assign,assignment]
    error = is_error(client.predict(row=ROW), 500, "internal_error")
    assert "division" not in error["message"]
    assert error["request_id"] in caplog.text and "ZeroDivisionError" in caplog.text


def test_request_ids(price: Client) -> None:
    assert price.get("/healthz", headers={"x-request-id": "order-17"}).headers["x-request-id"] == "order-17"
    assert price.predict(row=ROW).headers["x-request-id"] != price.predict(row=ROW).headers["x-request-id"]
    forged = price.get("/healthz", headers={"x-request-id": "<script>" * 50}).headers["x-request-id"]
    assert "<" not in forged


# ---- rows answered together -----------------------------------------------------------------------------------------


def test_rows_that_come_together_are_answered_together_and_each_by_itself() -> None:
    model = price_model()
    client = Client(model)
    client.app.server.together = Together(client.app.server.answerer)
    sizes: list[int] = []
    answers = model.answers
    model.answers = lambda batch: sizes.append(batch.n) or answers(batch)  # type: ignore[method-assign,assignment,func-returns-value]
    calls = [("POST", "/v1/predict", {"json": {"row": {**ROW, "rooms": r}}}) for r in (1, 2, "bad", 4, 5)]
    came = client.many(*calls)
    assert [r.status_code for r in came] == [200, 200, 422, 200, 200]
    assert [r.json()["prediction"] for r in came if r.status_code == 200] == [1405.0 + 1000 * r for r in (1, 2, 4, 5)]
    assert max(sizes) > 1 and sum(sizes) == 4


# ---- what the server says about itself ------------------------------------------------------------------------------


def test_card_and_health(price: Client) -> None:
    card = price.get("/v1/model").json()
    assert card["title"] == "Price of a house" and card["task"] == "regression"
    assert "background" not in card
    assert price.get("/healthz").json() == {"status": "ok"}


def test_openapi_describes_rows_that_the_server_takes(price: Client, churn: Client) -> None:
    for client in (price, churn):
        document = client.get("/openapi.json").json()
        assert document["openapi"].startswith("3.1")
        post = document["paths"]["/v1/predict"]["post"]
        for example in post["requestBody"]["content"]["application/json"]["examples"].values():
            assert client.post("/v1/predict", json=example["value"]).status_code == 200
        row = document["components"]["schemas"]["Row"]
        assert row["required"] == ["rooms", "area", "city", "garden", "built"]
        assert row["properties"]["city"]["x-levels"] == ["Bonn", "Köln", "Aachen"]
        assert row["properties"]["rooms"]["x-seen"] == {"low": 1, "high": 9}
        assert set(post["responses"]) >= {"200", "400", "413", "415", "422"}
        references = [part for part in json.dumps(document).split('"') if part.startswith("#/")]
        for reference in references:
            node: Any = document
            for word in reference[2:].split("/"):
                node = node[word]
    assert price.get("/v1/model/schema").json() == row


@pytest.mark.parametrize("make", [price_model, churn_model, labels_model, two_values_model])
def test_the_documents_say_what_the_answers_are(make: Callable[[], Model]) -> None:
    client = Client(make())
    said = client.predict(row={**ROW, "rooms": 9}).json()["prediction"]
    schema = client.get("/openapi.json").json()["components"]["schemas"]["Prediction"]["properties"]["prediction"]
    if "enum" in schema:
        assert said in schema["enum"]
    else:
        assert schema["type"] == ("object" if isinstance(said, dict) else "number")
        assert set(schema.get("properties", ())) == (set(said) if isinstance(said, dict) else set())
    name = client.app.server.metrics.model
    promised = client.get(f"/v2/models/{name}").json()["outputs"]
    given = client.post(f"/v2/models/{name}/infer", json={"inputs": tensors(3)}).json()["outputs"]
    assert [(o["name"], o["datatype"], [3, *o["shape"][1:]]) for o in promised] == [
        (o["name"], o["datatype"], o["shape"]) for o in given
    ]
    for output in given:
        assert len(output["data"]) == math.prod(output["shape"])


def test_options_that_cannot_be_are_not_offered(price: Client, churn: Client) -> None:
    def offered(client: Client) -> set[str]:
        return set(client.get("/openapi.json").json()["components"]["schemas"]["PredictRequest"]["properties"])

    assert "interval" in offered(price) and "proba" not in offered(price)
    assert "proba" in offered(churn) and "interval" not in offered(churn)


def test_wide_tables_and_long_lists_of_levels_stay_usable() -> None:
    """10,000 columns and a category of 100,000 levels: documents of bounded size, and rows are answered."""
    levels = tuple(f"level {i}" for i in range(100_000))
    more = tuple(Column(f"n{i}", "number", low=0, high=1) for i in range(10_000))
    model = price_model()
    model.schema = replace(
        model.schema, columns=(*model.schema.columns, *more, Column("many", "category", levels=levels))
    )
    client = Client(model)
    properties = client.get("/openapi.json").json()["components"]["schemas"]["Row"]["properties"]
    assert len(properties) == 10_006
    assert len(properties["many"]["x-frequent-levels"]) == 200 and "x-levels" not in properties["many"]
    assert len(client.get("/docs").content) < 8_000_000
    assert client.predict(row={**ROW, "many": "level 99999", **{c.name: 0 for c in more}}).json()["prediction"] == 4405


def test_docs_page_needs_nothing_from_elsewhere_and_escapes_names() -> None:
    model = price_model()
    model.manifest["title"] = "<script>alert(1)</script>"
    model.manifest["headline"] = "</script><img src=x>"
    response = Client(model).get("/docs")
    assert response.headers["content-type"].startswith("text/html")
    assert "<script>alert" not in response.text and "<img" not in response.text
    assert "http://" not in response.text.replace("http://www.w3.org", "") and "https://" not in response.text
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy


def test_metrics_count(price: Client) -> None:
    client = Client(price_model())
    client.predict(row=ROW)
    client.predict(rows=[ROW] * 5)
    client.predict(row={})
    client.get("/nope/" + "x" * 50)
    text = client.get("/metrics").text
    assert 'everymodel_requests_total{route="/v1/predict",method="POST",status="200"} 2' in text
    assert 'everymodel_requests_total{route="/v1/predict",method="POST",status="422"} 1' in text
    assert 'everymodel_requests_total{route="unknown",method="GET",status="404"} 1' in text
    assert "everymodel_rows_total 6" in text
    assert "xxxx" not in text  # paths made up by callers never become labels
    assert 'everymodel_request_seconds_bucket{route="/v1/predict",le="+Inf"} 3' in text
    for line in text.splitlines():
        assert line.startswith("# ") or (len(line.rsplit(" ", 1)) == 2 and float(line.rsplit(" ", 1)[1]) >= 0)


# ---- Open Inference Protocol ----------------------------------------------------------------------------------------


def tensors(n: int = 1) -> list[dict[str, Any]]:
    return [{"name": k, "shape": [n], "datatype": "BYTES", "data": [v] * n} for k, v in ROW.items()]


def test_inference_protocol(price: Client, churn: Client) -> None:
    assert price.get("/v2").json()["name"] == "everymodel"
    assert price.get("/v2/health/live").status_code == price.get("/v2/health/ready").status_code == 200
    assert price.get("/v2/models/price/ready").status_code == 200
    assert [t["name"] for t in price.get("/v2/models/price").json()["inputs"]] == list(ROW)
    told = price.post("/v2/models/price/infer", json={"id": "7", "inputs": tensors(2)}).json()
    assert told["id"] == "7" and told["model_name"] == "price"
    assert told["outputs"] == [{"name": "prediction", "shape": [2], "datatype": "FP64", "data": [4405.0, 4405.0]}]
    told = churn.post(
        "/v2/models/churn/infer", json={"inputs": tensors(), "outputs": [{"name": "probabilities"}]}
    ).json()
    assert told["outputs"][0]["shape"] == [1, 2] and sum(told["outputs"][0]["data"]) == pytest.approx(1)


def test_inference_protocol_refuses(price: Client) -> None:
    url = "/v2/models/price/infer"
    is_error(price.post("/v2/models/other/infer", json={"inputs": tensors()}), 404, "not_found")
    is_error(price.post(url, json={"inputs": []}), 422, "invalid_request_body")
    is_error(price.post(url, json={"inputs": tensors()[:2]}), 422, "schema_mismatch")
    for wrong in (
        {"shape": [2]},
        {"shape": [-1]},
        {"datatype": "COMPLEX"},
        {"shape": [1, 1, 1]},
        {"shape": []},
        {"data": [[1], 2]},
    ):
        is_error(price.post(url, json={"inputs": [{**tensors()[0], **wrong}, *tensors()[1:]]}), 422, "invalid_tensor")
    is_error(price.post(url, json={"inputs": tensors(), "outputs": [{"name": "x"}]}), 422, "unknown_output")


# ---- anything at all ------------------------------------------------------------------------------------------------


def test_made_up_requests_never_break_the_server(price: Client, churn: Client) -> None:
    """Random cells, keys, options and mutilated bytes: an answer or a refusal, never a failure of the server."""
    random = Random(0)
    cells = [None, True, False, 0, -1, 3, 1e308, -1e-308, 10**30, "", " ", "NaN", "inf", "1,200", "1.2.3", "٣"]
    cells += ["\x00", "é" * 9, [], {}, [[]], {"a": []}, "2020-13-45", "31.02.2020", "01.01.0001", "01.01.9999"]
    cells += ["yes", "YES", "ja", "Bonn", "<b>"]
    options = {
        "proba": [True, False, 1, "x"],
        "interval": [True, 0.5, 0, 1, -1, 1e300, "0.9", None],
        "explain": [True, False, 1, 0, -5, 10**20, 0.5],
        "missing_columns": ["impute", "error", None, "", 3],
        "unseen": ["warn", "ignore", "error", None, "", []],
        "other": [1],
    }

    def row() -> dict:
        names = [*ROW, "x", "", "rooms "]
        return {name: random.choice(cells) for name in random.sample(names, random.randint(0, len(names)))}

    calls = []
    for _ in range(400):
        near = {**ROW, random.choice(list(ROW)): random.choice(cells)}
        kind = random.choice(["row", "rows"])
        given = random.choice([near, row()])
        body: dict = {kind: given if kind == "row" else [given, *(row() for _ in range(random.randint(0, 3)))]}
        for name in random.sample(list(options), random.randint(0, 2)):
            body[name] = random.choice(options[name])
        raw = bytearray(json.dumps(body).encode())
        if random.random() < 0.3:
            raw[random.randrange(len(raw))] = random.randrange(256)
        calls.append(("POST", "/v1/predict", {"content": bytes(raw)}))
    seen = set()
    for client in (price, churn):
        for response in client.many(*calls):
            seen.add(response.status_code)
            assert response.status_code in (200, 400, 409, 422), response.text
            body = response.json()
            assert body.get("error") or "prediction" in body or "predictions" in body
    assert seen >= {200, 400, 422}
