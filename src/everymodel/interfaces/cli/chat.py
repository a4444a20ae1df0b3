"""everymodel chat: a conversation with a model that writes texts."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from everymodel.core.errors import CapabilityError, EverymodelError, ParameterError
from everymodel.interfaces.cli.shell import Quiet, Verbose, console, examples, guarded, say
from everymodel.interfaces.cli.source import ModelFile

EXAMPLES = examples(
    "everymodel chat talker.em",
    "everymodel chat shakespeare.em --plain --temperature 0.8      # it goes on from what you type",
    "echo 'Who are you?' | everymodel chat talker.em --seed 0",
)
_HELP = """/help             this
/reset            forget what was said
/system TEXT      what the model shall know from the start; forgets the rest
/seed N           equal seeds give equal answers; without a number: by chance
/temperature X    below 1 the likely becomes likelier, 0 takes the likeliest
/length N         most tokens of an answer
/quit             leave (or Ctrl-D); Ctrl-C ends an answer"""
_SAFE = "\n\t"


@guarded
def command(
    model: ModelFile,
    system: Annotated[str | None, typer.Option("--system", help="What the model shall know from the start.")] = None,
    temperature: Annotated[float | None, typer.Option(min=0.0, help="Below 1 the likely becomes likelier.")] = None,
    top_k: Annotated[int | None, typer.Option(min=1, help="Draw among so many likeliest tokens.")] = None,
    top_p: Annotated[float | None, typer.Option(max=1.0, help="Draw among the likeliest of this share.")] = None,
    length: Annotated[int | None, typer.Option("--length", min=1, help="Most tokens of an answer.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Equal seeds give equal answers.")] = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="No conversation: the model goes on from each line, as it learnt.")
    ] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Talk with a model that writes texts. Lines can be piped in; answers go to standard output."""
    from everymodel.scoring import load

    loaded: Any = load(model)
    if getattr(loaded, "makes", None) != "texts":
        raise CapabilityError(f"This model ({loaded.task}) writes no texts. everymodel sample or predict asks others.")
    options = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "length": length}
    talk = Talk(loaded.step, {k: v for k, v in options.items() if v is not None}, seed, system, plain)
    watched = sys.stdin.isatty() and sys.stdout.isatty()
    if watched:
        _greet(loaded, talk, quiet)
    for line in _lines(watched):
        if line.startswith("/"):
            if not _ordered(talk, line):
                return
            continue
        if not line.strip():
            continue
        _answer(talk, line, watched)


class Talk:
    """What was said so far, and how answers are drawn."""

    def __init__(self, writer: Any, options: dict[str, Any], seed: int | None, system: str | None, plain: bool):
        self.writer, self.options, self.seed, self.plain = writer, options, seed, plain
        self.strange: set[str] = set()
        self.reset(system)

    def reset(self, system: str | None = None) -> None:
        self.system = self.system if system is None and hasattr(self, "system") else system
        self.said: list[dict[str, str]] = [{"role": "system", "content": self.system}] if self.system else []
        self.turns = 0

    def answer(self, line: str) -> Iterator[str]:
        """The answer piece by piece; it is remembered as far as it was told."""
        from everymodel.scoring.steps.writing import Stream

        if self.plain:
            prompt, stops = line, []
        else:
            self.said.append({"role": "user", "content": line})
            prompt, stops = self.writer.chat(self.said)
        seed = None if self.seed is None else self.seed + self.turns
        self.turns += 1
        told: list[str] = []
        try:
            stream = Stream(self.writer, prompt, seed, {**self.options, "stop": stops})
            new = set(stream.strange) - self.strange
            if new:
                self.strange |= new
                say(f"The model never saw {' '.join(map(repr, sorted(new)[:12]))}: read as unknown.")
            for piece in stream:
                piece = piece if told or self.plain else piece.lstrip()
                if piece:
                    told.append(piece)
                    yield piece
        finally:
            if not self.plain:
                self.said.append({"role": "assistant", "content": "".join(told)})


def _lines(watched: bool) -> Iterator[str]:
    """What is typed, or piped in."""
    if not watched:
        for line in sys.stdin:
            yield line.rstrip("\r\n")
        return
    try:
        import readline  # noqa: F401 - arrows and history while typing
    except ImportError:
        pass
    while True:
        try:
            yield input("\n› ")
        except EOFError:
            print()
            return
        except KeyboardInterrupt:
            print("\nCtrl-D or /quit leaves.")


def _answer(talk: Talk, line: str, watched: bool) -> None:
    if talk.plain:
        sys.stdout.write(_safe(line))
    try:
        for piece in talk.answer(line):
            sys.stdout.write(_safe(piece))
            sys.stdout.flush()
    except KeyboardInterrupt:
        if not watched:
            raise
        sys.stdout.write(" …")
    sys.stdout.write("\n")
    sys.stdout.flush()


def _safe(text: str) -> str:
    """Without signs that steer a terminal: a model may have learnt them."""
    return "".join(c if c in _SAFE or (c.isprintable() or (c.isspace() and ord(c) > 159)) else "\ufffd" for c in text)


def _ordered(talk: Talk, line: str) -> bool:
    """Does what a line that begins with a slash asks for; False to leave."""
    word, _, rest = line[1:].partition(" ")
    rest = rest.strip()
    if word in ("quit", "exit", "bye"):
        return False
    try:
        if word == "help":
            say(_HELP)
        elif word == "reset":
            talk.reset()
            say("Forgotten.")
        elif word == "system":
            talk.reset(rest)
            say("Noted; what was said before is forgotten." if rest else "Forgotten.")
        elif word == "seed":
            talk.seed = None if not rest else int(rest)
            if talk.seed is not None and talk.seed < 0:
                raise ValueError
            talk.turns = 0
            say("Answers are drawn by chance." if talk.seed is None else f"Seed {talk.seed}.")
        elif word in ("temperature", "top_p", "top_k", "length"):
            number: Any = int(rest) if word in ("top_k", "length") else float(rest)
            _checked({word: number})
            talk.options[word] = number
            say(f"{word} {number}.")
        else:
            say(f"There is no /{word}. /help tells what there is.")
    except (ValueError, EverymodelError) as error:
        told = str(error) if isinstance(error, EverymodelError) else f"/{word} {rest}: expected a number."
        say(told)
    return True


def _checked(options: dict[str, Any]) -> None:
    """ParameterError for options that no answer can be drawn with."""
    from everymodel.scoring.steps.writing import Draw

    try:
        Draw.of(options, 1)
    except ParameterError as error:
        raise ParameterError(f"/{str(error).replace('=', ' ', 1)}") from error


def _greet(loaded: Any, talk: Talk, quiet: bool) -> None:
    if quiet:
        return
    from rich.panel import Panel
    from rich.text import Text

    step = loaded.step
    name = str(loaded.manifest.get("title") or loaded.manifest.get("name") or "model")
    told = f"{name} · sees {step.context or 'any number of'} tokens at once · /help tells what there is"
    if not talk.plain and not step.template:
        told += (
            "\nIt learnt no conversations: what you say is written as lines, User and Assistant. --plain lets it go on."
        )
    console(stderr=True).print(Panel(Text(told), border_style="green", expand=False))
