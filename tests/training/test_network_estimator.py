"""The face that networks share: seeds, budgets, progress, classes, validation rows, and fits in other processes."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import make_classification
from torch import nn
from torch.nn import functional as F

from everymodel.core.errors import ParameterError
from everymodel.core.schema import Column, Schema
from everymodel.scoring.steps.base import Batch
from everymodel.training.estimator import Classes, NetworkEstimator, set_aside
from everymodel.training.objective import Objective
from everymodel.training.source import Arrays
from everymodel.workflow.search.crew import Crew
from everymodel.workflow.split import stratified_folds
from everymodel.workflow.train import Job
from everymodel.workflow.types import Problem


class _Loss(Objective):
    def step(self, nets: Any, batch: Any) -> Any:
        return {"net": F.cross_entropy(nets["net"](batch[0]), batch[1])}


class Tiny(NetworkEstimator):
    def __init__(
        self,
        epochs: int = 3,
        budget: Any = None,
        patience: int | None = None,
        device: str = "cpu",
        checkpoint: Any = None,
        random_state: Any = None,
        verbose: int = 0,
    ):
        self.epochs = epochs
        self.budget = budget
        self.patience = patience
        self.device = device
        self.checkpoint = checkpoint
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any, stop: Any = None, valid: Any = None) -> Any:
        self._seed()
        with self._initial():
            self.net_ = nn.Sequential(nn.Linear(X.shape[1], 8), nn.Dropout(0.1), nn.ReLU(), nn.Linear(8, 2))

        def source(X: Any, y: Any) -> Arrays:
            return Arrays(torch.as_tensor(X, dtype=torch.float32), torch.as_tensor(y), batch=32)

        self._train(_Loss(net=self.net_), source(X, y), stop=stop, valid=None if valid is None else source(*valid))
        return self


X, y = make_classification(400, 6, random_state=0)


def test_the_same_seed_gives_the_same_network_and_no_seed_another() -> None:
    def weights(**options: Any) -> torch.Tensor:
        return Tiny(**options).fit(X, y).net_[0].weight

    assert torch.equal(weights(random_state=3), weights(random_state=3))
    assert not torch.equal(weights(random_state=3), weights(random_state=4))
    assert torch.equal(weights(random_state=np.random.RandomState(3)), weights(random_state=3))
    assert not torch.equal(weights(), weights())


def test_budgets_are_words_or_seconds_and_deadlines_are_kept() -> None:
    began = time.monotonic()
    model = Tiny(epochs=10**6, budget="700ms", random_state=0).fit(X, y)
    assert model.history_.stopped == "budget" and 0.4 < time.monotonic() - began < 1.6

    def stop() -> bool:
        return False

    stop.deadline = time.monotonic() + 0.7  # type: ignore[attr-defined]
    began = time.monotonic()
    model = Tiny(epochs=10**6, budget="5m", random_state=0).fit(X, y, stop=stop)
    assert model.history_.stopped == "budget" and time.monotonic() - began < 1.6
    with pytest.raises(ParameterError, match="budget='soon' is not a duration"):
        Tiny(budget="soon").fit(X, y)


def test_a_line_for_every_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    Tiny(epochs=4, random_state=0, verbose=2).fit(X, y, valid=(X, y))
    told = capsys.readouterr().err
    assert [told.count(f"epoch {i}  net 0.") for i in range(1, 6)] == [1, 1, 1, 1, 0]
    assert told.count("valid_loss 0.") == 4 and "Tiny" in told and "4/4" in told
    Tiny(epochs=4, random_state=0, verbose=1).fit(X, y)
    told = capsys.readouterr().err
    assert "epoch 1  net" not in told and "4/4" in told and "rows/s" in told
    Tiny(epochs=4, random_state=0).fit(X, y)
    assert capsys.readouterr() == ("", "")


def test_classes_are_codes() -> None:
    coding = Classes(np.array(["b", "a", "c", "a"]))
    assert coding.labels.tolist() == ["a", "b", "c"]
    assert coding.codes(np.array(["c", "a", "zz", "0"])).tolist() == [2, 0, -1, -1]
    several = Classes(np.array([[0, 1], [1, 1]]))
    assert several.several and several.codes(np.array([[0, 1]])).dtype == np.float32
    with pytest.raises(ValueError, match="Unknown label type"):
        Classes(np.array([0.5, 1.7, 2.2]))


@pytest.mark.parametrize("n", [2, 5, 40, 1000])
@pytest.mark.parametrize("classes", [None, 1, 3])
def test_rows_set_aside(n: int, classes: int | None) -> None:
    generator = np.random.default_rng(0)
    codes = None if classes is None else np.arange(n) % classes
    kept, aside = set_aside(n, 0.2, generator, codes)
    assert sorted([*kept, *aside]) == list(range(n)) and len(kept) and len(aside)
    if codes is not None and n > 5:
        assert set(codes[kept]) == set(codes)
        assert abs(len(aside) / n - 0.2) < 0.06


def test_rows_set_aside_of_as_many_classes_as_rows() -> None:
    kept, aside = set_aside(4, 0.2, np.random.default_rng(0), np.arange(4))
    assert len(kept) == 3 and len(aside) == 1


def problem() -> Problem:
    columns = {f"x{i}": X[:, i] for i in range(6)}
    schema = Schema((*(Column(c, "number") for c in columns), Column("y", "number", role="target")), "binary", (0, 1))
    return Problem(schema, "binary", Batch(columns, len(X)), y, stratified_folds(y, 3, 0), "log_loss")


def test_networks_train_in_forked_processes() -> None:
    """Two at once, from one that has loaded torch, with the answers of this process."""
    told = problem()
    fit, valid = told.folds[0]
    job = Job("feed_forward", "classifier", {"epochs": 5}, fit, valid, 0)
    found = []
    with Crew(told, 2) as crew:
        numbers = {crew.submit(job) for _ in range(2)}
        end = time.monotonic() + 100
        while numbers and time.monotonic() < end:
            for number, (status, member) in crew.wait(1):
                assert status == "done", member
                numbers.discard(number)
                found.append(member.answers)
    assert len(found) == 2 and np.array_equal(*found)
    np.testing.assert_allclose(job.run(told).answers, found[0], atol=1e-6)
    assert ((found[0][:, 1] > 0.5) == y[valid]).mean() > 0.75
