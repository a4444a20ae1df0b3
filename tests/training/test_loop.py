"""The loop against loops written by hand, and what it owns besides: averages, patience, best weights, budget, stop."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from everymodel.core.errors import ParameterError
from everymodel.training import loop
from everymodel.training.loop import Plan, Progress, train
from everymodel.training.objective import Objective
from everymodel.training.optimizers import Optimizer
from everymodel.training.source import Arrays, Drawn, Whole


class Fit(Objective):
    falls = True

    def step(self, nets: Any, batch: Any) -> Any:
        return {"net": F.cross_entropy(nets["net"](batch[0]), batch[1])}


def net(seed: int = 0, inputs: int = 6, middle: nn.Module | None = None) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(inputs, 12), middle or nn.ReLU(), nn.Linear(12, 3))


def rows(n: int = 200, seed: int = 0, inputs: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    X = torch.randn(n, inputs, generator=generator)
    return X, (X[:, 0] > 0).long() + (X[:, 1] > 0.5).long()


def equal(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(p, q) for p, q in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


HAND = {
    "sgd": lambda p: torch.optim.SGD(p, 0.1, fused=True),
    "momentum": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True, fused=True),
    "adam": lambda p: torch.optim.Adam(p, 0.1, fused=True),
    "adamw": lambda p: torch.optim.AdamW(p, 0.1, weight_decay=0.0, fused=True),
    "rmsprop": lambda p: torch.optim.RMSprop(p, 0.1),
}


@pytest.mark.parametrize("word", HAND)
def test_weights_are_those_of_a_loop_by_hand(word: str) -> None:
    """Bit for bit, with the same trace of losses, a last batch that is smaller, a schedule and clipping."""
    X, y = rows(210)
    ours, hand = net(), net()
    source = Arrays(X, y, batch=32)
    plan = Plan(epochs=3, optimizers=Optimizer(word, 0.1), schedule="linear", clip=0.5, seed=5)
    history = train(Fit(net=ours), source, plan)

    optimizer, losses, t = HAND[word](hand.parameters()), [], 0
    total = 3 * source.steps()
    for epoch in range(3):
        sum_ = 0.0
        for Xb, yb in source.epoch(epoch, 5):
            for group in optimizer.param_groups:
                group["lr"] = 0.1 * (1 - t / total)
            loss = F.cross_entropy(hand(Xb), yb)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(hand.parameters(), 0.5)
            optimizer.step()
            sum_, t = sum_ + loss.item() * len(yb), t + 1
        losses.append(sum_ / len(y))
    assert equal(ours, hand)
    np.testing.assert_allclose([e["net"] for e in history.epochs], losses, rtol=1e-5)
    assert history.steps == t == total and history.stopped == "end" and not history.notes


def test_weights_do_not_depend_on_the_state_of_the_caller_and_leave_it() -> None:
    X, y = rows()
    found, states = [], []
    for seed in (1, 2):
        model = net(middle=nn.Dropout(0.5))
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        train(Fit(net=model), Arrays(X, y, batch=32), Plan(epochs=2, seed=7))
        states.append(torch.equal(before, torch.get_rng_state()))
        found.append(model)
    assert all(states) and equal(*found)
    other = net(middle=nn.Dropout(0.5))
    train(Fit(net=other), Arrays(X, y, batch=32), Plan(epochs=2, seed=8))
    assert not equal(found[0], other)


class Pair(Objective):
    """Two linear maps, whose losses each depend on both weights."""

    def __init__(self, turns: bool):
        torch.manual_seed(0)
        super().__init__(a=nn.Linear(2, 1, bias=False), b=nn.Linear(2, 1, bias=False))
        self.turns = turns

    def weights(self) -> Any:
        return {"a": [self.nets["a"]], "b": [self.nets["b"]]}

    def losses(self, batch: Any) -> Any:
        a, b = self.nets["a"], self.nets["b"]
        yield "a", (a(batch[0]) - b(batch[0]) - 1).square().mean()
        yield "b", (b(batch[0]) + 2 * a(batch[0])).square().mean()

    def step(self, nets: Any, batch: Any) -> Any:
        return self.losses(batch) if self.turns else dict(self.losses(batch))


@pytest.mark.parametrize("turns", [False, True])
def test_two_optimisers_move_together_or_in_turn_and_gradients_stay_apart(turns: bool) -> None:
    X = rows(60)[0][:, :2]
    ours, hand = Pair(turns), Pair(turns)
    source = Arrays(X, batch=20)
    train(ours, source, Plan(epochs=2, optimizers={"a": Optimizer("sgd", 0.05), "b": Optimizer("sgd", 0.1)}))
    A, B = (hand.nets[k].weight.detach().numpy().astype(float) for k in "ab")
    for epoch in range(2):
        for (batch,) in source.epoch(epoch, 0):
            x = batch.numpy().astype(float)
            move_a = 0.05 * 2 * ((x @ A.T - x @ B.T - 1) * x).mean(axis=0)
            if turns:
                A = A - move_a
            move_b = 0.1 * 2 * ((x @ B.T + 2 * x @ A.T) * x).mean(axis=0)
            if not turns:
                A = A - move_a
            B = B - move_b
    np.testing.assert_allclose(ours.nets["a"].weight.detach(), A, rtol=1e-5)
    np.testing.assert_allclose(ours.nets["b"].weight.detach(), B, rtol=1e-5)


def test_what_no_optimiser_owns_stays_and_gathers_no_gradient() -> None:
    class Head(Fit):
        def weights(self) -> Any:
            return {"net": [self.nets["net"][2]]}

    model = net()
    before = model[0].weight.clone()
    seen: list[Any] = []
    objective = Head(net=model)
    objective.after_step = lambda step: seen.append(model[0].weight.grad)  # type: ignore[method-assign]
    train(objective, Arrays(*rows(), batch=50), Plan(epochs=2))
    assert torch.equal(model[0].weight, before) and seen == [None] * 8


def test_wrong_plans_are_told() -> None:
    X, y = rows()
    with pytest.raises(ParameterError, match="also needs 'net'"):
        train(Fit(net=net()), Arrays(X, y), Plan(optimizers={"nett": Optimizer()}))
    with pytest.raises(ParameterError, match="Each optimiser needs weights"):
        train(Fit(net=nn.ReLU()), Arrays(X, y), Plan())
    for wrong in ({"epochs": 0}, {"ema": 1.0}, {"patience": 0}, {"budget": -1}, {"compile": "yes"}, {"accumulate": 0}):
        with pytest.raises(ParameterError, match=f"{next(iter(wrong))}="):
            Plan(**wrong)
    with pytest.raises(ParameterError, match="schedule='up' is unknown: expected one of constant"):
        train(Fit(net=net()), Arrays(X, y), Plan(schedule="up"))
    with pytest.raises(ParameterError, match="optimizer='adamm'"):
        Optimizer("adamm")

    class Wrong(Fit):
        def step(self, nets: Any, batch: Any) -> Any:
            return {"other": nets["net"](batch[0]).sum()}

    with pytest.raises(ParameterError, match="gave a loss for 'other'; it has net"):
        train(Wrong(net=net()), Arrays(X, y), Plan())


@pytest.mark.parametrize("n", [192, 205])
def test_gathered_batches_make_the_update_of_one_large_batch(n: int) -> None:
    """Also the last one of an epoch, where fewer rows are left."""
    X, y = rows(n)
    plan = {"epochs": 3, "optimizers": Optimizer("sgd", 0.2)}
    large, small = net().double(), net().double()
    train(Fit(net=large), Arrays(X.double(), y, batch=64), Plan(**plan))
    train(Fit(net=small), Arrays(X.double(), y, batch=16), Plan(**plan, accumulate=4))
    for p, q in zip(large.parameters(), small.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-9, atol=1e-12)


def test_the_moving_average_validates_and_answers() -> None:
    X, y = rows()
    model = nn.Sequential(nn.Linear(6, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 3))
    states: list[list[torch.Tensor]] = []

    class Seen(Fit):
        def after_step(self, step: int) -> None:
            states.append([t.detach().clone() for t in [*model.parameters(), *model.buffers()]])

        def judge(self, nets: Any, batches: Any) -> Any:
            judged.append([t.detach().clone() for t in [*model.parameters(), *model.buffers()]])
            assert not model.training
            return super().judge(nets, batches)

    judged: list[list[torch.Tensor]] = []
    average = [t.detach().clone() for t in [*model.parameters(), *model.buffers()]]
    plan = Plan(epochs=3, ema=0.9, keep_best=False, optimizers=Optimizer("adam", 0.05))
    train(Seen(net=model), Arrays(X, y, batch=50), plan, valid=Arrays(*rows(50, seed=1)))
    for i, state in enumerate(states, start=1):
        decay = min(0.9, (1 + i) / (10 + i))
        average = [a * decay + t * (1 - decay) if a.is_floating_point() else t for a, t in zip(average, state)]
        if i % 4 == 0:
            torch.testing.assert_close(judged[i // 4 - 1], average)
    torch.testing.assert_close([*model.parameters(), *model.buffers()], average)
    assert not torch.allclose(average[0], states[-1][0]) and not model.training


class Script(Objective):
    """A weight that counts its steps, judged by a list of losses."""

    def __init__(self, told: list[Any]):
        super().__init__(net=nn.Linear(1, 1, bias=False))
        nn.init.zeros_(self.nets["net"].weight)
        self.told = iter(told)

    def step(self, nets: Any, batch: Any) -> Any:
        return {"net": -nets["net"].weight.sum()}

    def judge(self, nets: Any, batches: Any) -> Any:
        return {"loss": torch.tensor(next(self.told)), "extra": 3.0}


ONE = Whole(torch.zeros(4, 1))
STEP = Optimizer("sgd", 1.0)  # each epoch adds 1 to the weight


def scripted(told: list[Any], **plan: Any) -> tuple[float, Any]:
    objective = Script(told)
    history = train(objective, ONE, Plan(optimizers=STEP, **plan), valid=ONE)
    return objective.nets["net"].weight.item(), history


def test_patience_ends_and_the_best_weights_answer() -> None:
    weight, history = scripted([5.0, 3.0, 4.0, 3.5, 3.0, 1.0], epochs=6, patience=3)
    assert weight == 2 and history.best_epoch == 2 and history.best_loss == 3 and history.stopped == "patience"
    assert len(history.epochs) == 5
    assert history.epochs[1]["valid_loss"] == 3 and history.epochs[1]["valid_extra"] == 3
    weight, history = scripted([5.0, 3.0, 4.0, 3.5, 3.0, 1.0], epochs=6)
    assert weight == 6 and history.best_epoch == 6 and history.stopped == "end"
    weight, history = scripted([5.0, 3.0, 4.0, 3.5, 3.0], epochs=6, patience=3, keep_best=False)
    assert weight == 5 and history.best_epoch == 2


def test_validation_every_so_many_epochs_and_at_the_end() -> None:
    weight, history = scripted([5.0, 4.0, 6.0, 7.0], epochs=7, validate_every=2)
    assert [i for i, e in enumerate(history.epochs, 1) if "valid_loss" in e] == [2, 4, 6, 7]
    assert weight == 4 and history.best_epoch == 4
    weight, history = scripted([5.0, 6.0, 7.0], epochs=9, validate_every=2, patience=3)
    assert len(history.epochs) == 6 and history.stopped == "patience" and weight == 2


def test_validation_losses_that_are_no_numbers_choose_nothing() -> None:
    weight, history = scripted([math.nan, 2.0, math.nan], epochs=3)
    assert weight == 2 and history.best_epoch == 2
    weight, history = scripted([math.nan] * 3, epochs=3)
    assert weight == 3 and "No validation loss was a finite number" in history.notes[0]


def test_patience_without_validation_is_said() -> None:
    history = train(Fit(net=net()), Arrays(*rows()), Plan(epochs=2, patience=1))
    assert len(history.epochs) == 2 and "no validation rows" in history.notes[0]


def test_each_member_keeps_its_own_best_epoch() -> None:
    class Members(Script):
        members = 2

        def __init__(self, told: list[Any]):
            super().__init__(told)
            self.nets["net"] = nn.Linear(3, 2, bias=False)  # (2 members, 3 weights)
            nn.init.zeros_(self.nets["net"].weight)

    objective = Members([[5.0, 5.0], [4.0, 6.0], [6.0, 3.0], [7.0, 7.0]])
    history = train(objective, ONE, Plan(epochs=4, optimizers=STEP), valid=ONE)
    assert history.best_epoch == [2, 3] and history.best_loss == [4, 3]
    assert objective.nets["net"].weight.tolist() == [[2.0] * 3, [3.0] * 3]


def slow(seconds: float, members: Any = None) -> Fit:
    class Slow(Fit):
        def step(self, nets: Any, batch: Any) -> Any:
            time.sleep(seconds)
            return super().step(nets, batch)

    return Slow(net=net())


def test_the_budget_holds_and_the_schedule_ends_in_time() -> None:
    factors: list[float] = []

    def shape(p: float) -> float:
        factors.append(1 - p)
        return 1 - p

    began = time.monotonic()
    history = train(slow(0.002), Arrays(*rows(64), batch=8), Plan(epochs=10_000, budget=1.5, schedule=shape))
    took = time.monotonic() - began
    assert history.stopped == "budget" and 1.0 < took < 2.2
    assert factors[0] > 0.9 and factors[-1] < 0.25  # came down, far before 10,000 epochs


def test_the_budget_leaves_time_for_a_last_validation() -> None:
    class Slow(Fit):
        def judge(self, nets: Any, batches: Any) -> Any:
            time.sleep(0.3)
            return super().judge(nets, batches)

    began = time.monotonic()
    history = train(
        Slow(net=net()), Arrays(*rows(64), batch=1), Plan(epochs=10**6, budget=1.2), valid=Arrays(*rows(10))
    )
    assert history.stopped == "budget" and history.best_epoch is not None and time.monotonic() - began < 2.2


def test_stop_ends_with_the_best_of_what_was_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "_LOOK", 1e9)
    asked: list[int] = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) >= 3  # at steps 10, 40 and 160

    history = train(
        Fit(net=net()), Arrays(*rows(300), batch=3), Plan(epochs=100), valid=Arrays(*rows(50, 1)), stop=stop
    )
    assert history.stopped == "stop" and history.steps == 160 and len(history.epochs) == 1
    assert history.best_epoch in (1, 2) and math.isfinite(history.best_loss)  # type: ignore[arg-type]


def test_progress_is_told_and_ends_whole() -> None:
    told: list[Progress] = []
    train(Fit(net=net()), Arrays(*rows(300), batch=3), Plan(epochs=3), listener=told.append)
    done = [p.done for p in told]
    assert len(told) >= 4 and done == sorted(done) and done[-1] == 1 and told[-1].epoch == 3
    assert math.isnan(told[0].loss) and told[-1].loss == told[-1].history.epochs[-1]["net"]
    assert all(p.rows_per_second > 0 and p.seconds_left >= 0 for p in told)


def test_history_as_a_table() -> None:
    history = train(Fit(net=net()), Arrays(*rows()), Plan(epochs=2), valid=Arrays(*rows(20, 1)))
    frame = history.frame()
    assert list(frame.columns) == ["epoch", "net", "rate", "valid_loss", "seconds"] and len(frame) == 2


def test_the_default_judgement_is_the_mean_over_rows() -> None:
    X, y = rows(100)
    model = net()
    objective = Fit(net=model)
    with torch.no_grad():
        found = objective.judge(objective.nets, ((X[i : i + 30], y[i : i + 30]) for i in range(0, 100, 30)))
        assert float(found["loss"]) == pytest.approx(F.cross_entropy(model(X), y).item(), rel=1e-6)


def test_batches_that_are_drawn_make_a_run_too() -> None:
    """An actor and its critic: what is learnt depends on what is drawn with the actor's own weights."""

    class Agent(Objective):
        def __init__(self) -> None:
            torch.manual_seed(0)
            super().__init__(actor=nn.Linear(3, 2), critic=nn.Linear(3, 1))

        def weights(self) -> Any:
            return {"actor": [self.nets["actor"]], "critic": [self.nets["critic"]]}

        def step(self, nets: Any, batch: Any) -> Any:
            seen, act, reward = batch
            value = nets["critic"](seen)[:, 0]
            chance = F.log_softmax(nets["actor"](seen), 1).gather(1, act[:, None])[:, 0]
            return {
                "actor": -(chance * (reward - value.detach())).mean(),
                "critic": (value - reward).square().mean(),
            }

    def run() -> tuple[float, Agent]:
        agent = Agent()

        def draw(number: int, generator: torch.Generator) -> Any:
            seen = torch.randn(128, 3, generator=generator)
            with torch.no_grad():
                act = torch.multinomial(agent.nets["actor"](seen).softmax(1), 1, generator=generator)[:, 0]
            return seen, act, (act == (seen[:, 0] > 0)).float()

        train(agent, Drawn(draw, 40), Plan(epochs=6, optimizers=Optimizer("adam", 0.03)))
        return float(draw(0, torch.Generator().manual_seed(1))[2].mean()), agent

    reward, agent = run()
    assert reward > 0.8 and equal(agent.nets, run()[1].nets)


def test_two_networks_against_each_other() -> None:
    class Game(Objective):
        def __init__(self) -> None:
            torch.manual_seed(0)
            make = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 2))
            tell = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 1))
            super().__init__(make=make, tell=tell)

        def weights(self) -> Any:
            return {"tell": [self.nets["tell"]], "make": [self.nets["make"]]}

        def step(self, nets: Any, batch: Any) -> Any:
            fake = nets["make"](torch.randn(len(batch[0]), 2))
            yield "tell", F.softplus(-nets["tell"](batch[0])).mean() + F.softplus(nets["tell"](fake.detach())).mean()
            yield "make", F.softplus(-nets["tell"](fake)).mean()

    game = Game()
    real = torch.randn(2000, 2, generator=torch.Generator().manual_seed(0)) * 0.1 + torch.tensor([1.0, 2.0])
    history = train(
        game, Arrays(real, batch=100), Plan(epochs=15, optimizers=Optimizer("adam", 3e-3, betas=(0.5, 0.9)))
    )
    with torch.no_grad():
        mean = game.nets["make"](torch.randn(500, 2)).mean(0)
    assert (mean - torch.tensor([1.0, 2.0])).abs().max() < 0.35
    assert {"tell", "make"} <= set(history.epochs[0])
