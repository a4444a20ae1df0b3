"""Optimisers by role, Muon, schedules."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from everymodel.training.optimizers import OPTIMIZERS, Group, Muon, Optimizer, orthogonal, role_of
from everymodel.training.schedules import SHAPES, shape

CPU = torch.device("cpu")


def grad(*parameters: torch.Tensor, seed: int = 0) -> None:
    generator = torch.Generator().manual_seed(seed)
    for p in parameters:
        p.grad = torch.randn(p.shape, generator=generator)


@pytest.mark.parametrize("word", OPTIMIZERS)
def test_every_optimiser_lowers_a_bowl_and_goes_on_from_its_state(word: str) -> None:
    def steps(group: Group, p: nn.Parameter, n: int) -> None:
        for _ in range(n):
            p.grad = 2 * p.detach()
            group.step()
            group.clear()

    def fresh() -> tuple[Group, nn.Parameter]:
        module = nn.Linear(3, 3, bias=False)
        nn.init.eye_(module.weight)
        return Group(Optimizer(word, 0.02, decay=0.01), [module], CPU), module.weight

    group, p = fresh()
    steps(group, p, 30)
    assert p.detach().norm() < 0.75 * 3**0.5 and p.grad is None
    steps(group, p, 5)

    first, q = fresh()
    steps(first, q, 30)
    second, r = fresh()
    second.restore(first.state())
    second.set_rate(0.0)
    second.set_rate(1.0)
    assert {g["lr"] for o in second.optimizers for g in o.param_groups} == {0.02}
    second.set_rate(0.5)
    assert {g["lr"] for o in second.optimizers for g in o.param_groups} == {0.01}
    second.set_rate(1.0)
    r.data.copy_(q.data)
    steps(second, r, 5)
    assert torch.equal(r, p)


@pytest.mark.parametrize("word", ["adam", "adamw"])
def test_adam_moves_bit_for_bit_as_that_of_torch(word: str) -> None:
    torch.manual_seed(0)
    ours, theirs = nn.Linear(5, 3), nn.Linear(5, 3)
    theirs.load_state_dict(ours.state_dict())
    plan = Optimizer(word, 0.02, decay=0.1, betas=(0.8, 0.98))
    group = Group(plan, [ours], CPU)  # weight and bias decay differently
    kind = torch.optim.Adam if word == "adam" else torch.optim.AdamW
    told = [{"params": [theirs.weight], "weight_decay": 0.1}, {"params": [theirs.bias], "weight_decay": 0.0}]
    other = kind(told, lr=0.02, betas=(0.8, 0.98), fused=True)
    for step in range(8):
        grad(*ours.parameters(), seed=step)
        grad(*theirs.parameters(), seed=step)
        if step in (0, 4):  # a gradient that is missing leaves its weight where it is
            ours.bias.grad = theirs.bias.grad = None
        group.set_rate(1.0 / (step + 1))
        for settings in other.param_groups:
            settings["lr"] = 0.02 / (step + 1)
        group.step()
        other.step()
        assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True)), step


def test_roles_set_rates_and_decays() -> None:
    table = nn.Embedding(4, 2)
    table.weight.role = "embedding"  # type: ignore[attr-defined]
    first = nn.Linear(2, 2)
    first.weight.role = "first"  # type: ignore[attr-defined]
    rest = nn.Linear(2, 2)
    plan = Optimizer(
        "adamw", 0.1, decay=0.5, factors={"bias": 0.1, "first": 6.0, "embedding": 2.0}, decays={"embedding": 0.2}
    )
    group = Group(plan, [table, first, rest], CPU)
    found = {id(p): (g["lr"], g["weight_decay"]) for o in group.optimizers for g in o.param_groups for p in g["params"]}
    assert found[id(table.weight)] == pytest.approx((0.2, 0.1))
    assert found[id(first.weight)] == pytest.approx((0.6, 0.5))
    assert found[id(rest.weight)] == pytest.approx((0.1, 0.5))
    assert found[id(first.bias)] == found[id(rest.bias)] == pytest.approx((0.01, 0.0))
    assert [role_of(p) for p in (rest.weight, rest.bias, table.weight)] == ["matrix", "bias", "embedding"]
    group.set_rate(0.5)
    group.set_rate(0.25)  # of the top, not of what is left
    assert group.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.05)


def test_decay_pulls_without_a_gradient_only_where_it_is_decoupled() -> None:
    module = nn.Linear(2, 2)
    before = module.weight.detach().clone(), module.bias.detach().clone()
    group = Group(Optimizer("adamw", 0.1, decay=0.5), [module], CPU)
    module.weight.grad, module.bias.grad = torch.zeros(2, 2), torch.zeros(2)
    group.step()
    torch.testing.assert_close(module.weight.detach(), before[0] * 0.95)
    assert torch.equal(module.bias.detach(), before[1])


def test_a_weight_that_two_modules_share_moves_once() -> None:
    a, b = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
    b.weight = a.weight
    assert len(Group(Optimizer("sgd"), [a, b], CPU).parameters) == 1


@pytest.mark.parametrize("shape_", [(8, 8), (20, 6), (6, 20), (3, 10, 4)])
def test_orthogonal_matrices(shape_: tuple[int, ...]) -> None:
    """Singular values come near 1, directions stay: the iteration is coarse by design."""
    matrix = torch.randn(shape_, generator=torch.Generator().manual_seed(0))
    made = orthogonal(matrix)
    values = torch.linalg.svdvals(made)
    assert values.min() > 0.3 and values.max() < 1.25 and values.mean() > 0.7
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    nearest = u @ v
    assert (made * nearest).sum() / (made.norm() * nearest.norm()) > 0.97
    if len(shape_) == 3:
        torch.testing.assert_close(made[1], orthogonal(matrix[1]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape_", [(10, 6), (6, 10)])
def test_muon_is_that_of_torch_on_matrices(shape_: tuple[int, int]) -> None:
    """To the digits of bfloat16, in which both iterate."""
    ours, theirs = (nn.Parameter(torch.eye(*shape_)) for _ in range(2))
    a = Muon([ours], lr=0.1, momentum=0.95, weight_decay=0.1)
    b = torch.optim.Muon([theirs], lr=0.1, momentum=0.95, weight_decay=0.1, nesterov=True)
    for i in range(5):
        grad(ours, seed=i)
        grad(theirs, seed=i)
        a.step()
        b.step()
    moved = (theirs.detach() - torch.eye(*shape_)).norm()
    assert (ours.detach() - theirs.detach()).norm() / moved < 0.05


def test_muon_takes_kernels_as_matrices_and_members_each_by_itself() -> None:
    kernel, flat = nn.Parameter(torch.zeros(8, 3, 3, 3)), nn.Parameter(torch.zeros(8, 27))
    grad(kernel)
    flat.grad = kernel.grad.reshape(8, 27)  # type: ignore[union-attr]
    Muon([kernel, flat]).step()
    assert torch.equal(kernel.detach().reshape(8, 27), flat.detach()) and kernel.detach().norm() > 0

    several, alone = nn.Parameter(torch.zeros(2, 4, 5)), nn.Parameter(torch.zeros(5, 4))
    several.members = True  # type: ignore[attr-defined]
    grad(several)
    alone.grad = several.grad[1].T.clone()  # type: ignore[index]
    Muon([several, alone]).step()
    torch.testing.assert_close(several.detach()[1].T, alone.detach(), rtol=1e-4, atol=1e-6)


def test_muon_leaves_vectors_tables_and_outer_layers_to_adam() -> None:
    inner, last, norm = nn.Linear(4, 4), nn.Linear(4, 2), nn.LayerNorm(4)
    last.weight.role = "last"  # type: ignore[attr-defined]
    group = Group(Optimizer("muon", 0.02, aside=0.1), [inner, last, norm], CPU)
    adam, muon = group.optimizers
    assert isinstance(adam, torch.optim.AdamW) and isinstance(muon, Muon)
    assert muon.param_groups[0]["params"] == [inner.weight]
    assert {g["lr"] for g in adam.param_groups} == {0.002} and sum(len(g["params"]) for g in adam.param_groups) == 5


@pytest.mark.parametrize("word", SHAPES)
def test_schedules_are_shares_that_end_where_they_say(word: str) -> None:
    found = np.array([shape(word)(p) for p in np.linspace(0, 1, 1001)])
    assert found.min() >= -1e-12 and found.max() == pytest.approx(1.0, abs=1e-3)
    assert np.abs(np.diff(found)).max() < 0.06  # no jumps
    assert found[-1] == pytest.approx(1.0 if word == "constant" else 0.0, abs=1e-9)


def test_a_schedule_may_be_any_function() -> None:
    def half(p: Any) -> float:
        return 0.5

    assert shape(half) is half
