"""everymodel serve: a saved model over REST."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from everymodel.core.errors import NotInstalledError
from everymodel.interfaces.cli.shell import Quiet, Verbose, examples, guarded
from everymodel.interfaces.cli.source import ModelFile

EXAMPLES = examples(
    "everymodel serve price.em",
    "everymodel serve price.em --host 0.0.0.0 --port 9000",
    """curl localhost:8000/v1/predict -H 'Content-Type: application/json' -d '{"row": {...}}'""",
)


@guarded
def command(
    model: ModelFile,
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 is reachable from other machines.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", "-p", min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    max_rows: Annotated[int, typer.Option(min=1, help="Most rows in one request.")] = 10_000,
    max_body: Annotated[int, typer.Option(min=1, help="Most bytes in one request.")] = 16 * 1024 * 1024,
    grace: Annotated[float, typer.Option(min=0, help="Seconds that running requests get when it is stopped.")] = 30.0,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Serve a saved model over REST, with a page to try it, until Ctrl-C."""
    from everymodel.core.optional import EXTRA_OF, installed

    absent = [p for p, extra in EXTRA_OF.items() if extra == "serve" and not installed(p)]
    if absent:
        raise NotInstalledError(
            f'Serving needs {", ".join(absent)}, not installed here. Run: pip install "everymodel[serve]"'
        )
    # -P: a file called numpy.py in the working folder must not be taken for the package.
    words = [sys.executable, "-P", "-m", "everymodel.interfaces.server", model, "--host", host, "--port", str(port)]
    words += ["--max-rows", str(max_rows), "--max-body", str(max_body), "--grace", str(grace)]
    words += ["--quiet"] * quiet + ["--verbose"] * verbose
    sys.stdout.flush()
    if os.name == "nt":  # there, exec would return to the shell at once
        import subprocess

        raise typer.Exit(subprocess.call(words))
    os.execv(sys.executable, words)
