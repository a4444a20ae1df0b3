"""The metrics equal scikit-learn's, on skewed, tied, tiny and odd data."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn import metrics as sk

from everymodel.core.errors import ParameterError
from everymodel.scoring import metrics as m


def _binary(n: int, seed: int, ties: bool):
    rng = np.random.default_rng(seed)
    p = rng.beta(0.5, 2.0, n)
    if ties:
        p = np.round(p, 1)
    y = (rng.random(n) < p).astype(int)
    y[:2] = [0, 1]
    return y, p


@pytest.mark.parametrize("n,seed,ties", [(12, 0, True), (200, 1, False), (3000, 2, True)])
def test_binary_metrics_equal_scikit_learn(n, seed, ties):
    y, p = _binary(n, seed, ties)
    chosen = (p > 0.5).astype(int)
    expected = {
        "roc_auc": sk.roc_auc_score(y, p),
        "average_precision": sk.average_precision_score(y, p),
        "log_loss": sk.log_loss(y, np.c_[1 - p, p]),
        "brier": sk.brier_score_loss(y, p),
        "accuracy": sk.accuracy_score(y, chosen),
        "balanced_accuracy": sk.balanced_accuracy_score(y, chosen),
        "precision": sk.precision_score(y, chosen, zero_division=0),
        "recall": sk.recall_score(y, chosen),
        "f1": sk.f1_score(y, chosen),
        "f1_macro": sk.f1_score(y, chosen, average="macro"),
        "f1_weighted": sk.f1_score(y, chosen, average="weighted"),
        "f1_micro": sk.f1_score(y, chosen, average="micro"),
        "matthews_corrcoef": sk.matthews_corrcoef(y, chosen),
    }
    for name, value in expected.items():
        assert m.score(name, "binary", y, p) == pytest.approx(value, abs=1e-12), name
        assert m.score(name, "binary", y, np.c_[1 - p, p]) == pytest.approx(value, abs=1e-12), name


@pytest.mark.parametrize("k,n", [(3, 40), (7, 2000)])
def test_multiclass_metrics_equal_scikit_learn(k, n):
    rng = np.random.default_rng(k)
    p = rng.dirichlet(np.full(k, 0.4), n)
    y = np.array([rng.choice(k, p=row) for row in p])
    y[:k] = np.arange(k)
    chosen = p.argmax(1)
    onehot = np.eye(k)[y]
    expected = {
        "roc_auc": sk.roc_auc_score(y, p, multi_class="ovr"),
        "average_precision": sk.average_precision_score(onehot, p, average="macro"),
        "log_loss": sk.log_loss(y, p),
        "brier": ((p - onehot) ** 2).sum(1).mean(),
        "accuracy": sk.accuracy_score(y, chosen),
        "balanced_accuracy": sk.balanced_accuracy_score(y, chosen),
        "precision": sk.precision_score(y, chosen, average="macro", zero_division=0),
        "recall": sk.recall_score(y, chosen, average="macro"),
        "f1": sk.f1_score(y, chosen, average="macro"),
        "f1_weighted": sk.f1_score(y, chosen, average="weighted"),
        "f1_micro": sk.f1_score(y, chosen, average="micro"),
        "matthews_corrcoef": sk.matthews_corrcoef(y, chosen),
    }
    for name, value in expected.items():
        assert m.score(name, "multiclass", y, p) == pytest.approx(value, abs=1e-12), name


def test_multilabel_metrics_equal_scikit_learn():
    rng = np.random.default_rng(5)
    p = rng.random((300, 4))
    y = (rng.random((300, 4)) < p).astype(int)
    chosen = (p > 0.5).astype(int)
    expected = {
        "f1_macro": sk.f1_score(y, chosen, average="macro"),
        "f1_micro": sk.f1_score(y, chosen, average="micro"),
        "f1_weighted": sk.f1_score(y, chosen, average="weighted"),
        "hamming_loss": sk.hamming_loss(y, chosen),
        "accuracy": sk.accuracy_score(y, chosen),
        "roc_auc": sk.roc_auc_score(y, p, average="macro"),
        "average_precision": sk.average_precision_score(y, p, average="macro"),
        "log_loss": np.mean([sk.log_loss(y[:, j], p[:, j]) for j in range(4)]),
    }
    for name, value in expected.items():
        assert m.score(name, "multilabel", y, p) == pytest.approx(value, abs=1e-12), name


@pytest.mark.parametrize("outputs", [1, 3])
def test_regression_metrics_equal_scikit_learn(outputs):
    rng = np.random.default_rng(outputs)
    shape = (500,) if outputs == 1 else (500, outputs)
    y = rng.lognormal(3, 1, shape)
    a = y * rng.lognormal(0, 0.2, shape)
    expected = {
        "rmse": sk.root_mean_squared_error(y, a),
        "mse": sk.mean_squared_error(y, a),
        "mae": sk.mean_absolute_error(y, a),
        "median_absolute_error": sk.median_absolute_error(y, a),
        "r2": sk.r2_score(y, a),
        "mape": sk.mean_absolute_percentage_error(y, a),
        "pinball": sk.mean_pinball_loss(y, a, alpha=0.5),
        "rmsle": sk.root_mean_squared_log_error(y, a),
    }
    for name, value in expected.items():
        assert m.score(name, "regression", y, a) == pytest.approx(value, rel=1e-12), name


def test_huber_is_between_squared_and_absolute():
    y = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    a = y.copy()
    a[0] += 1000.0
    delta = m.huber_delta(y)
    assert m.score("huber", "regression", y, a) == pytest.approx(delta * (1000 - delta / 2) / 5)


def test_a_class_that_is_absent_from_the_rows_is_left_out():
    y = np.array([0, 0, 1, 1])
    p = np.array([[0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.1, 0.8, 0.1], [0.2, 0.7, 0.1]])
    assert m.score("roc_auc", "multiclass", y, p) == 1.0
    assert m.score("balanced_accuracy", "multiclass", y, p) == 1.0
    assert m.score("f1", "multiclass", y, p) == 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(m.score("roc_auc", "binary", np.zeros(3, int), np.array([0.1, 0.2, 0.3])))


def test_calibration_error_sees_overconfidence():
    rng = np.random.default_rng(0)
    p = rng.random(20_000)
    y = (rng.random(20_000) < p).astype(int)
    assert m.score("calibration_error", "binary", y, p) < 0.02
    assert m.score("calibration_error", "binary", y, (p > 0.5) * 1.0) == pytest.approx(0.25, abs=0.02)


def test_sample_loss_and_words():
    y, p = _binary(100, 3, False)
    rows = np.array([0, 1, 5, 5, 7])
    assert m.score("brier", "binary", y, p, rows) == pytest.approx(((p - y) ** 2)[rows].mean())
    assert m.loss("roc_auc", "binary", y, p) == pytest.approx(1 - m.score("auc", "binary", y, p))
    assert m.loss("log_loss", "binary", y, p) == m.score("neg_log_loss", "binary", y, p)
    assert [m.default_metric(t) for t in ("regression", "binary", "multiclass", "multilabel")] == [
        "rmse", "roc_auc", "log_loss", "f1_macro",
    ]  # fmt: skip


def test_bad_words_and_shapes_say_what_to_do():
    with pytest.raises(ParameterError, match=r"Did you mean.*roc_auc"):
        m.score("roc_acu", "binary", np.array([0, 1]), np.array([0.1, 0.9]))
    with pytest.raises(ParameterError, match="does not fit a regression task"):
        m.resolve("roc_auc", "regression")
    with pytest.raises(ParameterError, match="2 true values but 3 answers"):
        m.score("rmse", "regression", np.zeros(2), np.zeros(3))
    with pytest.raises(ParameterError, match="do not fit truth"):
        m.score("log_loss", "multiclass", np.array([0, 1]), np.array([0.1, 0.9]))
    assert np.isnan(m.score("rmse", "regression", np.zeros(2), np.array([0.0, np.nan])))
