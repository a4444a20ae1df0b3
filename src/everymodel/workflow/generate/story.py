"""The whole story of a run that makes data, or larger images of small ones: read, hold a part out, fit, judge once by
it what is made, pack, report."""

from __future__ import annotations

import contextlib
import datetime
import math
import shlex
import sys
import time as clocks
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from everymodel.core.clock import Clock
from everymodel.core.errors import DataError, ParameterError
from everymodel.core.files import atomic_write
from everymodel.core.finding import Finding
from everymodel.core.seeds import derive
from everymodel.workflow.evaluate.intervals import wilson
from everymodel.workflow.generate import choice, shown
from everymodel.workflow.generate.codes import say
from everymodel.workflow.generate.material import Material, divided, large_images, material, suited
from everymodel.workflow.generate.model import GenerativeModel
from everymodel.workflow.types import Evaluation, Listener, Metric, Problem, Progress, SearchResult, Split

if TYPE_CHECKING:
    from everymodel.workflow.run import Run

_JUDGED = 0.2, 40.0  # share of the budget that judging may take, and seconds at most
_VALID = 0.1  # share of the training part that chooses, where several models are tried
_SECONDS = 1.5  # for the file and the story
_STEPS = 100  # fewer steps of a network than these are said
_LOADING = 10.0  # seconds below which a library of networks (2 to 13 s to load) leaves no time to learn
_PIXELS = 4_000_000  # of images that are held out to be shrunk and enlarged again
# name: (title, better, in words)
FIGURES: dict[str, tuple[str, str, str]] = {
    "frechet": ("Fréchet distance", "lower", "Between the normal distributions of samples and of held-out data."),
    "frechet_ratio": ("Fréchet distance, times that of real data", "lower", "1 is as near as real data come."),
    "kernel": ("Kernel distance", "lower", "Squared mean discrepancy under a cubic kernel; about 0 for real data."),
    "precision": ("Precision", "higher", "Share of samples that lie among held-out data."),
    "recall": ("Recall", "higher", "Share of held-out data that lie among samples."),
    "density": ("Density", "higher", "How crowded with held-out data the places of samples are; 1 as real data."),
    "coverage": ("Coverage", "higher", "Share of held-out data that have a sample nearby."),
    "c2st": ("Told apart from real", "lower", "ROC AUC of a classifier of real and made; 0.5 where nobody can tell."),
    "copied": ("Nearer to training data", "lower",
               "Share of samples nearer to training than to held-out data; 0.5 by chance, 1 for copies."),
    "agreement": ("As asked", "higher", "Share of samples that a classifier of real data takes for what was asked."),
    "cas": ("Learnt from samples alone", "higher",
            "Share of held-out data that a classifier fitted on samples alone gets right."),
    "shapes": ("Shapes of columns", "higher", "1 where each column has the distribution of held-out rows."),
    "pairs": ("Pairs of columns", "higher", "1 where pairs of columns go together as in held-out rows."),
    "utility": ("Use of made rows", "higher", "What a model that learnt from made rows reaches on held-out ones."),
    "utility_f1": ("Use of made rows, F1", "higher", "Macro F1 on held-out rows after learning from made ones."),
    "membership": ("Membership told", "lower", "ROC AUC of telling rows that were learnt from; 0.5 where nobody can."),
    "equal": ("Equal to a row learnt from", "lower", "Share of made rows; beside it that of held-out rows."),
    "nats_per_character": ("Nats per character", "lower", "How surprising held-out text is; less is better foretold."),
    "bits_per_character": ("Bits per character", "lower", "The same in bits."),
    "nats_by_frequency": ("Nats per character by frequency", "", "What it costs to know no more than how often each "
                          "character comes."),
    "nats_per_token": ("Nats per token", "lower", "The same for each piece that the model reads."),
    "novelty": ("New texts", "higher", "Share of samples that are no text learnt from."),
    "psnr": ("Signal to noise (dB)", "higher",
             "Of held-out images that were shrunk and enlarged again, fidelity 1: how near they come to themselves."),
    "detail": ("Fine detail", "higher",
               "Energy of what is lost when an image is halved, against the true image's; 1 is as much."),
    "psnr_vivid": ("Signal to noise (dB), fidelity 0", "higher", "The same where detail is drawn that is likely."),
    "detail_vivid": ("Fine detail, fidelity 0", "higher", "The same where detail is drawn that is likely."),
}  # fmt: skip
OF_TEXTS = {
    "copied": ("Longest copied run", "lower", "Characters of the longest part of a sample that stands in the texts."),
    "copied_usual": ("Usual copied run", "lower", "The median of that over samples, and of held-out texts."),
    "distinct_1": ("Distinct words", "higher", "Share of words that differ."),
    "distinct_2": ("Distinct pairs of words", "higher", "Share of pairs of words that differ."),
    "distinct_3": ("Distinct triples of words", "higher", "Share of runs of three words that differ."),
}
OF_PIECES = {
    "nats_per_frame": ("Nats per frame", "lower", "How surprising held-out music is, chord by chord."),
    "nats_per_note": ("Nats per note", "lower", "The same for each note."),
    "pitch_classes": ("Notes", "higher", "Overlap of how often each of the twelve notes comes, with held-out pieces."),
    "intervals": ("Steps of the melody", "higher", "Overlap of the steps of the highest voice, with held-out pieces."),
    "polyphony": ("Notes at once", "higher", "Overlap of how many notes sound together, with held-out pieces."),
    "copied": ("Longest copied run", "lower",
               "Frames of the longest part of a sample that stands in a piece learnt from; beside it of held-out."),
}  # fmt: skip
OF_LEVELS = {
    "nats_per_tile": ("Nats per tile", "lower", "How surprising held-out levels are."),
    "tiles": ("Tiles", "higher", "Overlap of how often each tile comes, with held-out levels."),
    "patterns": ("Patterns", "higher", "The same of squares of 3 x 3 tiles."),
    "coverage": ("Coverage", "higher", "Share of the squares of held-out levels that samples show."),
    "solvable": ("Solvable", "higher", "Share of samples with a way from start to goal before any is put right."),
    "new": ("New squares", "higher", "Share of squares of 5 x 5 tiles that stand in no level learnt from."),
}
SHARES = ("precision", "recall", "coverage", "copied", "agreement", "cas", "equal")
SHARES_OF = {
    "texts": ("novelty",),
    "pieces": ("pitch_classes", "intervals", "polyphony"),
    "levels": ("tiles", "patterns", "coverage", "solvable", "new"),
    "enhanced": (),
}


def generate(
    task: str,
    data: Any,
    target: Any,
    models: list[str] | None,
    options: dict[str, Any],
    clock: Clock,
    seed: int,
    test_size: float,
    out: Any,
    listener: Listener | None,
    timing: dict[str, float],
) -> Run:
    """A model that makes data like those that came, judged by a part that its fit has not seen.

    Parameters
    ----------
    task : "generate", or "enhance" (larger images for small ones).
    data, target : see `material` and `large_images`. models : by name; by default the one that suits best.
    options : those of `em.fit` that mean nothing here, which must not be given.

    Raises
    ------
    DataError, ParameterError, TargetError, CapabilityError
    """
    from everymodel.workflow.run import Run, _frame, _places, _save, _save_story, _stage
    from everymodel.workflow.wrap import wrap

    for name, value in options.items():
        if value not in (None, False):
            raise ParameterError(f"{name}={value!r} is not there for models that make data. Leave it out.")
    asked = choice.named(models, task)
    with _stage("read", timing, listener):
        common = None if asked is None else [k for k in asked[0].inputs if all(k in c.inputs for c in asked)]
        whole = material(data, target, common) if task == "generate" else large_images(data, target)
        folder, model_path = _places(out, whole.target or whole.kind, False)
    with _stage("split", timing, listener):
        findings = [*whole.source.findings, *whole.findings]
        light = clock.limit is not None and clock.limit < _LOADING and "torch" not in sys.modules
        began = clocks.monotonic()
        cards = choice.suitable(whole, asked, task, light=light)
        took = clocks.monotonic() - began
        if light and asked is None and cards[0].package != "torch":
            findings.append(say("too-short-for-networks", limit=clock.limit, model=cards[0].title))
        elif clock.limit is not None and took > 0.5 * clock.limit:
            findings.append(say("slow-start", took=took, limit=clock.limit))
        cards = cards if asked is not None else cards[:1]
        rng = np.random.default_rng(derive(seed, "held out"))
        kept, aside = divided(len(whole), test_size, whole.labels, rng, whole.long)
        if task == "enhance" and test_size:
            kept, aside = _enough(whole, kept, aside)
        if len(kept) < 2:
            raise DataError(f"{whole.words()} are too few to learn from. Give more.")
        train, held = whole.take(kept), whole.take(aside) if len(aside) else None
        fitted, valid = train, None
        if len(cards) > 1:
            inner, chooses = divided(len(train), _VALID, train.labels, rng, train.long)
            fitted, valid = train.take(inner), train.take(chooses)
        if whole.labels is not None and not any(choice.wants_classes(c) for c in cards):
            findings.append(say("no-condition", model=cards[0].title, name=str(whole.target)))
    budget, judged = None, None
    if clock.limit is not None:
        judged = min(_JUDGED[0] * clock.limit, _JUDGED[1]) if held is not None else 0.0
        # Where loading took the time (a busy machine), the fit has some all the same: no model is worth no waiting.
        budget = max(clock.left() - judged - min(_SECONDS, 0.1 * clock.limit), 0.3 * clock.limit)
    with _stage("search", timing, listener):
        board = choice.try_all(
            cards, fitted, valid, seconds=budget, seed=seed, settings={}, listener=_watch(listener, folder, train),
            announce=lambda name, i, n: listener and listener(Progress("search", candidate=name, done=i, total=n)),
        )  # fmt: skip
        best = board[0]
        findings += [say("while-fitting", note=note) for note in getattr(_history(best.model), "notes", [])]
        steps = getattr(_history(best.model), "steps", _STEPS)
        if budget is not None and steps < _STEPS:
            findings.append(say("few-steps", steps=steps, seconds=best.seconds))
    with _stage("evaluate", timing, listener):
        makes = best.model._step().makes
        figures: dict[str, float] = {}
        if held is not None:
            try:
                figures = choice.examined(best.card, best.model, held, fitted, seed=seed,
                                          budget=judged and max(0.6 * judged, 1.0))  # fmt: skip
            except DataError:
                findings.append(say("few-held-out", count=held.words()))
        evaluation = evaluation_of(figures, makes, "test")
        findings += _noticed(figures)
    with _stage("save", timing, listener):
        plain = wrap(best.model, suited(fitted, best.card.inputs).rows)
        model = GenerativeModel(plain.schema, plain.pack, plain.manifest)
        name = whole.target or _named(whole)
        _describe(model, whole, evaluation, findings, best, name, seed, len(fitted))
        _save(model, folder, model_path, findings)  # type: ignore[arg-type]
        result = _result(model, board, best)
        told = _story(whole, train, held, model, best, result, evaluation, findings, seed, clock, timing,
                      model_path or folder / "model.em")  # fmt: skip
        _save_story(told, folder, findings)
    return Run(model, _frame(result.leaderboard), findings, evaluation, told, folder, result)  # type: ignore[arg-type]


def _enough(whole: Material, kept: np.ndarray, aside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As many held-out images as are enlarged in some seconds, one at least; the others are learnt from."""
    if not len(aside) and len(kept) > 2:
        kept, aside = kept[:-1], kept[-1:]
    areas = np.cumsum([whole.rows[i].shape[0] * whole.rows[i].shape[1] for i in aside])
    count = max(int((areas <= _PIXELS).sum()), min(len(aside), 1))
    return np.sort(np.concatenate([kept, aside[count:]])), aside[:count]


def _watch(listener: Listener | None, folder: Path, train: Material) -> Any:
    """What a fit reports while it runs: coverage and distance, or the loss, with the time that is left.

    Images that it makes meanwhile stand in `live.png` in the run folder, new after each look.
    """
    seen: Any = None

    def watch(progress: Any, objective: Any) -> None:
        nonlocal seen
        film = getattr(objective, "film", [])
        if train.kind == "image" and film and (len(film), film[-1][0]) != seen:
            seen = (len(film), film[-1][0])
            picture = shown.live(film[-1][1], train.rows.shape[1:])
            if picture is not None:
                with contextlib.suppress(OSError), atomic_write(folder / "live.png") as stream:
                    stream.write(picture)
        if listener is None:
            return
        last = progress.history.epochs[-1] if progress.history.epochs else {}
        parts = []
        for key, title in (
            ("valid_psnr", "dB"),
            ("valid_coverage", "coverage"),
            ("valid_loss", "distance or loss"),
            ("loss", "loss"),
        ):
            value = last.get(key)
            if isinstance(value, int | float) and math.isfinite(value):
                parts.append(f"{title} {value:.3g}")
        said = f"{100 * progress.done:.0f} % of the steps" + (", " + ", ".join(parts[:2]) if parts else "")
        listener(Progress("search", said, seconds_left=progress.seconds_left))

    return watch


def _history(model: Any) -> Any:
    return getattr(model, "history_", None)


def evaluation_of(figures: dict[str, float], makes: str, source: str) -> Evaluation:
    """Figures of `evaluate` as metrics with intervals where they are shares, and one sentence."""
    n, known = figures.get("n"), titles(makes)
    metrics = []
    for name, value in figures.items():
        if name.endswith(("_real", "_bicubic")) or name == "n":
            continue
        _, better, text = known.get(name, (name, "", ""))
        low = high = math.nan
        if name in SHARES_OF.get(makes, SHARES) and n and 0 <= value <= 1:
            low, high = wilson(value * n, n)
        metrics.append(Metric(name, value, low, high, better, text))
    curves = {"figures": dict(figures), "beside": beside(figures, makes)}
    task = "enhance" if makes == "enhanced" else "generate"
    return Evaluation(task, source, metrics, headline(figures, makes), [], curves=curves)


def beside(figures: dict[str, float], makes: str) -> dict[str, Any]:
    """What figures are held against: those of real data, or of bicubic enlargement. {"title", "values" by name}"""
    if makes == "enhanced":
        names = {name: f"{name.partition('_')[0]}_bicubic" for name in figures}
        values = {name: figures[other] for name, other in names.items() if name != other and other in figures}
        return {"title": "bicubic", "values": values}
    return {"title": "real data", "values": {k[:-5]: v for k, v in figures.items() if k.endswith("_real")}}


def titles(makes: str) -> dict[str, tuple[str, str, str]]:
    """Title, direction and meaning of the figures of what is made."""
    return FIGURES | {"texts": OF_TEXTS, "pieces": OF_PIECES, "levels": OF_LEVELS}.get(makes, {})


def headline(figures: dict[str, float], makes: str) -> str:
    """One sentence."""
    if not figures:
        does = "Enlarges images" if makes == "enhanced" else f"Makes {makes}"
        return f"{does}; nothing was held out to judge them by."
    if makes == "enhanced":
        return (
            f"Held-out images, shrunk and enlarged again, reach {figures['psnr']:.1f} dB with fidelity 1, where "
            f"bicubic enlargement reaches {figures['psnr_bicubic']:.1f} dB; with fidelity 0 they have "
            f"{figures['detail_vivid']:.0%} of the true fine detail (bicubic {figures['detail_bicubic']:.0%})."
        )
    said = {"texts": _of_texts, "pieces": _of_pieces, "levels": _of_levels}.get(makes)
    if said is not None:
        return said(figures)
    parts = []
    if "coverage" in figures:
        real = figures.get("coverage_real")
        beside = "" if real is None else f" (real data: {real:.0%})"
        parts.append(f"samples lie near {figures['coverage']:.0%} of held-out data{beside}")
    if "frechet_ratio" in figures:
        parts.append(
            f"Fréchet distance {figures['frechet']:.3g}, {figures['frechet_ratio']:.3g} times that of real data"
        )
    if "agreement" in figures:
        parts.append(f"{figures['agreement']:.0%} are what was asked for")
    if not parts:
        for name, value in list(figures.items())[:3]:
            if name != "n" and not name.endswith("_real"):
                real = figures.get(f"{name}_real")
                beside = "" if real is None else f" (real data: {real:.3g})"
                parts.append(f"{titles(makes).get(name, (name.replace('_', ' '),))[0].lower()} {value:.3g}{beside}")
    said = "; ".join(parts)
    return said[:1].upper() + said[1:] + "."


def _of_texts(figures: dict[str, float]) -> str:
    plain = figures.get("nats_by_frequency")
    beside = "" if plain is None else f", where the frequency of characters alone costs {plain:.3g}"
    runs = figures.get("copied_usual_real")
    copied = "" if runs is None else (
        f"; samples share runs of {figures['copied_usual']:.3g} characters with the texts, held-out text {runs:.3g}"
    )  # fmt: skip
    return f"Held-out text costs {figures['nats_per_character']:.3g} nats a character{beside}{copied}."


def _of_pieces(figures: dict[str, float]) -> str:
    runs = figures.get("copied_real")
    copied = "" if runs is None else (
        f"; samples repeat up to {figures['copied']:.0f} frames in a row of known pieces, held-out ones {runs:.0f}"
    )  # fmt: skip
    return f"Held-out music costs {figures['nats_per_frame']:.3g} nats a frame{copied}."


def _of_levels(figures: dict[str, float]) -> str:
    way = "" if "solvable" not in figures else f"; {figures['solvable']:.0%} of samples can be solved as they come"
    real = figures.get("solvable_real")
    beside = "" if real is None else f" (held-out levels: {real:.0%})"
    return (
        f"Held-out levels cost {figures['nats_per_tile']:.3g} nats a tile; samples show {figures['coverage']:.0%} of "
        f"their squares of 3 x 3 tiles{way}{beside}."
    )


def _noticed(figures: dict[str, float]) -> list[Finding]:
    found, n = [], figures.get("n", 1.0)
    if 0.6 < figures.get("copied", 0.0) <= 1 and wilson(figures["copied"] * n, n)[0] > 0.55:
        found.append(say("copies", share=figures["copied"]))
    if figures.get("nats_per_character", 0.0) > 0.95 * figures.get("nats_by_frequency", math.inf):
        found.append(say("nothing-learnt", reached=figures["nats_per_character"], plain=figures["nats_by_frequency"]))
    if figures.get("psnr", math.inf) <= figures.get("psnr_bicubic", -math.inf):
        found.append(say("no-gain", reached=figures["psnr"], plain=figures["psnr_bicubic"]))
    covered, real = figures.get("coverage"), figures.get("coverage_real")
    if covered is not None and real is not None and covered < 0.5 * real:
        found.append(say("samples-alike", covered=covered, real=real))
    return found


def _named(whole: Material) -> str:
    name = Path(whole.source.source).stem
    return whole.kind if name.startswith("<") or not name else name


def _describe(
    model: GenerativeModel,
    whole: Material,
    evaluation: Evaluation,
    findings: list[Finding],
    best: choice.Tried,
    name: str,
    seed: int,
    rows: int,
) -> None:
    """What the file says of itself."""
    model.manifest |= {
        "name": name,
        "title": f"{name}: {best.card.title}",
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "headline": evaluation.headline,
        "findings": [f.to_dict() for f in findings],
        "metrics": [
            {"name": m.name, "value": m.value, "low": _finite(m.low), "high": _finite(m.high), "source": "test"}
            for m in evaluation.metrics
            if math.isfinite(m.value)
        ],
    }
    if whole.labels is not None and model.step.classes:
        model.manifest["condition"] = whole.target
    judge = getattr(getattr(best.model, "examined_", None), "judge", None)
    if judge:
        model.manifest["judge"] = judge
    model.manifest["provenance"] |= {"data_fingerprint": whole.source.fingerprint, "rows": rows, "seed": seed}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _result(model: GenerativeModel, board: list[choice.Tried], best: choice.Tried) -> SearchResult:
    rows = [
        {
            "model": t.card.title,
            "card": t.card.name,
            "score": None if t.score is None or not math.isfinite(t.score) else abs(t.score),
            "score_low": None,
            "score_high": None,
            "fit_seconds": round(t.seconds, 3),
            "weight": float(t is best),
            "status": t.failed or "ok",
            "steps": getattr(_history(t.model), "steps", None),
        }
        for t in board
    ]
    failures = [(t.card.title, t.failed) for t in board if t.failed]
    return SearchResult.of_one(model, rows, best.card.name, failures, getattr(best.model, "interrupted_", False))


def _story(
    whole: Material,
    train: Material,
    held: Material | None,
    model: GenerativeModel,
    best: choice.Tried,
    result: SearchResult,
    evaluation: Evaluation,
    findings: list[Finding],
    seed: int,
    clock: Clock,
    timing: dict[str, float],
    model_file: Path,
) -> dict[str, Any]:
    from everymodel.scoring.steps.base import Batch
    from everymodel.workflow.story import plain, story

    n = len(held) if held is not None else 0
    part = "The end of the text was" if whole.long else f"{n:,} of {whole.words()} {'was' if n == 1 else 'were'}"
    what = "what is made" if model.makes == "enhanced" else "samples"
    note = (
        f"{part} held out before anything was fitted, and read once: to judge {what}."
        if n
        else f"Nothing was held out, so {what} could not be judged."
    )
    parts = Split("random", np.arange(len(train)), np.arange(n), [], note)
    metric = choice.HEADLINES.get(model.makes, ("frechet", False))[0]
    problem = Problem(model.schema, model.task, Batch({}, 0), np.zeros(0), [], metric, seed)
    told = story(whole.source, findings, parts, problem, result, evaluation, {}, timing, clock.limit, model_file,
                 whole.source.frame, False)  # fmt: skip
    name = Path(whole.source.source).name
    like = name if name and not name.startswith("<") else whole.words()
    told["title"] = f"Larger images, learnt from {like}" if model.makes == "enhanced" else f"Data like {like}"
    told["rows"] = len(whole)
    told["target"] = whole.target or ""
    told["how_to"] = _how_to(model_file, model)
    told["structure"] = plain(shown.structure(whole, train, held, model, best, evaluation, seed))
    shares = SHARES_OF.get(model.makes, SHARES)
    told["structure"] |= {"titles": {k: t[0] for k, t in titles(model.makes).items()}, "shares": list(shares)}
    return told


def _how_to(path: Path, model: GenerativeModel) -> dict[str, str]:
    classes = model.step.classes
    if model.makes == "enhanced":
        return {
            "python": f'import everymodel as em\n\nmodel = em.load("{path}")\n'
            "model.upscale(image, fidelity=1.0)  # 1: the least error; 0: the most detail",
            "cli": f"everymodel enhance {shlex.quote(str(path))} small.png -o large.png",
            "rest": f"everymodel serve {shlex.quote(str(path))}\ncurl -s localhost:8000/v1/enhance -H 'content-type: "
            'application/json\' -d "{\\"image\\": \\"$(base64 -w0 small.png)\\"}"',
        }
    file = shlex.quote(str(path))
    asks = f", condition={classes[0]!r}" if classes else ""
    wish = f" --condition {shlex.quote(str(classes[0]))}" if classes else ""
    ending = {"images": "samples.png", "rows": "samples.csv", "table": "samples.csv", "texts": "-"}.get(
        model.makes, "samples"
    )
    body = {"images": '{"n": 16, "seed": 0}', "texts": '{"n": 1, "seed": 0}'}.get(model.makes, '{"n": 100, "seed": 0}')
    return {
        "python": f'import everymodel as em\n\nmodel = em.load("{path}")\nmodel.sample(16{asks}, seed=0)',
        "cli": f"everymodel sample {file} -n 16{wish} --seed 0 -o {ending}",
        "rest": f"everymodel serve {file}\ncurl -s localhost:8000/v1/sample -H 'content-type: application/json' "
        f"-d '{body}'",
    }
