"""`python -m everymodel.interfaces.server price.em`: the process that `everymodel serve` becomes."""

from __future__ import annotations

import argparse
import sys

from everymodel.core.errors import EverymodelError, ParameterError


def _arguments(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="everymodel serve", description="Serve a model file over REST.")
    parser.add_argument("file")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free one")
    parser.add_argument("--max-rows", type=int, default=10_000)
    parser.add_argument("--max-body", type=int, default=16 * 1024 * 1024, help="bytes")
    parser.add_argument("--grace", type=float, default=30.0, help="seconds that running requests get at the end")
    parser.add_argument("--quiet", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    return parser.parse_args(words)


def main(words: list[str] | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C; 0 when it ended well, 1 with one message when it could not start."""
    options = _arguments(words)
    try:
        from everymodel.interfaces.server.run import serve

        serve(
            options.file,
            host=options.host,
            port=options.port,
            max_rows=options.max_rows,
            max_body=options.max_body,
            grace=options.grace,
            quiet=options.quiet,
            verbose=options.verbose,
        )
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("everymodel"):
            raise
        print(
            f"Error: serving needs the package {error.name}, which is not installed. "
            'Run: pip install "everymodel[serve]"',
            file=sys.stderr,
        )
        return 1
    except (EverymodelError, ParameterError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"Error: {error.filename or options.file}: {error.strerror or error}.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
