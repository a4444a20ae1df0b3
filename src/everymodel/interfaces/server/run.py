"""Opens a model file and runs the application under uvicorn until it is told to stop."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import sys
from collections.abc import Callable

import uvicorn

from everymodel.core.errors import ParameterError
from everymodel.core.settings import Settings
from everymodel.interfaces.server import act
from everymodel.interfaces.server.app import Limits, make_app
from everymodel.interfaces.server.openapi import example_row
from everymodel.scoring import Model, load
from everymodel.scoring.agent import Agent


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; ParameterError when the address cannot be had."""
    if not 0 <= port <= 65535:  # the resolver would take it modulo 65536
        raise ParameterError(f"--port {port}: expected a number from 0 to 65535.")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except socket.gaierror as error:
        raise ParameterError(f"--host {host}: {error.strerror}. Use 127.0.0.1 or 0.0.0.0.") from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            reason = "another program listens there. Choose another --port, or --port 0 for a free one"
        elif error.errno == errno.EACCES:
            reason = "you may not use it. Choose a --port above 1023"
        else:
            reason = error.strerror or str(error)
        raise ParameterError(f"Cannot serve on {host}:{port}: {reason}.") from error
    return listener


def serve(
    path: str,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    max_rows: int = 10_000,
    max_body: int = 16 * 1024 * 1024,
    grace: float = 30.0,
    quiet: bool = False,
    verbose: bool = False,
) -> None:
    """Serve the model file at `path`; returns after SIGTERM or Ctrl-C, when running requests have been answered."""
    model = load(path)
    app = make_app(model, Limits(body_bytes=max_body, rows=max_rows, threads=Settings.load().cores()))
    listener = listen(host, port)
    config = uvicorn.Config(
        app,
        lifespan="on",
        log_level="info" if verbose else "warning",
        access_log=verbose,
        server_header=False,
        proxy_headers=False,  # nothing here depends on who calls
        ws="none",
        timeout_graceful_shutdown=max(1, round(grace)),
    )

    def greet() -> None:
        if not quiet:
            _greet(path, host, listener.getsockname()[1], *asking(model))

    # uvicorn passes the signal that stopped it on when all requests have been answered; that is a good end.
    signal.signal(signal.SIGTERM, _leave)
    with listener:
        try:
            _Server(config, greet).run(sockets=[listener])
        except KeyboardInterrupt:
            pass
    if not quiet:
        print("Stopped.", file=sys.stderr)


class _Server(uvicorn.Server):
    """Says where it is once it can be reached, not before."""

    def __init__(self, config: uvicorn.Config, greet: Callable[[], None]):
        super().__init__(config)
        self.greet = greet

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            self.greet()


def _leave(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def asking(model: Model) -> tuple[str, str, str]:
    """(what the first request asks for, its route's word, its body)."""
    if model.task == "generate":
        return "four samples   ", "sample", '{"n": 4}'
    if model.task == "enhance":
        return "a larger image ", "enhance", '{"image": "<base64>"}'
    if isinstance(model, Agent):
        body = json.dumps(act.example(model))
        return "one action     ", "act", body if len(body) <= 600 else '{"observation": [...]}'
    body = json.dumps({"row": example_row(model)}, ensure_ascii=False)
    return "one prediction ", "predict", body if len(body) <= 600 else '{"row": {...}}'


def _greet(path: str, host: str, port: int, asks: str, verb: str, body: str) -> None:
    shown = f"[{host}]" if ":" in host else host
    base = f"http://{shown}:{port}"
    body = body.replace("'", "'\\''")
    print(
        f"Serving {path} on {base} (Ctrl-C stops)\n"
        f"  try it in a browser   {base}/docs\n"
        f"  API description       {base}/openapi.json\n"
        f"  {asks}       curl {base}/v1/{verb} -H 'Content-Type: application/json' -d '{body}'",
        file=sys.stderr,
        flush=True,
    )
    if host not in ("127.0.0.1", "localhost", "::1"):
        print("  Anyone who can reach this address may use it: there is no password.", file=sys.stderr, flush=True)
