"""The command line: one file per command. Heavy imports happen inside the commands, so that --help is instant."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code.

    0 it worked · 1 something the user can put right, said in one message · 2 the command was written wrongly ·
    130 stopped by Ctrl-C, with the best so far kept.
    """
    from everymodel.interfaces.cli.app import app

    app(args=None if arguments is None else list(arguments), prog_name="everymodel")


if __name__ == "__main__":
    sys.exit(main())
