"""Folds trained as one network are the networks that they would be alone."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from everymodel.core.errors import DataError
from everymodel.training.blocks.feed import Activation, MemberLinear
from everymodel.training.folds import Members, folds
from everymodel.training.loop import Plan, train
from everymodel.training.objective import Objective
from everymodel.training.optimizers import Optimizer
from everymodel.training.source import Arrays, Drawn, Source


@pytest.mark.parametrize("n, k", [(20, 5), (23, 5), (7, 7), (5, 2)])
def test_each_row_is_held_out_once(n: int, k: int) -> None:
    fit, held = folds(n, k, torch.Generator().manual_seed(0))
    assert (
        sorted({(i, int(r)) for i in range(k) for r in held[i]}, key=lambda p: p[1])
        and fit.shape[1] + held.shape[1] == n
    )
    assert sorted(r for i in range(k) for r in set(held[i].tolist())) == list(range(n))
    for i in range(k):
        assert not set(fit[i].tolist()) & set(held[i].tolist()) and len(set(fit[i].tolist())) == fit.shape[1]


def test_impossible_folds_are_told() -> None:
    for n, k in ((3, 4), (10, 1)):
        with pytest.raises(DataError, match=f"{k} folds of {n} rows"):
            folds(n, k, torch.Generator())


def stacked(k: int, sizes: tuple[int, ...]) -> nn.Sequential:
    torch.manual_seed(0)
    parts: list[nn.Module] = []
    for a, b in itertools.pairwise(sizes):
        parts += [MemberLinear(k, a, b), Activation("tanh")]
    return nn.Sequential(*parts[:-1]).double()


def alone(net: nn.Sequential, i: int) -> nn.Sequential:
    """Member i as a plain network."""
    parts: list[nn.Module] = []
    for part in net:
        if isinstance(part, MemberLinear):
            made = nn.Linear(*part.weight.shape[1:]).double()
            made.weight.data = part.weight.detach()[i].T.clone()
            made.bias.data = part.bias.detach()[i, 0].clone()  # type: ignore[union-attr]
            parts.append(made)
        else:
            parts.append(part)
    return nn.Sequential(*parts)


def loss(answers: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(answers, y, reduction="none")


class One(Objective):
    def step(self, nets: Any, batch: Any) -> Any:
        return {"net": F.cross_entropy(nets["net"](batch[0]), batch[1])}


@pytest.mark.parametrize("word", ["adam", "momentum", "muon"])
def test_members_are_what_they_would_be_alone(word: str) -> None:
    """The same batches, each member by itself: the same weights, best epochs and losses."""
    generator = torch.Generator().manual_seed(1)
    X = torch.randn(103, 6, generator=generator, dtype=torch.float64)
    y = (X[:, 0] > 0).long() + (X[:, 1] > 0.4).long()
    fit, held = folds(103, 4, generator)
    net = stacked(4, (6, 9, 8, 3))
    nets = [alone(net, i) for i in range(4)]
    together = Arrays(X, y, batch=16, members=4, rows=fit)
    plan = Plan(epochs=6, optimizers=Optimizer(word, 0.05), clip=None)
    history = train(Members(net, 4, loss), together, plan, valid=Arrays(X, y, members=4, rows=held))
    for i in range(4):

        def draw(number: int, generator: torch.Generator, i: int = i) -> Any:
            epoch, at = divmod(number, together.steps())
            batch = next(iter(together.epoch(epoch, 0, start=at)))
            return tuple(t[i] for t in batch)

        source: Source = Drawn(draw, together.steps())
        single = train(One(net=nets[i]), source, plan, valid=Arrays(X[held[i]], y[held[i]], batch=200))
        assert history.best_epoch[i] == single.best_epoch  # type: ignore[index]
        assert history.best_loss[i] == pytest.approx(single.best_loss, rel=1e-4)  # type: ignore[index]
        # Muon's iteration runs in float32, and its coefficients let the digits that are lost grow.
        tolerance = {"rtol": 1e-2, "atol": 1e-3} if word == "muon" else {"rtol": 1e-7, "atol": 1e-9}
        for p, q in zip(alone(net, i).parameters(), nets[i].parameters(), strict=True):
            torch.testing.assert_close(p, q, **tolerance)
