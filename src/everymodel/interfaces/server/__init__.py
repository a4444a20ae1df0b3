"""The REST server: a model file answered over HTTP by its pack, with numpy alone.

`make_app(model)` gives an ASGI application for any server; `python -m everymodel.interfaces.server price.em` runs one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from everymodel.interfaces.server.app import Limits, make_app

__all__ = ["Limits", "make_app"]


def __getattr__(name: str) -> Any:
    # Late, so that the command line of the server can name missing packages before they are imported.
    if name in __all__:
        from everymodel.interfaces.server import app

        return getattr(app, name)
    raise AttributeError(name)
