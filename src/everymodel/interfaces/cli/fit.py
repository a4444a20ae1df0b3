"""everymodel fit: from a table to a chosen, honestly tested and saved model."""

from __future__ import annotations

import signal
import time as clocks
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from everymodel.core.errors import ParameterError
from everymodel.core.files import atomic_write
from everymodel.core.schema import ACT_TASKS, FREE_TASKS, MADE_TASKS, SERIES_TASKS
from everymodel.interfaces.cli import draw, forecast, play, sample, structure
from everymodel.interfaces.cli.shell import (
    Json,
    Quiet,
    Verbose,
    began,
    console,
    emit,
    examples,
    guarded,
    model_names,
    say,
)
from everymodel.interfaces.cli.source import Data, Encoding, Query, Separator, Sheet, check_writable, read, size

EXAMPLES = examples(
    "everymodel fit houses.csv --target price --budget 60s --out price.em",
    "everymodel fit churn.csv -t churn --model logistic --model random_forest --report churn.html",
    "everymodel fit visits.csv -t ill --group patient --metric average_precision --cost fp=1,fn=5",
    "everymodel fit houses.csv -t price --trials 20 --run-folder run1",
    "everymodel fit houses.csv -t price --budget 5m --resume run1",
    "everymodel fit customers.csv --report segments.html          # no target: which groups are there?",
    "everymodel fit edges.csv --nodes nodes.csv -t label          # nodes of a graph",
    "everymodel fit bonds.csv --nodes atoms.csv --graph molecule -t toxic     # whole graphs, each with a label",
    "everymodel fit sales.csv --time month -t sales --horizon 12  # what comes next",
    "everymodel fit payments.csv --task anomaly --contamination 0.01 -o odd.em",
    "everymodel fit photos/ --task generate --budget 10m -o photos.em    # then: everymodel sample photos.em",
    "everymodel fit photos/ --task enhance --budget 10m -o larger.em     # then: everymodel enhance larger.em in.png",
    "everymodel fit CartPole-v1 --budget 60s -o balance.em       # an agent; then: everymodel play balance.em",
    "everymodel fit go:5 --budget 20m -o go.em                   # a board game by self-play; everymodel play go.em",
    "everymodel fit world.py --until 200 --model ppo -o mine.em   # in an environment of one's own",
)
REPORT, END = 2.0, 0.35  # seconds to draw the report, and to leave
_SHOWN = 8  # rows of the leaderboard
_FREE = "Without a target"
_SPLIT, _SEARCH, _TEST, _FILES = "Splitting", "Searching", "Testing", "Files"


@guarded
def command(
    data: Data,
    target: Annotated[
        list[str] | None,
        typer.Option("--target", "-t", help="The column to predict; repeat it for several 0/1 columns (multilabel)."),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option("--budget", "-b", help="Wall time for everything, such as 60s, 5m, 1h30m. Default 60s."),
    ] = None,
    nodes: Annotated[
        str | None,
        typer.Option(help="DATA is a table of edges, and this the table of its nodes, which holds the target."),
    ] = None,
    graph: Annotated[
        str | None,
        typer.Option(help="With --nodes: its column that says the graph of each node; whole graphs are then learnt."),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            help="Only this model; may be repeated (see: everymodel models).",
            autocompletion=model_names,
        ),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            help="regression, binary, multiclass or multilabel; found out by default. Without a target: cluster "
            "(default), anomaly, reduce or embed. generate: make more data like these. enhance: enlarge images. "
            "act: an agent in an environment."
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            metavar="RETURN",
            help="Agents: the mean return with which they have learnt enough; by default the environment's own; none: "
            "use all of the time.",
        ),
    ] = None,
    clusters: Annotated[
        int | None, typer.Option(min=1, help="Groups: how many; found out by default.", rich_help_panel=_FREE)
    ] = None,
    contamination: Annotated[
        float | None,
        typer.Option(help="Anomalies: expected share of odd rows; found out by default.", rich_help_panel=_FREE),
    ] = None,
    components: Annotated[
        int | None,
        typer.Option(
            min=1, help="Number of new columns (reduce) or coordinates (embed: 2 or 3).", rich_help_panel=_FREE
        ),
    ] = None,
    horizon: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Forecast: steps ahead of series along --time (named by --group). Done by itself where the table "
            "holds nothing but evenly spaced series.",
        ),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(help="What to optimise: rmse mae r2 roc_auc log_loss accuracy f1 ...", rich_help_panel=_SEARCH),
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(
            min=1, help="Limit by number of candidates: the same seed gives the same result.", rich_help_panel=_SEARCH
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="The one seed.", rich_help_panel=_SEARCH)] = 0,
    prefer: Annotated[
        str | None, typer.Option(help="accurate (default), fast or simple.", rich_help_panel=_SEARCH)
    ] = None,
    keep_suspects: Annotated[
        bool,
        typer.Option(
            "--keep-suspects", help="Keep columns that seem to give the target away.", rich_help_panel=_SEARCH
        ),
    ] = False,
    unseen: Annotated[
        str, typer.Option(help="Categories never seen at fit: warn, error or ignore.", rich_help_panel=_SEARCH)
    ] = "warn",
    group: Annotated[
        str | None,
        typer.Option(help="Column whose values stay together (patients, customers).", rich_help_panel=_SPLIT),
    ] = None,
    time: Annotated[
        str | None, typer.Option(help="Column to split by time: the last rows are the test.", rich_help_panel=_SPLIT)
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Column that says train or test for each row.", rich_help_panel=_SPLIT)
    ] = None,
    test_size: Annotated[
        float,
        typer.Option(help="Share of rows for the one test; 0 trains on all rows.", rich_help_panel=_SPLIT),
    ] = 0.2,
    segments: Annotated[
        list[str] | None,
        typer.Option("--segments", help="Column to evaluate by; may be repeated.", rich_help_panel=_TEST),
    ] = None,
    fairness: Annotated[
        str | None, typer.Option(help="Column to measure fairness gaps by.", rich_help_panel=_TEST)
    ] = None,
    cost: Annotated[
        str | None,
        typer.Option(help="Binary: cost of each mistake, such as fp=1,fn=5.", rich_help_panel=_TEST),
    ] = None,
    learning_curve: Annotated[
        bool, typer.Option("--learning-curve", help="Also fit on growing parts of the rows.", rich_help_panel=_TEST)
    ] = False,
    augment: Annotated[
        bool,
        typer.Option(
            "--augment",
            help="Also try whether rows made of the training part help; they stay where they clearly do.",
            rich_help_panel=_SEARCH,
        ),
    ] = False,
    out: Annotated[
        str | None, typer.Option("--out", "-o", help="Where to save the model (.em).", rich_help_panel=_FILES)
    ] = None,
    report: Annotated[str | None, typer.Option(help="Where to write the HTML report.", rich_help_panel=_FILES)] = None,
    run_folder: Annotated[
        str | None, typer.Option(help="Where the run keeps its files; made if need be.", rich_help_panel=_FILES)
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(metavar="FOLDER", help="Go on with the run in this folder.", rich_help_panel=_FILES),
    ] = None,
    sheet: Sheet = None,
    query: Query = None,
    separator: Separator = None,
    encoding: Encoding = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Find the best model for a table within a time budget, and test it once on rows that no choice has seen.

    Without a target, look for groups (or odd rows, components, a map: --task) and say what they are.
    """
    started = began()
    from everymodel.core.clock import Clock, seconds

    limit = seconds(budget)
    if limit is None and trials is None:
        limit = 60.0
    # The budget is for the whole command: the interpreter has started before, the report and the end come after.
    after = (END + REPORT if report else END) if limit else 0.0
    clock = Clock(limit, started, kept=min(after, 0.2 * (limit or 0.0)))
    check_writable(out, "--out")
    check_writable(report, "--report")
    if resume and run_folder and Path(resume) != Path(run_folder):
        raise ParameterError(f"--resume {resume} and --run-folder {run_folder} name two folders. Give one of them.")
    if resume and not Path(resume).is_dir():
        raise ParameterError(f"--resume {resume}: there is no such run folder.")
    _check_models(model)
    costs, goal = _costs(cost), play.until(until)
    from everymodel.interfaces.cli.progress import FitProgress

    progress = FitProgress(limit, quiet=quiet, started=started)
    with _stoppable(progress) as stop, progress:
        import everymodel as em

        source: Any = data
        if any(v is not None for v in (sheet, query, separator, encoding)):
            source = read(data, sheet=sheet, query=query, separator=separator, encoding=encoding)
        run = em.fit(
            source,
            target=target[0] if target and len(target) == 1 else target or None,
            task=task,
            models=model or None,
            budget=clock,
            trials=trials,
            metric=metric,
            group=group,
            time=time,
            test_size=test_size,
            seed=seed,
            out=resume or run_folder,
            split=split,
            keep_suspects=keep_suspects,
            resume=resume is not None,
            unseen=unseen,
            segments=segments or None,
            fairness=fairness,
            costs=costs,
            prefer=prefer,
            learning_curve=learning_curve,
            clusters=clusters,
            contamination=contamination,
            components=components,
            horizon=horizon,
            nodes=nodes,
            graph=graph,
            augment=augment,
            until=goal,
            progress=progress,
            verbose=verbose,
        )
        lost = next((f for f in run.findings if f.code == "not-saved" and f.data.get("file") == "model.em"), None)
        if lost and not out:
            raise ParameterError(f"{lost.message} Make room, or name another disk with --out, and go on with --resume.")
        saved = [] if lost else [str(Path(run.folder) / "model.em")]
        with _writing("the model", out, saved):
            if lost:
                run.model.save(out)
            elif out:  # the run has saved and proven it; making it once more would cost seconds on wide tables
                with atomic_write(out) as stream:
                    stream.write((Path(run.folder) / "model.em").read_bytes())
        if report:
            with _writing("the report", report, [out] if out else saved):
                run.report(report)
    took = clocks.monotonic() - started
    files = {"model": out or str(Path(run.folder) / "model.em"), "report": report, "run_folder": str(run.folder)}
    if as_json:
        emit(told(run, files, took))
    elif quiet:
        print(draw.clean(run.headline, 2000))
    elif run.story["task"] in SERIES_TASKS:
        forecast.show(run, files, took, data)
    elif run.story["task"] in MADE_TASKS:
        sample.show(run, files, took, data)
    elif run.story["task"] in ACT_TASKS:
        play.show(run, files, took, data)
    elif run.story["task"] in FREE_TASKS:
        structure.show(run, files, took, data, target, task)
    else:
        show(run, files, took, nodes or data, target)
    if run.search.stopped == "interrupted" or stop.asked:
        say(f"Stopped on request; the best so far is kept in {files['model']}.", as_json)
        raise typer.Exit(130)


@contextmanager
def _writing(what: str, path: str | None, saved: list[str]) -> Iterator[None]:
    """What to do when `path` cannot be written, such as on a full disk, and what is safe already."""
    try:
        yield
    except OSError as error:
        kept = f"The model is saved in {saved[0]}" if saved else "The model is not saved either"
        again = "draw the report again with everymodel report" if what == "the report" else "copy it from there"
        raise ParameterError(
            f"{what[:1].upper()}{what[1:]} could not be written to {path}: {error.strerror or error}. {kept}. "
            f"Make room{f' and {again}' if saved else ', and run the same once more'}."
        ) from error


class _Stop:
    """What Ctrl-C and a scheduler's signal do: the search ends and its best is kept; what comes after it is finished.

    A second signal ends that too.
    """

    def __init__(self, progress: Any):
        self.progress, self.asked = progress, False

    def __call__(self, number: int, frame: Any) -> None:
        if self.asked or self.progress.stage not in ("evaluate", "save"):
            raise KeyboardInterrupt
        self.asked = True
        say("The model is being tested and saved; once more to stop at once.")


@contextmanager
def _stoppable(progress: Any) -> Iterator[_Stop]:
    stop = _Stop(progress)
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


def _check_models(names: list[str] | None) -> None:
    """A misspelt model is said before the data is read."""
    from everymodel import catalog

    for name in names or []:
        catalog.find(name)


def _costs(words: str | None) -> dict[str, float] | None:
    """ "fp=1,fn=5" as the costs that `em.fit` takes."""
    if words is None:
        return None
    names = {"fp": "false_positive", "fn": "false_negative"}
    costs = {}
    for part in words.split(","):
        name, _, value = part.partition("=")
        name = names.get(name.strip().lower(), name.strip().lower())
        try:
            costs[name] = float(value)
        except ValueError:
            costs[name] = float("nan")
        if name not in names.values() or not 0 <= costs[name] < float("inf"):
            raise ParameterError(f"--cost {words}: expected the cost of each mistake, such as fp=1,fn=5.")
    return {"false_positive": 1.0, "false_negative": 1.0, **costs}


def told(run: Any, files: dict[str, Any], took: float) -> dict[str, Any]:
    """A run for programs."""
    story = run.story
    return {
        "headline": run.headline,
        "task": story["task"],
        "target": story["target"],
        "metric": story["metric"],
        "suspect": story.get("suspect", False),
        "metrics": run.evaluation.metrics,
        "source": run.evaluation.source,
        "split": story["split"],
        "leaderboard": run.search.leaderboard,
        "members": run.search.members,
        "failures": run.search.failures,
        "findings": draw.ranked(run.findings),
        "stopped": run.search.stopped,
        "timing": story["timing"],
        "seconds": round(took, 2),
        "files": files,
        **structure.told(run),
    }


def in_words(evaluation: Any, positive: Any = None) -> list[str]:
    """What was asked for beside the score: the threshold by cost, the worst segments."""
    lines = []
    choice = evaluation.curves.get("threshold_choice")
    if choice:
        label = f'"{draw.clean(positive, 40)}"' if positive is not None else "the second class"
        lines.append(f"Threshold by cost: answers {label} from a probability of {choice['threshold']:.3g} on.")
    for part in evaluation.segments:
        if part["verdict"] not in ("like the rest", "too few rows"):
            value = f"{part['metric']} {draw.number(part['value'])} {draw.between(part['low'], part['high'])}"
            lines.append(f"Segment {part['column']} = {part['segment']}: {value}, {part['verdict']}.")
    if evaluation.segments and not any(line.startswith("Segment") for line in lines):
        lines.append(f"Segments: none of {len(evaluation.segments)} differs from the rest.")
    return lines


def _failures(failures: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """(line, style): what failed, and what was not even tried. What the clock or the user cut off is no fault."""
    cut = ("stopped on request", "out of time", "not finished in time")
    told = [f for f in failures if f.get("reason") not in cut]
    left = [f for f in told if str(f.get("reason")).startswith("not tried")]
    lines = []
    for some, words, style in ((left, "Not tried", "dim"), ([f for f in told if f not in left], "Failed", "yellow")):
        names = list(dict.fromkeys(f.get("model", "?") for f in some))
        if names:
            lines.append((f"{words}: {draw.several(names)}; the report has the reasons.", style))
    return lines


def show(run: Any, files: dict[str, Any], took: float, data: str, target: list[str] | None) -> None:
    """What was found, how good it is, what to look at, where it is, what to do next."""
    from rich.panel import Panel

    out, story = console(), run.story
    split = story["split"]
    parts = [draw.clean(story["target"], 40)] if story["target"] else []
    parts.append(story["task"])
    tested = f"tested on {split['test']:,}" if split["test"] else "cross-validated"
    parts.append(f"{split['train']:,} rows trained, {tested}")
    title = " · ".join(parts)
    suspect = story.get("suspect")
    out.print(
        Panel(
            draw.text(run.headline, "bold"), title=title, title_align="left", border_style="red" if suspect else "green"
        )
    )
    if suspect:
        out.print(draw.text("This score is suspect: columns that seem to give the target away were kept.", "bold red"))
    if split["kind"] not in ("random", "stratified") and split.get("note"):
        out.print(draw.text(split["note"], "dim"))
    board = run.search.leaderboard
    first = f", best first (cross-validated {story['metric']})" if len(board) > 1 else ""
    out.print(draw.heading(f"Tried {len(board)}{first}"))
    out.print(draw.leaderboard(board, story["metric"], out.width, _SHOWN))
    if len(board) > _SHOWN:
        out.print(draw.text(f"and {len(board) - _SHOWN} more in the report", "dim"))
    for line, style in _failures(run.search.failures):
        out.print(draw.text(line, style))
    for line in in_words(run.evaluation, run.model.classes[1] if story["task"] == "binary" else None):
        out.print(draw.text(line))
    if run.evaluation.fairness:
        out.print()
        out.print(draw.heading("Fairness"))
        for part in draw.gaps(run.evaluation.fairness):
            out.print(part)
    close(run, files, took, data)


def close(run: Any, files: dict[str, Any], took: float, data: str) -> None:
    """What matters about the data, where the files are, what to do next."""
    import os
    import shlex

    out = console()
    matter = [f for f in draw.ranked(run.findings) if f["severity"] != "info"]
    if matter:
        out.print()
        out.print(draw.heading("What matters" + (" about the data" if run.story["task"] not in ACT_TASKS else "")))
        for part in draw.findings(matter, 5):
            out.print(part)
    out.print()
    rows: list[tuple[str, Any]] = [("model", f"{files['model']} ({size(files['model'])})")]
    if files["report"]:
        rows.append(("report", f"{files['report']} ({size(files['report'])})"))
    rows += [("run folder", files["run_folder"]), ("took", f"{took:.1f} s")]
    out.print(draw.pairs(rows))
    out.print()
    saved = shlex.quote(os.path.relpath(files["model"]) if not os.path.isabs(files["model"]) else files["model"])
    out.print(draw.heading("Next"))
    if run.story["task"] in SERIES_TASKS:
        steps = [f"everymodel predict {saved} -o next.csv", f"everymodel predict {saved} newer.csv --horizon 3"]
    elif run.story["task"] == "enhance":
        steps = [f"everymodel enhance {saved} small.png -o large.png"]
    elif run.story["task"] == "generate":
        steps = [f"everymodel sample {saved} -n{run.story['how_to']['cli'].partition(' -n')[2]}"]
    elif run.story["task"] in ACT_TASKS:
        steps = [f"everymodel play {saved} --{run.story['how_to']['cli'].partition(' --')[2]}"]
    elif "graphs" in run.story:
        steps = [f"everymodel predict {saved} nodes.csv --edges edges.csv -o out.csv"]
    else:
        steps = [f"everymodel predict {saved} new.csv -o out.csv"]
        steps.append(f"everymodel explain {saved} {shlex.quote(data) if Path(data).is_file() else 'new.csv'} --row 0")
    if not files["report"]:
        steps.append(f"everymodel report {shlex.quote(files['run_folder'])} -o report.html")
    steps.append(f"everymodel serve {saved}")
    for step in steps:
        out.print(draw.text(f"  {step}", "cyan"), soft_wrap=True)
