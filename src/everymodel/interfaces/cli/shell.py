"""What all commands share: where words go, how errors end, how answers become JSON.

Answers go to standard output, everything else to standard error, so that `--json` and `-o -` can be piped.
"""

from __future__ import annotations

import functools
import io
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from everymodel.core.errors import CapabilityError, EverymodelError, Interrupted, UserError

if TYPE_CHECKING:
    from rich.console import Console

STARTUP = 0.35  # seconds before a command begins, where the system does not tell
_began: float | None = None  # on time.monotonic's clock, when this process is one command

Json = Annotated[bool, typer.Option("--json", help="Print the answer as JSON, and nothing else, on standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say only the answer and errors.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say more; show the traceback of an error.")]


def examples(*lines: str, title: str = "Examples") -> str:
    """The end of a command's --help."""
    shown = [f"  [dim]$[/dim] [cyan]{line.replace('[', chr(92) + '[')}[/cyan]" for line in lines]
    return "\n\n".join([f"[bold]{title}[/bold]", *shown])


def model_names(incomplete: str) -> list[str]:
    """For shell completion: names of models that begin like this."""
    from everymodel import catalog

    return sorted({card.name for card in catalog.cards() if card.name.startswith(incomplete)})


def console(stderr: bool = False) -> Console:
    """A console on standard output or error, made anew so that redirection in tests is seen."""
    from rich.console import Console

    made = Console(stderr=stderr, highlight=False, soft_wrap=False)
    if not made.is_terminal:
        made = Console(stderr=stderr, highlight=False, width=int(os.environ.get("COLUMNS", "100")))
    return made


def say(text: str, quiet: bool = False) -> None:
    """One line for the person in front of the terminal; rich markup is not read."""
    if not quiet:
        print(text, file=sys.stderr, flush=True)


def this_process_is_one_command() -> None:
    """Called by the entry point: the time of the command counts from the start of its process."""
    global _began
    try:
        fields = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, AttributeError, IndexError):
        age = STARTUP
    # A shell that ends in this command hands over its process, which may have waited long (for an installation): what
    # starting took is no more than a busy machine makes of the processor time used so far.
    _began = time.monotonic() - (age if 0 <= age < 20 * time.process_time() else STARTUP)


def began() -> float:
    """When the command was started, on time.monotonic's clock."""
    return time.monotonic() - STARTUP if _began is None else _began


def plain(value: Any) -> Any:
    """Anything a verb gives back, as what JSON can hold: not-a-number and infinities become null."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(v) for v in value]
    for method in ("to_dict", "tolist", "isoformat"):
        if hasattr(value, method):
            return plain(getattr(value, method)())
    if hasattr(value, "__dataclass_fields__"):
        return {name: plain(getattr(value, name)) for name in value.__dataclass_fields__}
    return str(value)


def able(model: Any, verb: str, what: str) -> Any:
    """The model, or CapabilityError where it has no such verb."""
    if not hasattr(model, verb):
        raise CapabilityError(f"This model ({model.task}) has no {what}.")
    return model


def emit(value: Any) -> None:
    """Print `value` as JSON."""
    narrow = "utf" not in (getattr(sys.stdout, "encoding", None) or "utf-8").lower()  # else letters would become "?"
    sys.stdout.write(json.dumps(plain(value), indent=2, ensure_ascii=narrow) + "\n")
    sys.stdout.flush()


def usage_as_json(app: typer.Typer, words: list[str]) -> int:
    """Run a command that was asked for JSON; a wrongly written one is said as JSON too. Its exit code."""
    command = typer.main.get_command(app)
    try:
        done = command.main(args=words, prog_name="everymodel", standalone_mode=False)
    except Exception as error:
        if not hasattr(error, "exit_code") or not hasattr(error, "format_message"):  # click's own errors have both
            raise
        message = error.format_message()  # pyright: ignore[reportAttributeAccessIssue]
        say(f"Error: {message}")
        emit({"error": {"type": "usage_error", "code": "wrong_command", "message": message, "fields": []}})
        return int(error.exit_code)  # pyright: ignore[reportAttributeAccessIssue]
    return done if isinstance(done, int) else 0


def guarded(function: Callable[..., None]) -> Callable[..., None]:
    """End a command with one clear message and the right exit code instead of a traceback."""

    @functools.wraps(function)
    def run(**options: Any) -> None:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(
                    errors="replace"
                )  # a terminal that cannot show a letter shows "?" instead of failing
        try:
            function(**options)
            sys.stdout.flush()
        except typer.Exit:
            raise
        except (KeyboardInterrupt, Interrupted):
            say("Stopped.")
            raise typer.Exit(130) from None
        except BrokenPipeError:  # `| head` has seen enough
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - or Python complains while it shuts down
            raise typer.Exit(1) from None
        except Exception as error:
            if isinstance(error, typer.BadParameter) or type(error).__module__.startswith(("click", "typer")):
                raise
            _explain(error, options)
            raise typer.Exit(1) from None

    return run


def _explain(error: Exception, options: dict[str, Any]) -> None:
    if options.get("verbose"):
        import traceback

        traceback.print_exception(error)
    if isinstance(error, EverymodelError):
        # Messages speak Python; here the same option has another spelling.
        message = str(error).replace('pass missing_columns="impute"', "add --impute-missing")
    elif isinstance(error, OSError) and error.strerror:
        message = f"{error.filename or 'File'}: {error.strerror}."
    elif isinstance(error, MemoryError):
        message = "There is not enough memory for this. Try fewer rows or columns."
    else:
        message = f"Unexpected {type(error).__name__}: {error}. This is a bug in everymodel."
        if not options.get("verbose"):
            message += " --verbose shows where it happened."
    say(f"Error: {message}")
    if options.get("as_json"):
        code = getattr(error, "code", "error") if isinstance(error, EverymodelError) else "error"
        kind = "user_error" if isinstance(error, UserError | OSError) else "internal_error"
        fields = getattr(error, "fields", [])
        emit({"error": {"type": kind, "code": code, "message": message, "fields": fields}})


@contextmanager
def working(text: str, quiet: bool = False) -> Iterator[None]:
    """Show that something is being done, while it is, where a person is watching."""
    if quiet or not sys.stderr.isatty():
        yield
        return
    with console(stderr=True).status(text):
        yield
