"""A page that shows the API and tries it, with no file from anywhere else.

The form is drawn from the schema in the model file. Words from the file go through html.escape, data goes into a JSON
block that cannot close its own element, and the page's script only ever sets textContent. A content security policy
with hashes forbids all other scripts, styles and hosts.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from pathlib import Path
from string import Template
from typing import Any

from starlette.responses import Response

_FIELDS = 200  # drawn in the form; a table may have thousands of columns
_FOLDER = Path(__file__).with_name("page")
_STYLE, _SCRIPT, _PAGE, _SAMPLE_SCRIPT, _SAMPLE_PAGE, _CALL_SCRIPT, _CALL_PAGE = (
    _FOLDER.joinpath(name).read_text("utf-8")
    for name in ("docs.css", "docs.js", "docs.html", "sample.js", "sample.html", "call.js", "call.html")
)


def _hash(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


_SCRIPTS = " ".join(map(_hash, (_SCRIPT, _SAMPLE_SCRIPT, _CALL_SCRIPT)))
_POLICY = (
    f"default-src 'none'; script-src {_SCRIPTS}; style-src {_hash(_STYLE)}; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def _data(value: Any) -> str:
    """JSON for a <script type="application/json"> element, which only "</" or "<!--" could leave."""
    return json.dumps(value, ensure_ascii=False).replace("<", "\\u003c")


def _of_rows(document: dict[str, Any]) -> dict[str, Any]:
    """What the form of a row needs."""
    row = document["components"]["schemas"]["Row"]
    offered = document["components"]["schemas"]["PredictRequest"]["properties"]
    options: dict[str, Any] = {}
    if "proba" in offered:
        options["proba"] = True
    elif "interval" in offered:
        options["interval"] = 0.9
    return {
        "shown": list(row["properties"])[:_FIELDS],
        "hidden": max(0, len(row["properties"]) - _FIELDS),
        "properties": row["properties"],
        "example": row["examples"][0],
        "options": options,
    }


def _of_samples(document: dict[str, Any]) -> dict[str, Any]:
    """What the form of samples needs."""
    schemas = document["components"]["schemas"]
    makes = schemas["Samples"]["properties"]["makes"]["enum"][0]
    classes = schemas["SampleRequest"]["properties"]["condition"].get("x-classes", [])
    return {"makes": makes, "classes": classes, "n": {"images": 16, "rows": 10, "table": 10}.get(makes, 1)}


def _of_calls(document: dict[str, Any]) -> dict[str, Any]:
    """What the page of any other route needs: its path and a body to send there."""
    path, methods = next((p, m) for p, m in document["paths"].items() if "post" in m)
    body = methods["post"]["requestBody"]["content"]["application/json"]
    examples = [e["value"] for e in body.get("examples", {}).values()]
    wanted = document["components"]["schemas"][body["schema"]["$ref"].rpartition("/")[2]]["properties"]
    hints = [[name, str(told.get("description", ""))] for name, told in wanted.items()]
    return {"path": path, "body": examples[0] if examples else dict.fromkeys(wanted, ""), "fields": hints}


def page(document: dict[str, Any], card: dict[str, Any]) -> Response:
    """The page for one OpenAPI document."""
    if "/v1/sample" in document["paths"]:
        whole, script, told = _SAMPLE_PAGE, _SAMPLE_SCRIPT, _of_samples(document)
    elif "/v1/predict" in document["paths"]:
        whole, script, told = _PAGE, _SCRIPT, _of_rows(document)
    else:
        whole, script, told = _CALL_PAGE, _CALL_SCRIPT, _of_calls(document)
    routes = "".join(
        f'<tr><td><span class="method {method}">{method.upper()}</span> <code>{html.escape(path)}</code></td>'
        f"<td>{html.escape(what['summary'])}</td></tr>"
        for path, methods in document["paths"].items()
        for method, what in methods.items()
    )
    text = Template(whole).substitute(
        title=html.escape(document["info"]["title"]),
        description=html.escape(document["info"]["description"]),
        name=html.escape(str(card.get("name") or "model")),
        routes=routes,
        data=_data(told),
        style=_STYLE,
        script=script,
    )
    return Response(
        text,
        media_type="text/html",
        headers={
            "content-security-policy": _POLICY,
            "x-content-type-options": "nosniff",
            "referrer-policy": "no-referrer",
        },
    )
