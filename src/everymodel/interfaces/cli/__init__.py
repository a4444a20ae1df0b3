"""The command line: one file per command. Heavy imports happen inside the commands, so that --help is instant."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code.

    0 it worked · 1 something the user can put right, said in one message · 2 the command was written wrongly ·
    130 stopped by Ctrl-C, with the best so far kept.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        from everymodel.interfaces.cli import shell
        from everymodel.interfaces.cli.app import app
    except ModuleNotFoundError as error:  # installed without its dependencies, to answer with numpy alone
        print(f"Error: The command line needs the package {error.name}. Run: pip install everymodel", file=sys.stderr)
        print("Without it, everymodel.load(FILE) answers with numpy alone.", file=sys.stderr)
        sys.exit(1)
    if arguments is None:
        shell.this_process_is_one_command()
    if "--json" in words:
        sys.exit(shell.usage_as_json(app, words))
    app(args=words, prog_name="everymodel")


if __name__ == "__main__":
    sys.exit(main())
