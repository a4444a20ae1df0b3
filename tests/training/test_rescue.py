"""What goes wrong in a run: losses that are no numbers, divergence, memory, compilers, devices."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from everymodel.core.errors import ParameterError
from everymodel.training import device, loop
from everymodel.training.loop import Plan, TrainingError, train
from everymodel.training.objective import Objective
from everymodel.training.optimizers import Optimizer
from everymodel.training.source import Arrays, Drawn, Whole


class Fit(Objective):
    falls = True

    def __init__(self) -> None:
        torch.manual_seed(0)
        super().__init__(net=nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 1)))

    def step(self, nets: Any, batch: Any) -> Any:
        return {"net": F.mse_loss(nets["net"](batch[0])[:, 0], batch[1])}


def rows(n: int = 320, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    X = torch.randn(n, 6, generator=torch.Generator().manual_seed(seed))
    return X, X[:, 0] - 2 * X[:, 1]


def fine(objective: Objective) -> bool:
    return all(bool(torch.isfinite(p).all()) for p in objective.nets.parameters())


def error(objective: Objective) -> float:
    X, y = rows(seed=1)
    with torch.no_grad():
        return float(F.mse_loss(objective.nets["net"](X)[:, 0], y))


def test_a_rate_that_makes_infinities_gets_smaller_and_the_run_learns() -> None:
    objective = Fit()
    plan = Plan(epochs=30, optimizers=Optimizer("momentum", 5.0), checkpoint_every=0)
    history = train(objective, Arrays(*rows(), batch=32), plan)
    assert any(note.startswith("Training diverged in epoch 1: back to the end of epoch 0") for note in history.notes)
    assert fine(objective) and error(objective) < 0.5
    assert len(history.epochs) == 30 and history.epochs[-1]["rate"] < 1


def test_divergence_whose_loss_is_a_number_is_seen_where_losses_must_fall() -> None:
    """Adam at a rate of 30 stays finite, thousands of times above where it began."""

    def run(falls: bool) -> tuple[Any, Fit]:
        objective = Fit()
        objective.falls = falls
        return train(
            objective, Arrays(*rows(), batch=32), Plan(epochs=20, optimizers=Optimizer("adam", 30.0))
        ), objective

    history, objective = run(True)
    assert "steps 0.3 as long" in history.notes[0] and len(history.epochs) == 20
    blind, unseen = run(False)
    assert not blind.notes and max(e["net"] for e in blind.epochs) > 1000
    assert error(objective) < error(unseen)


def test_a_fault_of_one_draw_is_passed_by() -> None:
    """One draw is infinite whenever it comes; the run goes back, draws others and ends with finite weights."""
    objective, calls, bad = Fit(), [], []

    def draw(number: int, generator: torch.Generator) -> Any:
        calls.append(number)
        X = torch.randn(32, 6, generator=generator)
        if len(calls) == 25:  # of the third epoch
            bad.append(float(X[0, 0]))
        if float(X[0, 0]) in bad:
            X[3, 2] = torch.inf
        return X, X[:, 0]

    history = train(objective, Drawn(draw, 10), Plan(epochs=5, optimizers=Optimizer("adam", 0.01)))
    assert len(history.notes) == 1 and fine(objective) and len(history.epochs) == 5


def test_data_that_hold_an_infinity_are_named() -> None:
    X, y = rows()
    X[7, 3] = torch.inf
    with pytest.raises(TrainingError, match=r"after 5 returns.*The data hold values that are no finite numbers \(in 1"):
        train(Fit(), Arrays(X, y, batch=32), Plan(epochs=3))


def test_it_gives_up_with_words() -> None:
    class Broken(Fit):
        def step(self, nets: Any, batch: Any) -> Any:
            return {"net": super().step(nets, batch)["net"] * torch.nan}

    with pytest.raises(TrainingError, match=r"after 5 returns to an earlier state.*much smaller learning_rate"):
        train(Broken(), Arrays(*rows(), batch=32), Plan(epochs=3))


@pytest.mark.parametrize("how", ["last step", "stop"])
def test_weights_that_are_no_numbers_never_answer(how: str) -> None:
    """Finite losses to the end, and a last gradient that is not."""

    class Late(Fit):
        steps = 0

        def step(self, nets: Any, batch: Any) -> Any:
            self.steps += 1
            loss = super().step(nets, batch)["net"]
            if self.steps == 10:
                loss.register_hook(lambda g: g * torch.nan)
            return {"net": loss}

    objective = Late()
    stop = (lambda: True) if how == "stop" else None  # looked at after ten steps
    n = 320 if how == "last step" else 3200
    history = train(objective, Arrays(*rows(n), batch=32), Plan(epochs=1), stop=stop)
    assert fine(objective) and len(history.notes) == 1
    assert history.stopped == ("end" if how == "last step" else "stop")


@pytest.mark.parametrize("words", ["torch", "cpu"])
def test_memory_that_runs_out_halves_the_batch_and_keeps_the_update(words: str) -> None:
    seen: list[int] = []
    updates: list[int] = []

    class Hungry(Fit):
        def step(self, nets: Any, batch: Any) -> Any:
            seen.append(len(batch[0]))
            if len(batch[0]) > 20:
                if words == "torch":
                    raise torch.OutOfMemoryError("CUDA out of memory")
                raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")
            return super().step(nets, batch)

        def after_step(self, step: int) -> None:
            updates.append(step)

    X, y = rows()
    hungry, rich = Hungry(), Fit()
    plan = Plan(epochs=4, optimizers=Optimizer("sgd", 0.05))
    history = train(hungry, Arrays(X, y, batch=64, shuffle=False), plan)
    train(rich, Arrays(X, y, batch=64, shuffle=False), plan)
    assert seen[:3] == [64, 32, 16] and set(seen[2:]) == {16} and len(updates) == 4 * 5
    assert [n.split(":")[1].split(" rows")[0].strip() for n in history.notes] == ["32", "16"]
    for p, q in zip(hungry.nets.parameters(), rich.nets.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-6)


def test_memory_that_runs_out_later_costs_no_epoch() -> None:
    class Hungry(Fit):
        steps = 0

        def step(self, nets: Any, batch: Any) -> Any:
            self.steps += 1
            if self.steps > 25 and len(batch[0]) > 16:
                raise torch.OutOfMemoryError("out of memory")
            return super().step(nets, batch)

    history = train(Hungry(), Arrays(*rows(), batch=32), Plan(epochs=4, schedule="linear"))
    assert [e["epoch"] for e in history.epochs] == [1, 2, 3, 4] and len(history.notes) == 1
    assert history.steps == 80 and history.epochs[-1]["rate"] == 0


def test_memory_for_not_even_one_row() -> None:
    class Never(Fit):
        def step(self, nets: Any, batch: Any) -> Any:
            raise torch.OutOfMemoryError("out of memory")

    with pytest.raises(TrainingError, match=r"not enough memory for one step of 1 row. Use a smaller network"):
        train(Never(), Arrays(*rows(), batch=8), Plan())
    with pytest.raises(TrainingError, match="smaller graph"):
        train(Never(), Whole(torch.zeros(3)), Plan())


def test_memory_that_runs_out_in_the_validation_halves_only_that() -> None:
    class Hungry(Fit):
        def judge(self, nets: Any, batches: Any) -> Any:
            for batch in batches:
                if len(batch[0]) > 500:
                    raise torch.OutOfMemoryError("out of memory")
            return {"loss": 1.0}

    source = Arrays(*rows(), batch=32)
    history = train(Hungry(), source, Plan(epochs=2, ema=0.9), valid=Arrays(*rows(3000)))
    assert source.batch == 32 and len(history.epochs) == 2
    assert set(history.notes) == {"Memory ran out in the validation: half as many rows at a time there."}


def test_other_errors_of_a_step_go_on_their_way() -> None:
    class Wrong(Fit):
        def step(self, nets: Any, batch: Any) -> Any:
            return {"net": nets["net"](batch[0][:, :2])}

    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        train(Wrong(), Arrays(*rows()), Plan())


class Compiled(nn.Module):
    """Stands in for what torch.compile gives."""

    def __init__(self, inner: nn.Module, fault: str):
        super().__init__()
        self.inner, self.fault, self.calls = inner, fault, 0

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        if self.fault == "forward":
            raise ValueError("no compiler here")
        made = self.inner(X)
        if self.fault == "backward" and made.requires_grad:
            made.register_hook(_raise)
        return made


def _raise(gradient: torch.Tensor) -> torch.Tensor:
    raise RuntimeError("no kernel")


@pytest.mark.parametrize("fault", ["none", "forward", "backward"])
def test_compilers_may_fail(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Compiled] = []
    monkeypatch.setattr(loop, "_LOOK", 1e9)

    def compiled(module: nn.Module) -> nn.Module:
        made.append(Compiled(module, fault))
        return made[-1]

    monkeypatch.setattr(torch, "compile", compiled)
    objective, plain = Fit(), Fit()
    history = train(objective, Arrays(*rows(), batch=32), Plan(epochs=4, compile=True))  # compiles after ten steps
    train(plain, Arrays(*rows(), batch=32), Plan(epochs=4))
    for p, q in zip(objective.nets.parameters(), plain.nets.parameters(), strict=True):
        assert torch.equal(p, q)
    assert len(made) == 1
    if fault == "none":
        assert made[0].calls == 30 and not history.notes
    else:
        assert made[0].calls == 1 and "torch.compile failed" in history.notes[0] and len(history.notes) == 1


def test_nothing_is_compiled_for_the_cpu_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    def compiled(module: nn.Module) -> nn.Module:
        raise AssertionError("compiled")

    monkeypatch.setattr(torch, "compile", compiled)
    train(Fit(), Arrays(*rows(), batch=32), Plan(epochs=4, compile="auto"))


def test_compiled_steps_that_are_slower_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    class Slow(nn.Module):
        def __init__(self, inner: nn.Module):
            super().__init__()
            self.inner = inner

        def forward(self, X: torch.Tensor) -> torch.Tensor:
            time.sleep(0.03)
            return self.inner(X)

    monkeypatch.setattr(torch, "compile", Slow)
    history = train(Fit(), Arrays(*rows(), batch=16), Plan(epochs=6, compile=True))
    assert history.notes == ["torch.compile made steps no faster; training goes on without it."]


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here")
def test_devices_that_are_absent_or_unknown_are_told() -> None:
    with pytest.raises(ParameterError, match=r"device='cuda': this machine .* has no such device. Use device=\"auto\""):
        train(Fit(), Arrays(*rows()), Plan(device="cuda"))
    for wrong in ("gpu", "cuda:x", "cpu:1"):
        with pytest.raises(ParameterError, match="device="):
            device.choose(wrong)
    assert device.choose("auto").type in ("cpu", "mps")


def test_settings_are_put_back_also_after_an_error() -> None:
    torch.set_float32_matmul_precision("high")
    before = torch.get_rng_state()
    inside: list[Any] = []

    class Wrong(Fit):
        def step(self, nets: Any, batch: Any) -> Any:
            inside.append((torch.get_num_threads(), torch.get_float32_matmul_precision()))
            torch.rand(3)
            raise KeyError("x")

    try:
        for precision in ("float32", "medium"):
            with pytest.raises(KeyError):
                train(Wrong(), Arrays(*rows()), Plan(threads=2, precision=precision))
            assert torch.get_float32_matmul_precision() == "high"
        assert inside == [(2, "highest"), (2, "medium")]
        assert torch.get_num_threads() == 1 and torch.equal(before, torch.get_rng_state())
    finally:
        torch.set_float32_matmul_precision("highest")
    with pytest.raises(ParameterError, match="precision='half' is unknown"):
        train(Fit(), Arrays(*rows()), Plan(precision="half"))


@pytest.mark.parametrize("precision", ["bfloat16", "medium"])
def test_narrow_numbers_learn_too_and_weights_stay_wide(precision: str) -> None:
    objective = Fit()
    inside: list[torch.dtype] = []
    objective.nets["net"][0].register_forward_hook(lambda m, a, out: inside.append(out.dtype))
    train(
        objective, Arrays(*rows(), batch=32), Plan(epochs=30, precision=precision, optimizers=Optimizer("adam", 0.01))
    )
    assert {p.dtype for p in objective.nets.parameters()} == {torch.float32} and error(objective) < 0.3
    assert inside[0] == (torch.bfloat16 if precision == "bfloat16" else torch.float32)


def test_images_may_lie_with_channels_last() -> None:
    class Image(Objective):
        def step(self, nets: Any, batch: Any) -> Any:
            return {"net": nets["net"](batch[0]).square().mean()}

    def run(last: bool) -> tuple[nn.Module, list[bool]]:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3))
        seen: list[bool] = []
        net[0].register_forward_hook(
            lambda m, a, out: seen.append(out.is_contiguous(memory_format=torch.channels_last))
        )
        X = torch.randn(24, 3, 9, 9, generator=torch.Generator().manual_seed(0))
        train(Image(net=net), Arrays(X, batch=8), Plan(epochs=2, channels_last=last))
        return net, seen

    (a, seen), (b, _) = run(True), run(False)
    assert all(seen)
    for p, q in zip(a.parameters(), b.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-3, atol=1e-5)
