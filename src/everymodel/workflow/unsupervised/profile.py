"""What groups are, in words: names, sentences with figures, typical values, rules.

Every column is compared between a group and all other rows by the best single cut: the share of the group on one side
of it minus the share of the others there (Youden's J; for categories the distance of the two distributions). This asks
for no scale and no shape, so that skewed numbers, dates and categories can be set side by side.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from everymodel.workflow.unsupervised import rules, words
from everymodel.workflow.unsupervised.facets import Facet, facets, sample
from everymodel.workflow.unsupervised.material import Material

if TYPE_CHECKING:
    import pandas as pd

TRAITS = 3  # in a name
CLEAR = 0.25  # J below which a column is no trait
PART = 0.45  # of the strongest trait's J, below which another is not named
SAME = 0.7  # correlation inside groups from which on two columns say the same
MIDDLE = 0.15  # how much more an interval must tell than one cut
STRAY = 0.4  # J from which on rows of no group are said to have a trait: mostly they are just spread out
PRIVATE = 5  # rows below which no figures of a group are told: they would be cells
TYPICAL = 40  # columns with typical values
HEAT = 24  # columns of the heat map


@dataclass
class Trait:
    """One thing that sets a group apart: `strength` is J, from 0 to 1."""

    facet: Facet
    side: str  # high, low, middling, no; yes, no; is, not; given, missing
    strength: float
    very: bool = False
    level: int = -1
    share: float = 0.0  # of the group's known cells that hold the level
    inside: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))  # (steps + 1,) steps that the trait covers


@dataclass
class Description:
    """`segments` for the model file, `structure` for the report, `table` for Python."""

    segments: list[dict[str, Any]]
    structure: dict[str, Any]
    table: pd.DataFrame


def profile(material: Material, labels: np.ndarray, memberships: np.ndarray, seed: int = 0) -> list[dict[str, Any]]:
    """One dict per group: number, name, sentence, rows, share, confidence, traits, typical values, rule."""
    return describe(material, labels, memberships, seed).segments


def describe(material: Material, labels: np.ndarray, memberships: np.ndarray, seed: int = 0) -> Description:
    """Say what groups are.

    Parameters
    ----------
    labels : (n,) group of each row, -1 for noise.
    memberships : (n, k) or (n, k + 1) with noise last.
    seed : of the sample that large tables are described by, and of the rows that rules are measured on.
    """
    labels = np.asarray(labels, dtype=np.int64)
    groups = max(int(labels.max(initial=-1)) + 1, 0)
    rows = sample(labels, seed)
    found, here = facets(material, rows), labels[rows]
    counts = [f.counts(here, groups) for f in found]
    chosen = [_traits(found, counts, here, g) for g in range(groups)] if groups > 1 else [[] for _ in range(groups)]
    names = _names(chosen, found, counts, groups)
    ruled = rules.rules(material, found, here, rows, groups, seed)
    segments = []
    for g in range(groups):
        at = labels == g
        told = {
            "number": g,
            "name": names[g],
            "sentence": _sentence(material, names[g], chosen[g], at, groups),
            "rows": int(at.sum()),
            "share": float(at.mean()),
            "confidence": float(memberships[at, g].mean()) if at.any() else 0.0,
            "traits": [_trait(material, t, at) for t in chosen[g]],
        }
        if told["rows"] >= PRIVATE:
            told["typical"] = _typical(found, here == g)
            told["rule"] = ruled.of[g]
        segments.append(told)
    structure: dict[str, Any] = {
        "segments": segments,
        "sizes": [s["rows"] for s in segments],
        "heat": _heat(found, counts, groups),
        "rules": {"text": ruled.text, "agreement": ruled.agreement, "measured": ruled.measured, "tree": ruled.tree},
        "noise_share": float((labels < 0).mean()),
    }
    if (labels < 0).any():
        structure["noise"] = _noise(material, found, here, labels)
    return Description(segments, structure, _table(segments, structure.get("noise")))


# -- what sets a group apart --------------------------------------------------------------------------------------


def _compare(facet: Facet, own: np.ndarray, rest: np.ndarray) -> list[Trait]:
    """The traits that a facet can give, from the counts (steps + 1,) of a group and of those it is compared with."""
    if own.sum() == 0 or rest.sum() == 0:
        return []
    made = []
    gap = own[-1] / own.sum() - rest[-1] / rest.sum()
    if abs(gap) >= CLEAR:
        inside = np.zeros(facet.steps + 1, bool)
        inside[-1 if gap > 0 else slice(0, -1)] = True
        made.append(Trait(facet, "missing" if gap > 0 else "given", abs(gap), inside=inside))
    own, rest = own[:-1], rest[:-1]
    if own.sum() < 3 or rest.sum() < 1:
        return made
    p, q = own / own.sum(), rest / rest.sum()
    if facet.kind in ("number", "date"):
        made.append(_ordered(facet, p, q))
    elif facet.kind == "category":
        made.append(_leveled(facet, p, q))
    else:
        up = p[1] > q[1]
        made.append(Trait(facet, "yes" if up else "no", abs(p[1] - q[1]), inside=_at(facet, [1 if up else 0])))
    return made


def _ordered(facet: Facet, p: np.ndarray, q: np.ndarray) -> Trait:
    ahead = np.cumsum(p - q)
    low, high = int(ahead.argmax()), int(ahead.argmin())
    down, up = float(ahead[low]), float(-ahead[high])
    best, start, end = -1.0, 0, 0
    total, begin = 0.0, 0
    for i, gain in enumerate(p - q):  # the interval that holds most of the group and least of the others
        if total <= 0:
            total, begin = 0.0, i
        total += gain
        if total > best:
            best, start, end = total, begin, i
    if best > max(down, up) + MIDDLE and start > 0 and end < facet.steps - 1:
        return Trait(facet, "middling", float(best), inside=_at(facet, range(start, end + 1)))
    middle = int(np.searchsorted(np.cumsum(p), 0.5))
    if down >= up:
        very = bool(q[middle + 1 :].sum() >= 0.95) if middle + 1 < len(q) else False
        return Trait(facet, "low", down, very, inside=_at(facet, range(low + 1)))
    return Trait(facet, "high", up, bool(q[:middle].sum() >= 0.95), inside=_at(facet, range(high + 1, facet.steps)))


def _leveled(facet: Facet, p: np.ndarray, q: np.ndarray) -> Trait:
    best, worst = int((p - q).argmax()), int((p - q).argmin())
    strength = float(np.maximum(p - q, 0).sum())
    gain, loss = float(p[best] - q[best]), float(q[worst] - p[worst])
    if gain >= 0.6 * loss or p[best] >= 0.5:
        return Trait(
            facet, "is", max(gain, 0.8 * strength), level=best, share=float(p[best]), inside=_at(facet, [best])
        )
    return Trait(facet, "not", loss, level=worst, inside=~_at(facet, [worst, facet.steps]))


def _at(facet: Facet, steps: Any) -> np.ndarray:
    inside = np.zeros(facet.steps + 1, bool)
    inside[list(steps)] = True
    return inside


def _traits(found: list[Facet], counts: list[np.ndarray], labels: np.ndarray, group: int) -> list[Trait]:
    """The strongest traits of a group that do not say the same thing twice."""
    size = float((labels == group).sum())
    rest = float((labels >= 0).sum()) - size
    if size == 0 or rest == 0:
        return []
    least = max(CLEAR, 2.0 * np.sqrt(0.5 * (1 / size + 1 / rest)))  # more columns than chance lets stand out
    options = [t for f, c in zip(found, counts) for t in _compare(f, c[group], c.sum(axis=0) - c[group])]
    options = sorted((t for t in options if t.strength >= least), key=lambda t: -t.strength)
    kept: list[Trait] = []
    for trait in options:
        if len(kept) == TRAITS or (kept and trait.strength < PART * kept[0].strength):
            break
        if not any(_same(trait, other, labels) for other in kept):
            kept.append(trait)
    return kept


def _same(one: Trait, two: Trait, labels: np.ndarray) -> bool:
    """Whether two traits tell the same: they go together inside the groups, not just because both tell groups apart."""
    if one.facet.column == two.facet.column:
        return one.facet.kind != "term" or one.facet.term == two.facet.term
    a, b = _scores(one), _scores(two)
    at = labels >= 0
    a, b, g = a[at], b[at], labels[at]
    inner_a, inner_b = _without_means(a, g), _without_means(b, g)
    sizes = np.sqrt((inner_a**2).mean() * (inner_b**2).mean())
    if np.sqrt((inner_a**2).mean()) > 0.05 and np.sqrt((inner_b**2).mean()) > 0.05:
        return bool(abs((inner_a * inner_b).mean()) / sizes >= SAME)
    return bool(np.array_equal(a > a.mean(), b > b.mean()) and a.std() > 0 and one.facet.kind == two.facet.kind)


def _scores(trait: Trait) -> np.ndarray:
    """(m,) ranks from 0 to 1 of numbers, 0 or 1 of all else."""
    facet = trait.facet
    if facet.kind in ("number", "date") and trait.side not in ("given", "missing"):
        codes = np.where(facet.codes < 0, facet.steps / 2, facet.codes)
        counts = np.bincount(np.maximum(facet.codes, 0), minlength=facet.steps)
        ranks = np.append((np.cumsum(counts) - counts / 2) / max(counts.sum(), 1), 0.5)
        return ranks[np.where(facet.codes < 0, facet.steps, codes).astype(np.int64)]
    return trait.inside[np.where(facet.codes < 0, facet.steps, facet.codes)].astype(np.float64)


def _without_means(a: np.ndarray, groups: np.ndarray) -> np.ndarray:
    counts = np.maximum(np.bincount(groups), 1)
    return a - (np.bincount(groups, weights=a) / counts)[groups]


# -- names and sentences ------------------------------------------------------------------------------------------


def _word(trait: Trait) -> str:
    facet, side = trait.facet, trait.side
    name = words.spoken(facet.column)
    if side in ("missing", "given"):
        return f"{name} {'not ' if side == 'missing' else ''}given"
    if facet.kind == "number":
        if side == "low" and int(np.flatnonzero(trait.inside).max()) == 0 and _zeros(facet):
            return f"no {name}"
        return words.level(facet.column, side, trait.very)
    if facet.kind == "date":
        return words.when(facet.column, side)
    if facet.kind == "boolean":
        return f"{'with' if side == 'yes' else 'without'} {name}"
    if facet.kind == "term":
        return f"{name} {'with' if side == 'yes' else 'without'} “{words.short(facet.term, 24)}”"
    level = words.short(facet.labels[trait.level], 30) or "an empty word"
    if side == "not":
        return f"{name} not {level}"
    if len(level.split()) > 2:
        return f"{name} “{level}”"
    often = "only" if trait.share > 0.98 else "mostly" if trait.share >= 0.6 else "often"
    return f"{often} {level}" if len(level) > 2 and any(map(str.isalpha, level)) else f"{often} {name} {level}"


def _zeros(facet: Facet) -> bool:
    known = facet.values[np.isfinite(facet.values)]
    return bool(len(known) and known.min() == 0 and (facet.values[facet.codes == 0] == 0).all())


def _names(chosen: list[list[Trait]], found: list[Facet], counts: list[np.ndarray], groups: int) -> list[str]:
    """A name per group, no two alike: where they would be, what tells the two apart is added."""
    if groups == 1:
        return ["all rows"]
    names = [", ".join(_word(t) for t in traits) or "near the average" for traits in chosen]
    for g in range(groups):
        twins = [h for h in range(groups) if h != g and names[h] == names[g]]
        if not twins:
            continue
        used = {t.facet.column for t in chosen[g]}
        options = [
            t for f, c in zip(found, counts) if f.column not in used for t in _compare(f, c[g], c[twins].sum(axis=0))
        ]
        best = max(options, key=lambda t: t.strength, default=None)
        if best is not None and best.strength >= CLEAR:
            chosen[g].append(best)
            names[g] = f"{names[g]}, {_word(best)}" if len(chosen[g]) > 1 else _word(best)
    seen: dict[str, int] = {}
    for g, name in enumerate(names):
        seen[name] = seen.get(name, 0) + 1
        if seen[name] > 1:
            names[g] = f"{name} ({seen[name]})"
    return names


def _sentence(material: Material, name: str, traits: list[Trait], at: np.ndarray, groups: int) -> str:
    if groups == 1:
        return "All rows together: no groups were told apart."
    if not traits:
        return "No single column sets these rows apart; it is several together that do."
    if at.sum() < PRIVATE:
        return f"{name[:1].upper()}{name[1:]}. Too few rows for figures that are not somebody's."
    text = "; ".join(_clause(material, t, at) for t in traits)
    return f"{text[:1].upper()}{text[1:]}."


def _clause(material: Material, trait: Trait, at: np.ndarray) -> str:
    facet, name = trait.facet, words.spoken(trait.facet.column)
    values = material.batch.columns[facet.column]
    if trait.side in ("missing", "given"):
        gone = facet_missing(values)
        own, whole = gone[at].mean(), gone.mean()
        if trait.side == "given":
            return f"{name} given in {words.percent(1 - own)} ({words.percent(1 - whole)} overall)"
        return f"{name} not given in {words.percent(own)} ({words.percent(whole)} overall)"
    if facet.kind in ("number", "date"):
        own, whole = float(np.nanmedian(values[at])), float(np.nanmedian(values))
        if facet.kind == "date":
            span = float(np.nanmax(values) - np.nanmin(values))
            return f"median {name} {words.date(own, span)} against {words.date(whole, span)} overall"
        if trait.side == "middling":
            low, high = np.nanquantile(values[at], [0.1, 0.9])
            return f"{name} mostly {words.figure(low, facet.whole)} to {words.figure(high, facet.whole)}"
        if own == whole or _word(trait) == f"no {name}":
            here, all_ = (values[at] == values[at].min()).mean(), (values == np.nanmin(values)).mean()
            least = words.figure(float(np.nanmin(values)), facet.whole)
            if own == np.nanmin(values):
                return f"{name} {least} in {words.percent(here)} ({words.percent(all_)} overall)"
            own, whole = float(np.nanmean(values[at])), float(np.nanmean(values))
            return f"mean {name} {words.figure(own)} against {words.figure(whole)} overall"
        return f"median {name} {words.figure(own, facet.whole)} against {words.figure(whole, facet.whole)} overall"
    if facet.kind == "category":
        known = values >= -2
        hit = (values == trait.level) & known if trait.level < facet.steps - 1 else values >= trait.level
        level = words.short(facet.labels[trait.level], 30)
        return f"{name} {level} in {words.percent(hit[at].mean())} ({words.percent(hit.mean())} overall)"
    if facet.kind == "boolean":
        known = ~np.isnan(values)
        own, whole = (values[at & known] > 0).mean(), (values[known] > 0).mean()
        return f"{name} in {words.percent(own)} ({words.percent(whole)} overall)"
    hit = np.array([facet.term in t.lower() for t in values.tolist()])
    term = words.short(facet.term, 24)
    return f"“{term}” in {words.percent(hit[at].mean())} of {name} ({words.percent(hit.mean())} overall)"


def facet_missing(values: np.ndarray) -> np.ndarray:
    """(n,) whether cells of a column of the batch are missing."""
    if values.dtype.kind == "f":
        return np.isnan(values)
    return values == -1 if values.dtype.kind in "iu" else np.array([not v for v in values.tolist()], dtype=bool)


def _trait(material: Material, trait: Trait, at: np.ndarray) -> dict[str, Any]:
    told = {"column": trait.facet.column, "side": trait.side, "word": _word(trait), "strength": trait.strength}
    if trait.level >= 0:
        told["level"] = words.short(trait.facet.labels[trait.level], 60)
    if at.sum() >= PRIVATE:
        told["figures"] = _clause(material, trait, at)
    return told


# -- what the report shows beside ---------------------------------------------------------------------------------


def _typical(found: list[Facet], at: np.ndarray) -> list[dict[str, str]]:
    """The middle of each column in a group, in words: medians and most frequent levels, each column by itself."""
    told = []
    for facet in found[:TYPICAL]:
        codes = facet.codes[at]
        known = codes >= 0
        if facet.kind == "term" or not len(codes):
            continue
        if known.mean() < 0.5:
            told.append({"column": facet.column, "value": "not given"})
        elif facet.kind in ("number", "date"):
            low, middle, high = np.quantile(facet.values[at][known], [0.25, 0.5, 0.75])
            if facet.kind == "date":
                told.append({"column": facet.column, "value": words.date(middle)})
            else:
                value, *ends = (words.figure(v, facet.whole) for v in (middle, low, high))
                told.append({"column": facet.column, "value": value, "spread": f"{ends[0]} to {ends[1]}"})
        else:
            count = np.bincount(codes[known], minlength=facet.steps)
            best = int(count.argmax())
            share = words.percent(float(count[best] / known.sum()))
            told.append({"column": facet.column, "value": words.short(facet.labels[best], 30), "spread": share})
    return told


def _heat(found: list[Facet], counts: list[np.ndarray], groups: int) -> dict[str, Any]:
    """How much higher (1) or lower (-1) each column is in each group than elsewhere; the columns that tell most."""
    lines: list[tuple[float, str, np.ndarray]] = []
    for facet, count in zip(found, counts) if groups > 1 else ():
        own = count[:, :-1]
        rest = own.sum(axis=0) - own
        p = own / np.maximum(own.sum(axis=1, keepdims=True), 1)
        q = rest / np.maximum(rest.sum(axis=1, keepdims=True), 1)
        name = words.spoken(facet.column, 30)
        if facet.kind in ("number", "date"):
            below = np.cumsum(q, axis=1) - q / 2
            lean = 2 * (p * below).sum(axis=1) - 1
        elif facet.kind == "category":
            best = int(np.abs(p - q).max(axis=0).argmax())
            lean, name = (p - q)[:, best], f"{name} = {words.short(facet.labels[best], 20)}"
        else:
            lean = (p - q)[:, 1]
            name = f"{name}: “{words.short(facet.term, 16)}”" if facet.term else name
        lines.append((float(np.abs(lean).max(initial=0.0)), name, np.round(lean, 3)))
    lines.sort(key=lambda line: -line[0])
    lines = lines[:HEAT]
    return {
        "columns": [name for _, name, _ in lines],
        "rows": list(range(groups)),
        "z": [[float(line[2][g]) for line in lines] for g in range(groups)],
        "more": max(0, len(found) - len(lines)),
    }


def _noise(material: Material, found: list[Facet], here: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Rows of no group, told apart from all rows in groups."""
    two = np.where(here < 0, 0, 1)
    counts = [f.counts(two, 2) for f in found]
    traits = [t for t in _traits(found, counts, two, 0) if t.strength >= STRAY]
    at = labels < 0
    name = ", ".join(_word(t) for t in traits)
    text = f"Rows that lie in no group ({words.percent(float(at.mean()))})"
    if traits and at.sum() >= PRIVATE:
        text += "; what sets them apart most: " + "; ".join(_clause(material, t, at) for t in traits)
    return {"rows": int(at.sum()), "share": float(at.mean()), "name": name, "sentence": f"{text}."}


def _table(segments: list[dict[str, Any]], noise: dict[str, Any] | None) -> pd.DataFrame:
    import pandas as pd

    rows = [
        {
            **{k: s[k] for k in ("number", "name", "rows", "share", "confidence", "sentence")},
            "rule": (s.get("rule") or {}).get("text", ""),
            "f1": (s.get("rule") or {}).get("f1", np.nan),
        }
        for s in segments
    ]
    if noise:
        rows.append({"number": -1, "name": "no group", **{k: noise[k] for k in ("rows", "share", "sentence")},
                     "confidence": np.nan, "rule": "", "f1": np.nan})  # fmt: skip
    return pd.DataFrame(rows)
