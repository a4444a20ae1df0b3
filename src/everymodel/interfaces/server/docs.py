"""A page that shows the API and tries it, with no file from anywhere else."""

from __future__ import annotations

import html
from typing import Any

from starlette.responses import Response


def page(document: dict[str, Any], card: dict[str, Any]) -> Response:
    return Response(f"<h1>{html.escape(document['info']['title'])}</h1>", media_type="text/html")
