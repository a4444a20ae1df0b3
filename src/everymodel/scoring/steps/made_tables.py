"""What makes rows of tables: numbers, words, dates and missing cells, as in the table that was learnt from.

Each step draws uniform numbers for its columns, which `made_fields.Field` turns into cells; what is asked for is obeyed
exactly, and the other columns follow from it in the step's own way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from everymodel.core.errors import DataError, EverymodelError, ModelFileError, ParameterError
from everymodel.core.schema import Column
from everymodel.scoring.layers import base
from everymodel.scoring.layers.base import Layer
from everymodel.scoring.made_fields import MOST, Field, outputs_of, read_form, rows_of, score_of, share_of
from everymodel.scoring.steps.base import Batch, Step, need, step
from everymodel.scoring.steps.generating import PROOF, Sampler, slerp

_SLICE = 1 << 22  # numbers that a network makes at once
_NEAREST = 10  # rows to start from under a condition on numbers
_DRAWN = 200_000  # latent variables of which those that fit are kept, at most


class TableSampler(Sampler):
    """Base of the steps that make rows of tables. A subclass says `uniforms`; asked cells are then put in exactly."""

    form: tuple[Field, ...]

    @property
    def makes(self) -> str:  # type: ignore[override]
        return "table"

    @property
    def tolerance(self) -> float:  # type: ignore[override]
        return 1e-4

    def columns(self) -> tuple[Column, ...]:
        return tuple(f.column() for f in self.form if f.kind != "identifier" and f.filled)

    # --- draws ---

    def draw(
        self, n: int, rng: np.random.Generator, condition: Any, truncation: float | None, **options: Any
    ) -> dict[str, np.ndarray]:
        if options:
            raise ParameterError(f"{sorted(options)[0]} is no option of this model's samples.")
        asked = self.asked_cells(n, condition)
        made = self.cells_of(n, rng, asked, truncation)
        made |= asked
        return {f.name: f.told(made[i]) for i, f in enumerate(self.form)}

    def cells_of(
        self, n: int, rng: np.random.Generator, asked: dict[int, np.ndarray], truncation: float | None
    ) -> dict[int, np.ndarray]:
        """`Field.numbers` of n rows for each column by its place; those asked for may be anything."""
        u = self.uniforms(n, rng, asked, truncation)
        return {i: f.numbers(u[:, i]) for i, f in enumerate(self.form)}

    def uniforms(
        self, n: int, rng: np.random.Generator, asked: dict[int, np.ndarray], truncation: float | None
    ) -> np.ndarray:
        """(n, columns) u of new rows, given the cells (n,) asked for by place."""
        raise NotImplementedError

    def asked_cells(self, n: int, condition: Any) -> dict[int, np.ndarray]:
        """What is asked for, {place: (n,) as `Field.numbers` holds it}."""
        if condition is None:
            return {}
        if not isinstance(condition, Mapping):
            raise ParameterError(
                f"condition={str(condition)[:60]!r} came; expected {{column: value}}, such as "
                f"{{{self.form[0].name!r}: ...}}."
            )
        places = {f.name: i for i, f in enumerate(self.form)}
        asked: dict[int, np.ndarray] = {}
        for name, value in condition.items():
            if str(name) not in places:
                known = ", ".join(list(places)[:20]) + (" ..." if len(places) > 20 else "")
                raise ParameterError(f"There is no column {str(name)!r}: expected {known}.")
            field = self.form[places[str(name)]]
            several = value.tolist() if hasattr(value, "tolist") and getattr(value, "ndim", 0) == 1 else value
            if isinstance(several, list | tuple):
                if len(several) != n:
                    raise ParameterError(
                        f"{len(several)} values of {name!r} came for {n} rows; expected one, or one for each."
                    )
                read: dict[Any, float] = {}
                for cell in several:
                    key = (type(cell), cell)
                    if key not in read:
                        read[key] = field.wanted(cell)
                asked[places[str(name)]] = np.array([read[type(cell), cell] for cell in several])
            else:
                asked[places[str(name)]] = np.full(n, field.wanted(value))
        return asked

    def asked_uniforms(self, asked: dict[int, np.ndarray], rng: np.random.Generator) -> dict[int, np.ndarray]:
        """u of the cells asked for."""
        made = {}
        for i, x in sorted(asked.items()):
            values = np.where(np.isnan(x), -1, x).astype(np.int64) if self.form[i].kind == "category" else x
            made[i] = self.form[i].uniforms(values, rng)
        return made

    def known(self, batch: Any, rng: np.random.Generator | None = None) -> np.ndarray:
        """(n, columns) u of rows; NaN for cells that were never seen and for columns that are not read."""
        if not isinstance(batch, Batch):
            raise DataError(f"Rows as {type(batch).__name__} came; expected a table.")
        made = np.full((batch.n, len(self.form)), np.nan)
        for i, f in enumerate(self.form):
            if f.name in batch.columns:
                made[:, i] = f.uniforms(batch.columns[f.name], rng)
        return made

    # --- the file ---

    _layers: ClassVar[tuple[str, ...]] = ()

    def spec(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        settings, arrays = Step.spec(replace(self, form=None, **dict.fromkeys(self._layers)))  # type: ignore[type-var]
        plain = ("name", "kind", "levels", "grain", "whole", "missing")
        settings["form"] = [
            {k: list(v) if k == "levels" else v for k in plain if (v := getattr(f, k)) or k == "kind"}
            for f in self.form
        ]
        arrays["pieces"] = np.array([len(f.code) for f in self.form], dtype=np.int64)
        for name in ("edges", "low", "high", "code"):
            arrays[f"form_{name}"] = np.concatenate([getattr(f, name) for f in self.form])
        for name in self._layers:
            if getattr(self, name) is not None:
                told, own = base.write(getattr(self, name))
                settings[name] = told
                arrays |= {f"{name}:{key}": array for key, array in own.items()}
        return settings, arrays

    @classmethod
    def build(cls, settings: dict[str, Any], arrays: dict[str, np.ndarray]) -> Step:
        settings, arrays = dict(settings), dict(arrays)
        try:
            form = read_form(settings.pop("form", None), arrays)
            for name in cls._layers:
                if name in settings:
                    own = {k.partition(":")[2]: arrays.pop(k) for k in list(arrays) if k.startswith(f"{name}:")}
                    settings[name] = base.read(settings[name], own)
            return super().build({**settings, "form": form}, arrays)
        except (TypeError, ValueError, IndexError, AttributeError) as error:
            if isinstance(error, EverymodelError):
                raise
            raise ModelFileError(f"The model file is damaged: its table cannot be read ({error}).") from error

    def check(self) -> None:
        need(0 < len(self.form) <= MOST, "a table has no columns")
        need(len({f.name for f in self.form}) == len(self.form), "two columns of a table have one name")
        for f in self.form:
            f.check()


def _shape_of(layer: Layer, inputs: int, outputs: int, what: str) -> None:
    """ModelFileError unless the layer turns (n, inputs) into (n, outputs)."""
    try:
        made = layer(np.zeros((1, inputs), dtype=np.float32))
    except (EverymodelError, ValueError, TypeError, IndexError, AttributeError) as error:
        raise ModelFileError(f"The model file is damaged: {what} of a table does not fit ({error}).") from error
    need(isinstance(made, np.ndarray) and made.shape == (1, outputs), f"{what} of a table does not fit")


def chosen(logits: np.ndarray, draw: np.ndarray, truncation: float | None = None) -> np.ndarray:
    """(n,) classes drawn from logits (n, k) by `draw` (n,) in (0, 1); truncation below 1 prefers the likelier ones."""
    logits = logits.astype(np.float64) / max(1.0 if truncation is None else truncation, 1e-3)
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    total = p.cumsum(axis=1)
    return np.minimum((draw[:, None] * total[:, -1:] >= total).sum(axis=1), logits.shape[1] - 1)


@step("masked_table", output="samples")
class MaskedTable(TableSampler):
    """Rows are revealed column by column, in an order of their own, each drawn given all that is known already.

    A network says the classes of the hidden columns from those of the others: h = trunk(sum of vectors of the known
    classes), logits = h heads + bias. Asked cells are known from the beginning.

    vectors (classes + columns, width) : of every class, then of "hidden" for every column. trunk : (n, width) to
    (n, width). heads (width, classes). bias (classes,).
    """

    form: tuple[Field, ...]
    vectors: np.ndarray
    trunk: Layer
    heads: np.ndarray
    bias: np.ndarray

    _layers: ClassVar[tuple[str, ...]] = ("trunk",)

    @property
    def starts(self) -> np.ndarray:
        """(columns + 1,) where the classes of each column begin."""
        return np.concatenate([[0], np.cumsum([f.size for f in self.form])])

    def uniforms(
        self, n: int, rng: np.random.Generator, asked: dict[int, np.ndarray], truncation: float | None
    ) -> np.ndarray:
        given = self.asked_uniforms(asked, rng)
        codes = np.full((n, len(self.form)), -1, dtype=np.int64)
        for i, u in given.items():
            codes[:, i] = self.form[i].codes(u)
        size = max(_SLICE // (4 * self.heads.shape[0]), 64)
        for low in range(0, n, size):
            self._reveal(codes[low : low + size], rng, truncation)
        draw = rng.random(codes.shape)
        return np.column_stack([given[i] if i in given else f.within(codes[:, i], draw[:, i])
                                for i, f in enumerate(self.form)])  # fmt: skip

    def _start(self, codes: np.ndarray) -> np.ndarray:
        """(n, width) sums of the vectors of rows whose hidden cells are -1."""
        starts, hidden = self.starts, self.starts[-1]
        h = np.zeros((len(codes), self.vectors.shape[1]), dtype=np.float32)
        for i in range(len(self.form)):
            h += self.vectors[np.where(codes[:, i] < 0, hidden + i, starts[i] + codes[:, i])]
        return h

    def _reveal(self, codes: np.ndarray, rng: np.random.Generator, truncation: float | None) -> None:
        """Fill in the hidden cells of codes (n, columns), in place."""
        starts, hidden, n = self.starts, self.starts[-1], len(codes)
        free = np.flatnonzero((codes < 0).any(axis=0))
        if not len(free):
            return
        order = free[rng.random((n, len(free))).argsort(axis=1)]  # (n, free)
        at_once = -(-len(free) // 64)  # of very many columns several at a time
        h = self._start(codes)
        for low in range(0, len(free), at_once):
            a = self.trunk(h)
            draw = rng.random((n, at_once))
            change = np.zeros_like(h)
            for j, columns in enumerate(order[:, low : low + at_once].T):
                for i in np.unique(columns):
                    rows = np.flatnonzero(columns == i)
                    part = slice(starts[i], starts[i + 1])
                    codes[rows, i] = chosen(a[rows] @ self.heads[:, part] + self.bias[part], draw[rows, j], truncation)
                    change[rows] += self.vectors[starts[i] + codes[rows, i]] - self.vectors[hidden + i]
            h += change

    def score_samples(self, batch: Any, orders: int = 4) -> np.ndarray:
        """(n,) mean log probability of the classes of a row's cells, over some orders of the columns."""
        u = self.known(batch)
        codes = np.column_stack([f.codes(u[:, i]) for i, f in enumerate(self.form)])
        rng = np.random.default_rng(0)  # the orders
        starts, hidden = self.starts, self.starts[-1]
        total = np.zeros(len(codes))
        for _ in range(orders):
            h = self._start(np.full_like(codes, -1))
            for i in rng.permutation(len(self.form)):
                rows = np.flatnonzero(codes[:, i] >= 0)
                if not len(rows) or self.form[i].size == 1:
                    continue
                logits = (self.trunk(h)[rows] @ self.heads[:, starts[i] : starts[i + 1]]).astype(np.float64)
                logits += self.bias[starts[i] : starts[i + 1]]
                logits -= logits.max(axis=1, keepdims=True)
                own = logits[np.arange(len(rows)), codes[rows, i]]
                total[rows] += own - np.log(np.exp(logits).sum(axis=1))
                h[rows] += self.vectors[starts[i] + codes[rows, i]] - self.vectors[hidden + i]
        return total / orders

    def proof(self, seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        codes = np.array([[rng.integers(f.size) if rng.random() < 0.5 else -1 for f in self.form]])
        made = (self.trunk(self._start(codes)) @ self.heads + self.bias)[0].astype(np.float64)
        return made[:: max(len(made) // PROOF, 1)][:PROOF]

    def check(self) -> None:
        TableSampler.check(self)
        total, width = int(self.starts[-1]), self.heads.shape[0] if self.heads.ndim == 2 else 0
        for array, shape in (
            (self.vectors, (total + len(self.form), width)),
            (self.heads, (width, total)),
            (self.bias, (total,)),
        ):
            good = array.dtype.kind == "f" and array.shape == shape and bool(np.isfinite(array).all())
            need(good, "a table's network does not fit its columns")
        need(width > 0 and isinstance(self.trunk, Layer), "a table's network does not fit its columns")
        _shape_of(self.trunk, width, width, "the network")


@step("copula_table", output="samples")
class CopulaTable(TableSampler):
    """Columns are tied by a normal distribution of their scores: z ~ N(0, R), u = P(Z <= z) (Nelsen 2006).

    ties (columns, columns) : R. What is asked for is given its score, and the others follow from theirs given it.
    """

    form: tuple[Field, ...]
    ties: np.ndarray

    def uniforms(
        self, n: int, rng: np.random.Generator, asked: dict[int, np.ndarray], truncation: float | None
    ) -> np.ndarray:
        given = self.asked_uniforms(asked, rng)
        fixed = np.array(sorted(given), dtype=np.int64)
        free = np.setdiff1d(np.arange(len(self.form)), fixed)
        z = np.zeros((n, len(self.form)))
        for i, u in given.items():
            z[:, i] = score_of(u)
        spread = self.ties[np.ix_(free, free)]
        if len(fixed):  # E z = R_fg R_gg^-1 z_g, covariance R_ff - R_fg R_gg^-1 R_gf
            way = np.linalg.solve(self.ties[np.ix_(fixed, fixed)], self.ties[np.ix_(fixed, free)])  # (fixed, free)
            z[:, free] = z[:, fixed] @ way
            spread = spread - self.ties[np.ix_(free, fixed)] @ way
        noise = rng.standard_normal((n, len(free))) * (1.0 if truncation is None else truncation)
        z[:, free] += noise @ _root(spread).T
        return share_of(z)

    def score_samples(self, batch: Any) -> np.ndarray:
        """(n,) log density of the scores against independent ones; cells that were never seen count as usual ones."""
        z = np.nan_to_num(score_of(self.known(batch)))
        solved = np.linalg.solve(self.ties, z.T).T
        return -0.5 * (np.linalg.slogdet(self.ties)[1] + (z * (solved - z)).sum(axis=1))

    def proof(self, seed: int) -> np.ndarray:
        return (np.random.default_rng(seed).standard_normal(len(self.form)) @ _root(self.ties).T)[:PROOF]

    def check(self) -> None:
        TableSampler.check(self)
        F = len(self.form)
        need(
            self.ties.shape == (F, F) and self.ties.dtype.kind == "f" and bool(np.isfinite(self.ties).all()),
            "the ties of columns are wrong",
        )
        need(
            np.allclose(self.ties, self.ties.T) and bool((np.linalg.eigvalsh(self.ties) > 1e-9).all()),
            "the ties of columns are wrong",
        )


def _root(covariance: np.ndarray) -> np.ndarray:
    """A matrix whose square is the covariance; the symmetric one, so that equal matrices have equal roots."""
    if not len(covariance):
        return covariance
    w, v = np.linalg.eigh(covariance)
    return (v * np.sqrt(np.clip(w, 0, None))) @ v.T


@step("neighbor_table", output="samples")
class NeighborTable(TableSampler):
    """A row of the data moved part of the way to one of its neighbours (Chawla et al. 2002). It keeps the data.

    rows (n, columns) : `Field.numbers` of the data. neighbors (n, k) : places of the rows nearest to each.
    """

    form: tuple[Field, ...]
    rows: np.ndarray
    neighbors: np.ndarray

    holds_rows: ClassVar[bool] = True

    def cells_of(
        self, n: int, rng: np.random.Generator, asked: dict[int, np.ndarray], truncation: float | None
    ) -> dict[int, np.ndarray]:
        bases = rng.integers(len(self.rows), size=n)
        if asked:
            wanted = np.column_stack([asked[i] for i in sorted(asked)])
            kinds, which = np.unique(wanted, axis=0, return_inverse=True, equal_nan=True)
            for j, kind in enumerate(kinds):
                mine = np.flatnonzero(which.ravel() == j)
                bases[mine] = rng.choice(self._nearest(sorted(asked), kind), len(mine))
        beside = self.neighbors[bases, rng.integers(self.neighbors.shape[1], size=n)]
        way = rng.random(n) * (1.0 if truncation is None else min(truncation, 1.0))
        made = {}
        for i, f in enumerate(self.form):
            a, b = self.rows[bases, i], self.rows[beside, i]
            if f.kind in ("number", "date"):
                x = a + way * (b - a)
                made[i] = np.where(np.isnan(a) | np.isnan(b), np.where(way < 0.5, a, b), f.rounded(x))
            else:
                made[i] = np.where(rng.random(n) < way, b, a)
        return made

    def _nearest(self, columns: list[int], wanted: np.ndarray) -> np.ndarray:
        """Places of the rows that fit best to what is wanted of these columns: all that have as many of its words, or
        where it is also numbers the few nearest."""
        away, numbers = np.zeros(len(self.rows)), False
        for i, value in zip(columns, wanted, strict=True):
            x = self.rows[:, i]
            if self.form[i].kind in ("number", "date") and not np.isnan(value):
                spread = float(np.nanstd(x)) or 1.0
                away += np.where(np.isnan(x), 10.0, np.minimum(np.abs(x - value) / spread, 10.0))
                numbers = True
            else:
                away += 10.0 * ~((x == value) | (np.isnan(x) & np.isnan(value)))
        few = min(_NEAREST, len(away)) - 1
        return np.flatnonzero(away <= (np.partition(away, few)[few] if numbers else away.min()))

    def proof(self, seed: int) -> np.ndarray:
        i = int(np.random.default_rng(seed).integers(len(self.rows)))
        return np.nan_to_num(np.concatenate([self.rows[i], self.rows[self.neighbors[i, 0]]]))[:PROOF]

    def check(self) -> None:
        TableSampler.check(self)
        need(
            self.rows.ndim == 2
            and self.rows.dtype.kind == "f"
            and self.rows.shape[1] == len(self.form)
            and len(self.rows) > 0,
            "the rows of a table are wrong",
        )
        near = self.neighbors
        good = near.ndim == 2 and near.dtype.kind == "i" and len(near) == len(self.rows) and near.shape[1] > 0
        need(good and bool(((near >= 0) & (near < len(self.rows))).all()), "the neighbours of a table's rows are wrong")
        for i, f in enumerate(self.form):
            x = self.rows[:, i]
            need(not np.isinf(x).any() and (f.missing or not np.isnan(x).any()), "the rows of a table are wrong")
            if f.kind in ("category", "boolean"):
                x = x[~np.isnan(x)]
                top = f.filled if f.kind == "category" else 2
                need(bool(((x >= 0) & (x < top) & (x == np.floor(x))).all()), "the rows of a table are wrong")


@step("latent_table", output="samples")
class LatentTable(TableSampler):
    """Rows that a network makes of a latent variable: logits of classes, normal scores of numbers.

    network : (n, d [+ e]) to (n, outputs). size : d. codes (K, e) : learnt vectors, of which one is drawn for each row.
    middles (K, d), roots (K, d, d), shares (K,) : the latent variable is drawn from this mixture instead of N(0, I).
    noise (numbers,) : spread of the normal scores about what the network says. encoder : rows to (n, 2 d).
    """

    form: tuple[Field, ...]
    network: Layer
    size: int
    noise: np.ndarray
    codes: np.ndarray | None = None
    middles: np.ndarray | None = None
    roots: np.ndarray | None = None
    shares: np.ndarray | None = None
    encoder: Layer | None = None

    _layers: ClassVar[tuple[str, ...]] = ("network", "encoder")

    @property
    def width(self) -> int:
        return self.size + (0 if self.codes is None else self.codes.shape[1])

    def latents(
        self, n: int, rng: np.random.Generator, condition: Any = None, truncation: float | None = None
    ) -> np.ndarray:
        """(n, width): what the network is given."""
        if condition is not None:
            return self._fitting(n, rng, self.asked_cells(n, condition), truncation)
        z = rng.standard_normal((n, self.size)) * (1.0 if truncation is None else truncation)
        if self.middles is not None and self.roots is not None and self.shares is not None:
            which = rng.choice(len(self.shares), n, p=self.shares / self.shares.sum())
            for k in np.unique(which):
                rows = which == k
                z[rows] = z[rows] @ self.roots[k].T + self.middles[k]
        if self.codes is not None:
            z = np.concatenate([z, self.codes[rng.integers(len(self.codes), size=n)]], axis=1)
        return z.astype(np.float32)

    def outputs(self, latents: np.ndarray) -> np.ndarray:
        """(n, outputs) float64."""
        size = max(_SLICE // max(outputs_of(self.form), 512), 64)
        return np.concatenate([self.network(latents[i : i + size]) for i in range(0, len(latents), size)]).astype(
            np.float64
        )

    def uniforms(
        self, n: int, rng: np.random.Generator, asked: dict[int, np.ndarray], truncation: float | None
    ) -> np.ndarray:
        drawn = self._fitting(n, rng, asked, truncation) if asked else self.latents(n, rng, None, truncation)
        return self._cells(self.outputs(drawn), rng)

    def _fitting(
        self, n: int, rng: np.random.Generator, asked: dict[int, np.ndarray], truncation: float | None
    ) -> np.ndarray:
        """(n, width) latent variables, drawn by how likely they make the cells asked for (importance resampling)."""
        given = self.asked_uniforms(asked, rng)
        wanted = np.column_stack([asked[i] for i in sorted(asked)])
        _, first, which = np.unique(wanted, axis=0, return_index=True, return_inverse=True, equal_nan=True)
        many = int(np.clip(8 * n, 2000, max(_DRAWN // len(first), 2000)))
        drawn = self.latents(many, rng, None, truncation)
        made = self.outputs(drawn)
        rows = np.empty(n, dtype=np.int64)
        for j, at in enumerate(first):
            mine = np.flatnonzero(which.ravel() == j)
            fit = self._likely(made, {i: u[at] for i, u in given.items()})
            p = np.exp(fit - fit.max())
            rows[mine] = rng.choice(many, len(mine), p=p / p.sum())
        return drawn[rows]

    def _likely(self, made: np.ndarray, given: dict[int, float]) -> np.ndarray:
        """(n,) log likelihood of cells with these u under each row of outputs."""
        total = np.zeros(len(made))
        for i, f, part, number in self._blocks():
            if i not in given:
                continue
            u = np.array([given[i]])
            if number is None:
                logits = made[:, part] - made[:, part].max(axis=1, keepdims=True)
                total += logits[:, int(f.codes(u)[0])] - np.log(np.exp(logits).sum(axis=1))
                continue
            lost = u[0] > f.top
            if f.missing:
                total -= np.logaddexp(0.0, -made[:, part.start + 1] if lost else made[:, part.start + 1])
            if not lost:
                spread = max(float(self.noise[number]), 0.1)
                total -= 0.5 * ((made[:, part.start] - score_of(u / f.top)) / spread) ** 2
        return total

    def _blocks(self) -> list[tuple[int, Field, slice, int | None]]:
        """(place, column, its outputs, its number among the normal scores or None) of each column."""
        made, at, number = [], 0, 0
        for i, f in enumerate(self.form):
            wide = f.size if f.discrete else 1 + int(f.missing)
            made.append((i, f, slice(at, at + wide), None if f.discrete else number))
            at, number = at + wide, number + int(not f.discrete)
        return made

    def _cells(self, made: np.ndarray, rng: np.random.Generator | None) -> np.ndarray:
        """(n, columns) u for outputs; without `rng` the likeliest."""
        n = len(made)
        u = np.empty((n, len(self.form)))
        half = np.full(n, 0.5)
        for i, f, part, number in self._blocks():
            own = made[:, part]
            if number is None:
                codes = own.argmax(axis=1) if rng is None else chosen(own, rng.random(n))
                u[:, i] = f.within(codes, half if rng is None else rng.random(n))
                continue
            z = own[:, 0] if rng is None else own[:, 0] + self.noise[number] * rng.standard_normal(n)
            u[:, i] = f.top * np.clip(share_of(z), 1e-6, 1 - 1e-6)
            if f.missing:
                lost = own[:, 1] > (0.0 if rng is None else _logit(rng.random(n)))
                u[lost, i] = 0.5 * (1.0 + f.top)
        return u

    def encode(self, batch: Any) -> np.ndarray:
        """(n, d) means of the latent variables of rows."""
        if self.encoder is None:
            raise self.cannot("encode", "it has no encoder. TableVAE has one")
        return self.encoder(rows_of(self.form, self.known(batch)))[:, : self.size]

    def decode(self, latents: np.ndarray) -> dict[str, np.ndarray]:
        """The likeliest rows for latent variables (n, d)."""
        latents = np.asarray(latents, dtype=np.float32)
        if latents.ndim != 2 or latents.shape[1] != self.width:
            raise DataError(f"Latent variables of shape {latents.shape} came; expected (n, {self.width}).")
        u = self._cells(self.outputs(latents), None)
        return {f.name: f.told(f.numbers(u[:, i])) for i, f in enumerate(self.form)}

    def interpolate(self, a: np.ndarray, b: np.ndarray, steps: int) -> dict[str, np.ndarray]:
        """Rows on the way between two latent variables."""
        d = self.size
        t = np.linspace(0.0, 1.0, steps)[:, None]
        z = slerp(np.asarray(a[:d], dtype=np.float64), np.asarray(b[:d], dtype=np.float64), steps)
        return self.decode(np.concatenate([z, (1 - t) * a[d:] + t * b[d:]], axis=1))

    def proof(self, seed: int) -> np.ndarray:
        made = self.outputs(self.latents(1, np.random.default_rng(seed)))[0]
        return made[:: max(len(made) // PROOF, 1)][:PROOF]

    def check(self) -> None:
        TableSampler.check(self)
        need(
            isinstance(self.network, Layer) and type(self.size) is int and 0 < self.size <= 1 << 16,
            "a table's network is wrong",
        )
        numbers = sum(not f.discrete for f in self.form)
        need(
            self.noise.shape == (numbers,) and self.noise.dtype.kind == "f" and bool((self.noise >= 0).all()),
            "a table's noise is wrong",
        )
        mixture = (self.middles, self.roots, self.shares)
        need(
            all(m is None for m in mixture) or all(m is not None for m in mixture), "a table's latent mixture is wrong"
        )
        shapes: list[tuple[np.ndarray | None, tuple[int, ...]]] = [(self.codes, (-1, -1)), (self.noise, (-1,))]
        if self.shares is not None:
            K = len(self.shares)
            shapes += [(self.middles, (K, self.size)), (self.roots, (K, self.size, self.size)), (self.shares, (K,))]
            need(
                K > 0 and bool((self.shares >= 0).all()) and self.shares.sum() > 0, "a table's latent mixture is wrong"
            )
        for array, shape in shapes:
            if array is not None:
                fits = array.ndim == len(shape) and all(want in (-1, came) for want, came in zip(shape, array.shape))
                need(
                    fits
                    and array.dtype.kind == "f"
                    and bool(np.isfinite(array).all())
                    and len(array) + (array is self.noise) > 0,
                    "a table's latent variable is wrong",
                )
        _shape_of(self.network, self.width, outputs_of(self.form), "the network")
        if self.encoder is not None:
            _shape_of(self.encoder, outputs_of(self.form), 2 * self.size, "the encoder")


def _logit(p: np.ndarray) -> np.ndarray:
    return np.log(p / (1 - p))
