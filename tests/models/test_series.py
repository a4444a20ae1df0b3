"""Series by their shapes: what the features are, what comes in, and that files and answers agree."""

from __future__ import annotations

import numpy as np
import pytest

import everymodel as em
from everymodel import catalog
from everymodel.core.errors import DataError, ModelFileError
from everymodel.models.series import _kernels, _ridge
from everymodel.scoring.steps import series
from everymodel.scoring.steps.series import TRIPLES, Hydra, Rocket, Series

SMALL = {"features": 2016, "groups": 4, "random_state": 0}


def waves(n: int = 40, steps: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Slow and fast waves in noise, each beginning somewhere: no single step says which it is."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    at = np.linspace(0, 1, steps) * (12 + 8 * y[:, None]) + rng.uniform(0, 6, (n, 1))
    return np.sin(at) + 0.4 * rng.normal(size=(n, steps)), y


def cells(rows) -> np.ndarray:
    made = np.empty(len(rows), dtype=object)
    for i, row in enumerate(rows):
        made[i] = row
    return made


# What the features are: written again, slowly, from the papers


def slow_convolution(x: np.ndarray, triple: tuple[int, ...], dilation: int, inside: bool) -> np.ndarray:
    weights = np.full(9, -1.0)
    weights[list(triple)] = 2.0
    wide = np.concatenate([np.zeros(4 * dilation), x, np.zeros(4 * dilation)])
    full = np.array([(weights * wide[i : i + 8 * dilation + 1 : dilation]).sum() for i in range(len(x))])
    return full[4 * dilation : len(x) - 4 * dilation] if inside else full


def slow_pools(values: np.ndarray, bias: float) -> tuple[float, float, float, float]:
    above = values > bias
    longest = run = 0
    for one in above:
        run = run + 1 if one else 0
        longest = max(longest, run)
    t = len(values)
    if not above.any():
        return 0.0, 0.0, -1.0, 0.0
    return above.mean(), (values[above] - bias).mean(), np.flatnonzero(above).mean() / t, longest / t


@pytest.mark.parametrize(("dilation", "phase", "signals"), [(1, 0, 1), (3, 1, 1), (2, 1, 4)])
def test_multirocket_is_what_the_paper_says(dilation, phase, signals):
    rng = np.random.default_rng(1)
    x = np.round(rng.normal(size=(3, signals, 31)), 2).astype(np.float32)
    x[2] = 0.0  # nothing happens
    biases = rng.normal(size=(2, 84)).astype(np.float32) / 2
    channels = None if signals == 1 else rng.random((84, signals)) < 0.5
    got = series.rocket(Rocket(dilation, phase, biases, channels), x).reshape(3, 4, 2, 84)
    for kernel in range(0, 84, 5):
        for row in range(3):
            own = x[row, 0] if channels is None else x[row][channels[kernel]].sum(axis=0)
            values = slow_convolution(own.astype(float), TRIPLES[kernel], dilation, (kernel + phase) % 2 == 1)
            for f in range(2):
                expected = slow_pools(values, float(biases[f, kernel]))
                np.testing.assert_allclose(got[row, :, f, kernel], expected, atol=2e-5)


@pytest.mark.parametrize("signals", [1, 3])
def test_hydra_is_what_the_paper_says(signals):
    rng = np.random.default_rng(2)
    x = rng.normal(size=(4, signals, 40)).astype(np.float32)
    part = next(p for p, differs in _kernels.hydras(rng, x, 6) if isinstance(p, Hydra) and p.dilation == 2)
    got = series.hydra(part, x).reshape(4, 2, 3, 8)
    for row in range(4):
        for g in range(3):
            own = x[row, 0] if part.channels is None else x[row][part.channels[g]].sum(axis=0)
            unit = np.abs(own).max() / np.float32(series.HALF)
            wide = np.concatenate(
                [np.zeros(8), np.rint(own / np.abs(own).max() * np.float32(series.HALF)), np.zeros(8)]
            )
            Z = np.array([[(w * wide[i : i + 17 : 2]).sum() for i in range(40)] for w in part.kernels[g]])
            wins, least = np.zeros(8), np.zeros(8)
            np.add.at(wins, Z.argmax(axis=0), Z.max(axis=0) * unit / series.WEIGHT)
            np.add.at(least, Z.argmin(axis=0), 1)
            np.testing.assert_allclose(got[row, 0, g] ** 2, wins, rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(got[row, 1, g] ** 2, least, rtol=1e-5)


def test_hydra_sums_are_exact():
    """In any order: so no machine and no number of rows decides otherwise."""
    rng = np.random.default_rng(3)
    x = np.full((1, 1, 50), 1.0, dtype=np.float32)
    for part, _ in _kernels.hydras(rng, x, 64):
        assert np.abs(part.kernels.astype(np.int64)).sum(axis=2).max() * series.HALF < 2**24


def test_dilations_share_the_thresholds():
    for length, thresholds in ((10, 1), (24, 74), (1460, 74), (40_000, 200)):
        found = _kernels.dilations(length, thresholds)
        assert sum(share for _, share in found) == thresholds
        assert max(d for d, _ in found) * 8 < length
        assert len(found) <= 32


# The ridge


@pytest.mark.parametrize("shape", [(12, 40), (60, 9)])
def test_rows_left_out_are_left_out(shape):
    """The closed form is the same as leaving out each row and fitting again, scaling apart."""
    rng = np.random.default_rng(4)
    Z, Y = rng.normal(size=shape).astype(np.float32) + 1.0, rng.normal(size=(shape[0], 2))
    fitted = _ridge.fit(Z, Y, 0.7, rng)
    for i in range(shape[0]):
        keep = np.arange(shape[0]) != i
        A, middle = Z[keep].astype(float) - Z[keep].mean(axis=0, dtype=float), Y[keep].mean(axis=0)
        w = np.linalg.solve(A.T @ A + 0.7 * np.eye(shape[1]), A.T @ (Y[keep] - middle))
        np.testing.assert_allclose(
            fitted.without[i], (Z[i] - Z[keep].mean(axis=0, dtype=float)) @ w + middle, atol=1e-5
        )
    np.testing.assert_allclose((Z @ fitted.weights + fitted.intercept).mean(axis=0), Y.mean(axis=0), atol=1e-6)


def test_a_large_ridge_takes_the_penalty_of_a_sample(monkeypatch):
    rng = np.random.default_rng(5)
    w = rng.normal(size=(50, 1))
    for n in (45, 200):
        Z = rng.normal(size=(n, 50)).astype(np.float32)
        Y = Z @ w + 0.1 * rng.normal(size=(n, 1))
        exact = _ridge.fit(Z, Y, None, np.random.default_rng(0))
        monkeypatch.setattr(_ridge, "EXACT", 40)
        part = _ridge.fit(Z, Y, exact.alpha, np.random.default_rng(0))
        monkeypatch.undo()
        assert len(part.rows) == 40 and len(part.without) == 40
        np.testing.assert_allclose(part.weights, exact.weights, atol=1e-3)


def test_heat_calibrates():
    rng = np.random.default_rng(6)
    scores = rng.normal(size=(4000, 2))
    p = 1 / (1 + np.exp(-3.0 * (scores[:, 1] - scores[:, 0])))
    codes = (rng.random(4000) < p).astype(int)
    assert _ridge.heat(scores, codes) == pytest.approx(3.0, rel=0.1)
    assert np.isfinite(_ridge.heat(np.array([[-1.0, 1.0], [1.0, -1.0]]), np.array([1, 0])))


# Learning


def test_shapes_are_learnt_that_single_steps_do_not_show():
    X, y = waves()
    new, truth = waves(seed=1)
    model = em.HydraMultiRocketClassifier(**SMALL).fit(X, y)
    assert model.score(new, truth) >= 0.95
    p = model.predict_proba(new)
    assert np.allclose(p.sum(axis=1), 1) and (p >= 0).all()
    assert em.LogisticRegression().fit(X, y).score(new, truth) < 0.8
    again = em.HydraMultiRocketClassifier(**SMALL).fit(X, y).predict_proba(new)
    assert (again == p).all()


def test_values_are_learnt():
    rng = np.random.default_rng(7)
    speed = rng.uniform(1, 3, 80)
    X = np.sin(np.linspace(0, 12, 70) * speed[:, None] + rng.uniform(0, 6, (80, 1))) + 0.1 * rng.normal(size=(80, 70))
    model = em.HydraMultiRocketRegressor(**SMALL).fit(X[:60], 1000 + speed[:60])
    assert model.score(X[60:], 1000 + speed[60:]) > 0.8
    both = em.HydraMultiRocketRegressor(**SMALL).fit(X[:60], np.stack([speed[:60], -speed[:60]], axis=1))
    assert both.predict(X[60:]).shape == (20, 2)


@pytest.mark.parametrize("own_scale", [False, True])
def test_size_counts_unless_it_is_asked_not_to(own_scale):
    rng = np.random.default_rng(8)
    y = np.arange(60) % 2
    X = rng.normal(size=(60, 40)) * (1 + 2 * y[:, None])
    model = em.HydraMultiRocketClassifier(**SMALL, own_scale=own_scale).fit(X[:40], y[:40])
    assert (model.score(X[40:], y[40:]) > 0.9) != own_scale


# What comes in


def test_signals_of_many_lengths():
    rng = np.random.default_rng(9)
    rows, y = [], np.arange(40) % 2
    for label in y:
        steps = int(rng.integers(30, 80))
        at = np.linspace(0, 9, steps)
        rows.append(np.stack([np.sin(at * (1 + label)), rng.normal(size=steps)], axis=1) + 0.2)
    model = em.HydraMultiRocketClassifier(**SMALL).fit(rows[:30], y[:30])
    assert model.score(rows[30:], y[30:]) == 1.0
    as_cells = model.predict_proba(cells(rows[30:]))
    assert (as_cells == model.predict_proba(rows[30:])).all()
    step = catalog.module(catalog.find("hydra_multirocket", kind="classifier")).pack(model)
    single = [step(cells([row.astype(np.float32)])) for row in rows[30:]]  # as the schema reads cells
    np.testing.assert_allclose(np.concatenate(single), as_cells, atol=1e-3)
    stretched = em.HydraMultiRocketClassifier(**SMALL, stretch=True).fit(rows[:30], y[:30])
    assert stretched.score(rows[30:], y[30:]) == 1.0
    with pytest.raises(DataError, match="expected \\(steps, 2\\)"):
        model.predict([rows[0][:, :1], rows[1][:5, :1]])


def test_a_table_an_array_and_cells_are_one():
    X, y = waves(24, 30)
    table = em.HydraMultiRocketClassifier(**SMALL).fit(X, y)
    deep = em.HydraMultiRocketClassifier(**SMALL).fit(X[:, :, None], y)
    free = em.HydraMultiRocketClassifier(**SMALL).fit(cells(list(X)), y)
    for other in (deep.predict_proba(X[:, :, None]), free.predict_proba(cells(list(X)))):
        assert (other == table.predict_proba(X)).all()


@pytest.mark.parametrize("steps", [1, 2, 5, 9, 10, 17])
def test_short_series(steps):
    rng = np.random.default_rng(10)
    y = np.arange(40) % 2
    X = rng.normal(size=(40, steps)) + 3 * y[:, None]
    model = em.HydraMultiRocketClassifier(**SMALL).fit(X, y)
    assert model.length_ >= 10 and model.score(X, y) >= 0.95


def test_gaps_infinite_and_constant_series():
    X, y = waves()
    X[3, 10:14] = np.nan
    X[4] = np.nan
    X[5] = 7.0
    X[6, 0] = X[6, -1] = np.nan
    free = list(X)
    free[7] = np.append(X[7], np.inf)
    model = em.HydraMultiRocketClassifier(**SMALL).fit(free, y)
    assert np.isfinite(model.predict_proba(free)).all() and model.score(free[8:], y[8:]) >= 0.9
    huge = em.HydraMultiRocketRegressor(**SMALL).fit(X[8:] * 1e200, np.arange(32.0))
    assert np.isfinite(huge.predict(X[8:] * 1e200)).all()


def test_long_series_are_shortened_and_it_is_said():
    rng = np.random.default_rng(11)
    X, y = rng.normal(size=(4, 5000)), [0, 1, 0, 1]
    few = {"features": 672, "groups": 0, "random_state": 0}
    with pytest.warns(UserWarning, match="5,000 steps(.|\\n)*length=5000"):
        model = em.HydraMultiRocketClassifier(**few).fit(X, y)
    assert model.length_ == 4096
    with pytest.warns(UserWarning, match="1 of 5 series are more than 4 times longer"):
        model = em.HydraMultiRocketClassifier(**few).fit([*X[:, :20], X[0]], [*y, 0])
    assert model.length_ == 80 and len(model.predict([X[0], X[1, :3]])) == 2
    x = np.arange(10.0)
    np.testing.assert_allclose(series.resampled(x, 5), [0.5, 2.5, 4.5, 6.5, 8.5])
    np.testing.assert_allclose(series.resampled(x, 19), np.arange(19) / 2)


@pytest.mark.parametrize(
    ("X", "text"),
    [
        ([np.zeros(5), np.zeros((5, 2))], "2 signals"),
        ([np.zeros(5), np.zeros((0, 1))], "expected \\(steps,\\)"),
        ([np.zeros(5), ["a", "b"]], "no list of numbers"),
        ([np.zeros(5), np.zeros(4), np.zeros(3)], "3 series and 2 targets"),
    ],
)
def test_wrong_series_are_told(X, text):
    with pytest.raises(DataError, match=text):
        em.HydraMultiRocketClassifier(**SMALL).fit(X, [0, 1])


def test_a_stopped_fit_answers_with_what_it_has():
    X, y = waves(20)
    card = catalog.find("hydra_multirocket", kind="classifier")
    asked = []
    model = em.HydraMultiRocketClassifier(random_state=0)
    catalog.module(card).fit(model, X, y, stop=lambda: bool(asked.append(1)) or len(asked) > 3)
    assert model.n_parts_ == 4 and len(model.predict(X)) == 20


def test_threads_change_nothing():
    x = np.random.default_rng(12).normal(size=(300, 1, 64)).astype(np.float32)
    for part, _ in _kernels.rockets(np.random.default_rng(0), x, 2016)[:2]:
        assert (series.features(part, x) == series.features(part, x, threads=3)).all()


# Files


def test_a_column_of_series_goes_all_the_way(tmp_path):
    """Chosen for cells of a table, packed, saved, loaded, and asked with series of other lengths."""
    X, y = waves(50, 30)
    rows = [x[: 30 - i % 7].tolist() for i, x in enumerate(X)]
    table = {"wave": rows, "speed": [("slow", "fast")[v] for v in y]}
    run = em.fit(table, target="speed", models=["hydra_multirocket"], trials=1, out=tmp_path / "run", progress=False)
    assert run.leaderboard.iloc[0]["card"] == "hydra_multirocket"
    run.model.save(tmp_path / "waves.em")
    loaded = em.load(tmp_path / "waves.em")
    new, truth = waves(20, 30, seed=1)
    answers = loaded.predict({"wave": [x.tolist() for x in new]})
    assert np.mean(np.asarray(answers) == np.array(["slow", "fast"])[truth]) >= 0.9


def _step() -> Series:
    X, y = waves(16, 40)
    return em.HydraMultiRocketClassifier(**SMALL).fit(np.stack([X, -X], axis=2), y).step()


def test_damaged_files_are_refused():
    settings, arrays = _step().spec()
    Series.build(settings, arrays)
    h = len(arrays["fights"])
    broken = {
        "counts": [arrays["counts"] * -1, arrays["counts"][:, :2], arrays["counts"] * 100, arrays["counts"][:-1]],
        "biases": [arrays["biases"][:-1], np.full_like(arrays["biases"], np.nan)],
        "fights": [arrays["fights"] + 1000, arrays["fights"][:-1]],
        "kernels": [arrays["kernels"] * 2, arrays["kernels"][:, :, :, :8], arrays["kernels"][: h - 1]],
        "channels": [arrays["channels"][:, :5], arrays["channels"].astype(np.int8)],
        "teams": [arrays["teams"][:-1]],
        "spread": [arrays["spread"] * 0],
        "weights": [arrays["weights"][:-1], arrays["weights"][:, :1]],
        "scale": [arrays["scale"][:1]],
    }
    for name, values in broken.items():
        for value in values:
            with pytest.raises(ModelFileError):
                Series.build(settings, {**arrays, name: value})
    for name, value in (
        ("length", 9),
        ("length", "x"),
        ("heat", -1.0),
        ("gives", "scores"),
        ("own", 3),
        ("classes", 1),
    ):
        with pytest.raises(ModelFileError):
            Series.build({**settings, name: value}, {**arrays, "places": np.array([0, 1])})
    without = {name: array for name, array in arrays.items() if name != "channels"}
    with pytest.raises(ModelFileError):
        Series.build(settings, without)


def test_a_file_holds_no_more_than_it_must():
    X, y = waves(20)
    step = em.HydraMultiRocketClassifier(random_state=0).fit(X, y).step()
    size = sum(array.nbytes for array in step.spec()[1].values())
    assert size < 2_000_000 and step.biases.dtype == step.weights.dtype == np.float32
