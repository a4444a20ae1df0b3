"""Build the pages that are made from the code: models, findings, metrics, command line, and the executed gallery.

python scripts/make_docs.py            writes docs/models, docs/reference and docs/gallery
python scripts/make_docs.py --fast     leaves the gallery out
Then: mkdocs build --strict
"""

from __future__ import annotations

import ast
import base64
import contextlib
import io
import os
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from everymodel import catalog
from everymodel.core.card import Card
from everymodel.core.schema import FREE_TASKS, MADE_TASKS, TASKS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def cell(value: Any) -> str:
    """One Markdown table cell."""
    text = "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")


def table(header: list[str], rows: list[list[Any]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell(c) for c in line) + " |" for line in lines) + "\n"


def model_page(name: str, cards: list[Card]) -> str:
    """The page of one family: what it is, when to choose it, one section per class."""
    first = cards[0]
    parts = [f"# {first.title}", first.summary]
    tasks = dict.fromkeys(task for card in cards for task in card.tasks)
    lines = ["--target y"] if set(tasks) & set(TASKS) else []
    lines += [f"--task {task}" for task in tasks if task in (*FREE_TASKS, *MADE_TASKS)]
    asks = [f"everymodel fit data.csv {line} --model {name}" for line in lines]
    if "act" in tasks:
        asks.append(f"everymodel fit {'go:5' if 'game' in first.inputs else 'ENVIRONMENT'} --model {name}")
    parts.append("```\n" + "\n".join(asks) + "\n```")
    parts.append(f"**Choose it** {first.choose}\n\n**Not** {first.avoid}" if first.choose else "")
    for card in cards:
        parts.append(f"## `everymodel.{card.class_name}`")
        parts.append(
            f"{card.kind.capitalize()} for {', '.join(card.tasks)}. The class is `{card.class_path.replace(':', '.')}`."
        )
        if card.summary != first.summary:
            parts.append(card.summary)
        needs = [f"{k.replace('_', ' ')}: {v}" for k, v in card.needs.items()]
        if needs:
            parts.append("Preparation and limits: " + "; ".join(needs) + ".")
        if card.gives:
            parts.append("Gives: " + ", ".join(card.gives) + ".")
        if card.parameters:
            rows = []
            for p in card.parameters:
                scale = " (log)" if p.log else ""
                span = (
                    ", ".join(map(str, p.choices))
                    if p.choices
                    else f"{p.low} to {p.high}{scale}"
                    if p.low is not None
                    else ""
                )
                rows.append([f"`{p.name}`", p.type, span, f"`{p.default}`", p.text])
            parts.append(table(["parameter", "type", "range", "default", "meaning"], rows))
        if card.waivers:
            rows = [[f"`{check}`", reason] for check, reason in card.waivers.items()]
            parts.append(
                "Checks of scikit-learn's contract that this class does not meet:\n\n" + table(["check", "why"], rows)
            )
    if first.references:
        parts.append("## References\n\n" + "\n".join(f"- {r}" for r in first.references))
    return "\n\n".join(p for p in parts if p) + "\n"


def write_models() -> None:
    families: dict[str, list[Card]] = defaultdict(list)
    for card in catalog.cards():
        families[card.name].append(card)
    folder = DOCS / "models"
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for name, cards in sorted(families.items()):
        (folder / f"{name}.md").write_text(model_page(name, cards))
        tasks = ", ".join(sorted({t for c in cards for t in c.tasks}))
        rows.append([f"[{cards[0].title}]({name}.md)", f"`{name}`", cards[0].family, tasks, cards[0].summary])
    intro = "# Models\n\nEvery model of the catalogue, made from the cards in the model files.\n\n"
    (folder / "index.md").write_text(intro + table(["model", "name", "family", "tasks", ""], rows))


def write_reference() -> None:
    folder = DOCS / "reference"
    folder.mkdir(parents=True, exist_ok=True)
    from everymodel.scoring.metrics import METRICS
    from everymodel.workflow import read, understand
    from everymodel.workflow.forecast import codes as forecast
    from everymodel.workflow.generate import codes as generate
    from everymodel.workflow.reinforce import codes as reinforce

    codes = {**read.CODES, **understand.CODES, **forecast.CODES, **generate.CODES, **reinforce.CODES}
    rows = [[f"`{code}`", sentence] for code, sentence in sorted(codes.items())]
    (folder / "findings.md").write_text(
        "# Findings\n\nCodes never change their meaning.\n\n" + table(["code", "meaning"], rows)
    )
    rows = [[f"`{m.name}`", m.title, m.better, ", ".join(m.tasks), m.text] for m in METRICS.values()]
    (folder / "metrics.md").write_text("# Metrics\n\n" + table(["name", "", "better", "tasks", "meaning"], rows))
    (folder / "command-line.md").write_text("# Command line\n\n" + "\n\n".join(command_help()))


def command_help() -> list[str]:
    """The help of every command, as a terminal of 100 columns without colour shows it."""
    from typer.main import get_command
    from typer.testing import CliRunner

    from everymodel.interfaces.cli.app import app

    terminal = {"COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"}

    def text(*words: str) -> str:
        told = CliRunner().invoke(app, [*words, "--help"], env=terminal, prog_name="everymodel")
        assert told.exit_code == 0, told.output
        return told.output

    names = sorted(get_command(app).commands)  # type: ignore[attr-defined]
    return [f"```\n{text()}\n```", *(f"## {name}\n\n```\n{text(name)}\n```" for name in names)]


def run_example(path: Path) -> str:
    """Execute a `# %%` script cell by cell in a scratch folder; return Markdown with code, output and pictures."""
    pieces = path.read_text().split("# %%")
    title = ast.get_docstring(ast.parse(path.read_text())) or path.stem
    page = [f"# {title}", f"Made by running `python examples/{path.name}`."]
    space: dict[str, Any] = {"__name__": "__main__"}
    home = Path.cwd()
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        try:
            for piece in pieces[1:]:
                lines = piece.strip("\n").splitlines()
                words = [line.removeprefix("#").strip() for line in lines[:1] + lines[1:] if line.startswith("#")]
                code = "\n".join(line for line in lines if not line.startswith("#")).strip()
                page.append("\n".join(words).strip())
                if not code:
                    continue
                page.append(f"```python\n{code}\n```")
                shown = io.StringIO()
                with contextlib.redirect_stdout(shown):
                    value = run_cell(code, space)
                page += [f"```text\n{shown.getvalue().rstrip()[:6000]}\n```"] if shown.getvalue().strip() else []
                page += [draw(value)] if value is not None else []
        finally:
            os.chdir(home)
    return "\n\n".join(p for p in page if p) + "\n"


def run_cell(code: str, space: dict[str, Any]) -> Any:
    """Run our own example; the value of a last bare expression is shown below the cell."""
    tree = ast.parse(code)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "<example>", "exec"), space)  # noqa: S102 - examples of this repository, at build time only
    return eval(compile(ast.Expression(last.value), "<example>", "eval"), space) if last else None  # noqa: S307


def draw(value: Any) -> str:
    if hasattr(value, "savefig"):
        stream = io.BytesIO()
        value.savefig(stream, format="png", dpi=110, bbox_inches="tight")
        return f"![figure](data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()})"
    if hasattr(value, "columns"):
        rows = [
            [f"{v:.4g}" if isinstance(v, float) else v for v in row] for row in value.head(12).itertuples(index=False)
        ]
        return table([str(c) for c in value.columns], rows)
    return f"```text\n{str(value)[:6000]}\n```"


def write_gallery() -> None:
    folder = DOCS / "gallery"
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for path in sorted((ROOT / "examples").glob("[0-9]*.py")):
        page = run_example(path)
        (folder / f"{path.stem}.md").write_text(page)
        rows.append(f"- [{page.splitlines()[0].removeprefix('# ')}]({path.stem}.md)")
        print(f"gallery: {path.name}", flush=True)
    (folder / "index.md").write_text(
        "# Gallery\n\nEvery page was made by running its script.\n\n" + "\n".join(rows) + "\n"
    )


def main() -> None:
    write_models()
    write_reference()
    if "--fast" not in sys.argv:
        write_gallery()


if __name__ == "__main__":
    main()
