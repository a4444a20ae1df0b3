"""The loop: everything between a batch and a trained network.

    history = train(objective, source, Plan(epochs=20, optimizers=Optimizer("adam", 1e-3)), valid=source_of_other_rows)

Nothing in the inner loop waits for the device: losses are summed where they are and read once per epoch.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from everymodel.core.errors import EverymodelError, ModelFileError, ParameterError
from everymodel.core.seeds import derive
from everymodel.training import checkpoint, device
from everymodel.training.objective import Objective, size_of
from everymodel.training.optimizers import Group, Optimizer
from everymodel.training.schedules import Shape, shape
from everymodel.training.source import Source

Listener = Callable[["Progress"], None]
TURNS = 3  # times that a run goes back to its best weights because its objective says so
_RESCUES = 5  # times that a run goes back to its last good state before it gives up
_LOOK = 0.25  # seconds between looks at the clock-bound duties (stop, progress, checkpoint)
_FAR = 10.0  # a loss that should fall and is this many times that of the first step has diverged


class TrainingError(EverymodelError):
    """Training cannot go on; says what was tried."""


@dataclass(frozen=True)
class Plan:
    """How to train.

    Parameters
    ----------
    epochs : passes over the source.
    optimizers : one for all, or by the names that the objective uses.
    schedule : shape of the learning rate over the run (see schedules.py), by name or as a function of progress.
    clip : largest norm of the gradient of one optimiser's weights, or None.
    accumulate : batches whose gradients make one update.
    ema : decay of an exponential moving average of the weights, which then validates and answers; or None.
    half_life : of such an average as a share of the run, such as 0.01, instead of `ema`.
    patience : epochs without a better validation loss after which training ends; None: run to the end.
    keep_best : end with the weights of the best validated epoch.
    validate_every : epochs between validations.
    budget : wall seconds for the whole run; the schedule is shortened so that it ends in time.
    precision : "float32", "medium", "bfloat16" or "auto"; see device.settings.
    compile : True, False, or "auto": on CUDA, kept if it pays within the run.
    channels_last : memory order for convolutions of images.
    checkpoint : file for the state of the run; a run with the same file and plan goes on from there.
    checkpoint_every : seconds between two of these; 0: after every epoch.
    seed : orders, dropout and augmentation follow from it.
    threads : of the CPU; None leaves them.
    """

    epochs: int = 20
    optimizers: Optimizer | Mapping[str, Optimizer] = field(default_factory=Optimizer)
    schedule: str | Shape = "constant"
    clip: float | None = None
    accumulate: int = 1
    ema: float | None = None
    half_life: float | None = None
    patience: int | None = None
    keep_best: bool = True
    validate_every: int = 1
    budget: float | None = None
    precision: str = "float32"
    compile: bool | str = False
    channels_last: bool = False
    checkpoint: Path | None = None
    checkpoint_every: float = 30.0
    device: str | torch.device = "cpu"
    seed: int = 0
    threads: int | None = None

    def __post_init__(self) -> None:
        for name in ("epochs", "accumulate", "validate_every"):
            if getattr(self, name) < 1:
                raise ParameterError(f"{name}={getattr(self, name)!r} came; it must be 1 or more.")
        if self.ema is not None and not 0 < self.ema < 1:
            raise ParameterError(f"ema={self.ema!r} came; it must lie between 0 and 1, such as 0.999, or be None.")
        for name in ("clip", "patience", "budget", "half_life"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ParameterError(f"{name}={value!r} came; it must be above 0, or None.")
        if self.compile not in (True, False, "auto"):
            raise ParameterError(f'compile={self.compile!r} came; it must be True, False or "auto".')


@dataclass(frozen=True)
class Progress:
    """Where a run is; sent a few times per second at most."""

    epoch: int
    epochs: int
    done: float  # share of all steps
    rows_per_second: float
    loss: float  # mean of the last whole epoch, nan before
    seconds_left: float
    history: History  # as far as it is told; to be read only


@dataclass
class History:
    """What happened: one entry per epoch, and sentences about all that went wrong and was put right."""

    epochs: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    best_epoch: int | list[int] | None = None
    best_loss: float | list[float] | None = None
    seconds: float = 0.0
    stopped: str = "end"  # "end" "patience" "budget" "stop" "trouble" "reached"
    steps: int = 0

    def frame(self) -> Any:
        """The epochs as a DataFrame, one row each (needs pandas)."""
        import pandas

        return pandas.DataFrame(self.epochs)


def train(
    objective: Objective,
    source: Source,
    plan: Plan,
    *,
    valid: Source | None = None,
    listener: Listener | None = None,
    stop: Callable[[], bool] | None = None,
) -> History:
    """Train the networks of `objective` in place and tell how it went.

    Raises
    ------
    TrainingError
        when the loss is not a number again and again, or one row does not fit into memory.
    """
    where = device.choose(plan.device)
    with device.settings(where, plan.threads, plan.precision) as mixed:
        return _Run(objective, source, plan, where, mixed, valid, listener, stop).run()


class _Run:
    """One run. Its state is what a checkpoint holds."""

    def __init__(
        self,
        objective: Objective,
        source: Source,
        plan: Plan,
        where: torch.device,
        mixed: Any,
        valid: Source | None,
        listener: Listener | None,
        stop: Callable[[], bool] | None,
    ):
        self.objective, self.source, self.plan, self.where, self.mixed = objective, source, plan, where, mixed
        self.valid, self.listener, self.stop = valid, listener, stop
        objective.nets.to(where)
        if plan.channels_last:
            objective.nets.to(memory_format=torch.channels_last)
        source.move(where)
        if valid is not None:
            valid.move(where)
        plans = plan.optimizers
        self.groups: dict[str, Group] = {}
        for name, modules in objective.weights().items():
            if not isinstance(plans, Optimizer) and name not in plans:
                raise ParameterError(f"optimizers has {', '.join(plans)}; the objective also needs {name!r}.")
            self.groups[name] = Group(plans if isinstance(plans, Optimizer) else plans[name], modules, where)
        owned = [p for group in self.groups.values() for p in group.parameters]
        if len(set(owned)) < len(owned) or any(not group.parameters for group in self.groups.values()):
            told = ", ".join(f"{name}: {len(group.parameters)}" for name, group in self.groups.items())
            raise ParameterError(f"Each optimiser needs weights, and each weight one optimiser; these have {told}.")
        self.nets: Any = objective.nets
        # Gradients of weights that no optimiser, or another one, owns are not taken at all.
        self.alone = len(self.groups) == 1 and len(owned) == sum(p.requires_grad for p in objective.nets.parameters())
        self.shape = shape(plan.schedule)
        self.tensors: list[torch.Tensor] = [*objective.nets.parameters(), *objective.nets.buffers()]
        self.average = [t.detach().clone() for t in self.tensors] if plan.ema or plan.half_life else None
        self.history = History()
        self.epoch, self.at, self.t = 0, 0, 0  # epoch, step in it, steps in all
        self.all_steps = plan.epochs * source.steps()
        self.total = self.all_steps  # fewer where the budget ends before
        self.factor = 1.0  # smaller after each rescue
        self.rescues, self.halvings = 0, 0
        self.gathered = 0  # batches since the last update
        self.pending: dict[str, int] = {}  # their rows, by optimiser
        self.best: list[torch.Tensor] | None = None
        self.best_loss: torch.Tensor | None = None
        self.best_epoch: torch.Tensor | None = None
        self.waited, self.turns = 0, 0
        self.used = 0.0  # seconds of earlier runs that this one goes on from
        self.validation, self.judged = 0.0, -1  # seconds of the last validation, and the step it was at
        self.good: dict[str, Any] | None = None
        self.sums: dict[str, torch.Tensor] = {}
        self.seen = 0
        self.first: torch.Tensor | None = None  # loss of the first step
        self.trial: list[Any] | None = None  # of torch.compile: seconds per step without, first timed step, its time
        self.mark = self._mark()
        if plan.patience is not None and valid is None:
            self.history.notes.append("patience has no effect: there are no validation rows.")

    # --- the whole run ---

    def run(self) -> History:
        self.began = self.looked = self.saved = self.kept = time.monotonic()
        torch.manual_seed(derive(self.plan.seed, "training"))
        self._resume()
        self.limit = math.inf if self.plan.budget is None else self.began + self.plan.budget - self.used
        self.first_step, self.rows = self.t, 0
        self.objective.nets.train()
        ended = None
        while self.epoch < self.plan.epochs and ended is None:
            try:
                ended = self._epoch()
            except RuntimeError as error:  # torch.OutOfMemoryError is one
                self._smaller(error)
        self.history.stopped = ended or "end"
        self._finish()
        return self.history

    def _epoch(self) -> str | None:
        """One pass; gives the reason to end, if there is one."""
        plan, source = self.plan, self.source
        started = time.monotonic()
        if self.at == 0:
            self.sums, self.seen = {}, 0
        if self.good is None:
            self._keep()
        # After a rescue the order is another one too, else the same batch would do the same again.
        seed = derive(plan.seed, "rescue", self.rescues) if self.rescues else plan.seed
        for batch in source.epoch(self.epoch, seed, start=self.at):
            self._step(batch)
            now = time.monotonic()
            if not self.gathered and (now - self.looked > _LOOK or self.t - self.first_step in (10, 40, 160)):
                ended = self._look(now)
                if ended == "rescue":
                    return self._rescue()
                if ended:
                    return ended
        if self.gathered:  # what is left of an epoch makes an update of its own
            self._move(list(self.pending))
            self._moved()
        figures = {name: _number(total) / max(self.seen, 1) for name, total in self.sums.items()}
        now = time.monotonic()
        keep = now - self.kept > max(2.0, 20 * self.keeping)
        last = self.epoch + 1 == plan.epochs
        if self._diverged(figures) or ((keep or last) and not self._sound()):
            return self._rescue()
        entry: dict[str, Any] = {"epoch": self.epoch + 1, **figures, "rate": self.shape(self._done()) * self.factor}
        self.epoch, self.at = self.epoch + 1, 0
        reached = False
        if self.valid is not None and (last or self.epoch % plan.validate_every == 0):
            self._validate(entry)
            told = self.objective.trouble()
            if told is not None and self._turn(told):
                return "trouble"
            reached = self.objective.reached()
        entry["seconds"] = time.monotonic() - started
        self.history.epochs.append(entry)
        if reached:
            return "reached"
        if keep:
            self._keep()
        if self.waited and plan.patience is not None and self.waited >= plan.patience:
            return "patience"
        now = time.monotonic()
        if plan.checkpoint is not None and now - self.saved >= plan.checkpoint_every:
            self._save()
        return "budget" if now >= self.limit and not last else None

    # --- one step ---

    def _step(self, batch: Any) -> None:
        size = size_of(batch)
        update = self.gathered + 1 >= self.accumulate
        try:
            self._learn(batch, size, update)
        except Exception as error:
            if self.nets is self.objective.nets or _no_memory(error):
                raise
            # Compilers fail in many ways; without them the step is the same.
            self.history.notes.append(f"torch.compile failed ({type(error).__name__}); training goes on without it.")
            self.nets = self.objective.nets
            self._clear()
            self._learn(batch, size, update)
        self.gathered += 1
        self.seen += size
        self.rows += size
        self.at += 1
        self.t += 1
        if update:
            self._moved()

    @property
    def accumulate(self) -> int:
        """Batches to one update: twice as many after each halving of the batch."""
        return self.plan.accumulate << self.halvings

    def _learn(self, batch: Any, size: int, update: bool) -> None:
        """Losses, gradients and, with `update`, the moves."""
        self.objective.done = self._done()
        with self.mixed:
            losses = self.objective.step(self.nets, batch)
        if isinstance(losses, dict):  # all gradients at the same weights, then all moves
            self._gather(losses, size)
            if update:
                self._move(losses)
            return
        while True:  # each optimiser moves before the next loss is computed
            with self.mixed:
                told = next(losses, None)
            if told is None:
                return
            self._gather({told[0]: told[1]}, size)
            if update:
                self._move([told[0]])

    def _gather(self, losses: Mapping[str, torch.Tensor], size: int) -> None:
        """Add the gradients of these losses to those of their own weights."""
        left = len(losses)
        for name, loss in losses.items():
            left -= 1
            if name not in self.groups:
                raise ParameterError(f"The objective gave a loss for {name!r}; it has {', '.join(self.groups)}.")
            told = loss.detach()
            if self.accumulate > 1:  # sums over rows are divided by all rows at the move, whatever batches they came in
                loss = loss * size
                self.pending[name] = self.pending.get(name, 0) + size
            loss.backward(inputs=None if self.alone else self.groups[name].parameters, retain_graph=left > 0)
            if name in self.sums:
                self.sums[name].add_(told, alpha=size)
            else:
                self.sums[name] = told.float() * size
                if self.first is None:
                    self.first = told.float().clone()

    def _move(self, names: Iterable[str]) -> None:
        factor = self.shape(self._done()) * self.factor
        for name in names:
            group = self.groups[name]
            if self.pending:
                group.divide(self.pending.pop(name, 1))
            if self.plan.clip is not None:
                nn.utils.clip_grad_norm_(group.parameters, self.plan.clip, foreach=True)
            group.set_rate(factor)
            group.step()
            group.clear()

    def _moved(self) -> None:
        """After an update."""
        self.gathered = 0
        if self.average is not None:
            self._blend()
        self.objective.after_step(self.t)

    def _clear(self) -> None:
        """Forget gradients of an update that is not complete."""
        self.gathered, self.pending = 0, {}
        for group in self.groups.values():
            group.clear()

    def _blend(self) -> None:
        assert self.average is not None
        decay = self.plan.ema or 0.5 ** (1.0 / max(self.plan.half_life * self.total, 1e-9))  # type: ignore[operator]
        decay = min(decay, (1 + self.t) / (10 + self.t))
        with torch.no_grad():
            soft = [(a, t) for a, t in zip(self.average, self.tensors, strict=True) if a.is_floating_point()]
            torch._foreach_lerp_([a for a, _ in soft], [t for _, t in soft], 1 - decay)  # pyright: ignore
            for a, t in zip(self.average, self.tensors, strict=True):
                if not a.is_floating_point():
                    a.copy_(t)

    def _done(self) -> float:
        return min(self.t / max(self.total, 1), 1.0)

    # --- duties a few times per second ---

    def _look(self, now: float) -> str | None:
        """Between two updates: the reason to end, "rescue" where the loss is no number any more, or None."""
        self.looked, plan = now, self.plan
        if any(not math.isfinite(_number(total)) for total in self.sums.values()):
            return "rescue"
        if self.stop is not None and self.stop():
            return "stop"
        left = self.limit - now - self.validation
        if left <= 0:
            return "budget"
        pace = (now - self.began) / max(self.t - self.first_step, 1)
        if left < math.inf:
            self.total = min(self.all_steps, self.t + max(int(0.97 * left / pace), 1))
        self._tell(now, pace)
        if plan.checkpoint is not None and now - self.saved >= plan.checkpoint_every > 0:
            self._save()
        if plan.compile and self.t - self.first_step >= 10:
            self._compile(now, pace)
        return None

    def _tell(self, now: float, pace: float) -> None:
        if self.listener is None:
            return
        told = self.history.epochs[-1] if self.history.epochs else {}
        loss = next((v for k, v in told.items() if k in self.groups), math.nan)
        rows = self.rows / max(now - self.began, 1e-9)
        left = pace * max(self.total - self.t, 0)
        epoch = min(self.epoch + 1, self.plan.epochs)
        self.listener(Progress(epoch, self.plan.epochs, self._done(), rows, loss, left, self.history))

    def _compile(self, now: float, pace: float) -> None:
        """Compile the networks ("auto": on CUDA, where a minute or more is left), and keep that if steps get faster."""
        if self.trial is None:
            if self.plan.compile == "auto" and (self.where.type != "cuda" or pace * (self.total - self.t) < 60):
                return
            self.trial = [pace, self.t, None]
            self.nets = nn.ModuleDict({name: torch.compile(net) for name, net in self.objective.nets.items()})
        elif self.nets is not self.objective.nets and self.t >= self.trial[1] + 10:
            if self.trial[2] is None:  # compiling is over: from here on steps are timed
                self.trial[1:] = [self.t, now]
            elif (now - self.trial[2]) / (self.t - self.trial[1]) > self.trial[0]:
                self.nets = self.objective.nets
                self.history.notes.append("torch.compile made steps no faster; training goes on without it.")
            else:
                self.trial[1] = math.inf  # it pays

    # --- validation ---

    def _validate(self, entry: dict[str, Any]) -> None:
        """Judge the weights (their moving average where there is one) and keep the best."""
        assert self.valid is not None
        began = time.monotonic()
        found = None
        while found is None:
            try:
                with self._answering(), torch.no_grad(), self.mixed:
                    found = self.objective.judge(self.objective.nets, self.valid.ordered())
            except RuntimeError as error:
                if not _no_memory(error) or not self.valid.halve():
                    raise
                self.history.notes.append("Memory ran out in the validation: half as many rows at a time there.")
        self.validation, self.judged = time.monotonic() - began, self.t
        loss = torch.as_tensor(found["loss"], dtype=torch.float64).cpu()
        entry.update({f"valid_{k}": _plain(v) for k, v in found.items()})
        if self.best_loss is None:
            self.best_loss = torch.full_like(loss, math.inf)
            self.best_epoch = torch.zeros_like(loss, dtype=torch.int64)
        assert self.best_epoch is not None
        better = loss <= self.best_loss if self.objective.ties else loss < self.best_loss
        if bool(better.any()):
            self.waited = 0
            self.best_loss = torch.where(better, loss, self.best_loss)
            self.best_epoch = torch.where(better, torch.tensor(self.epoch), self.best_epoch)
            if self.plan.keep_best:
                self._keep_best(better)
        else:
            self.waited += self.plan.validate_every

    def _keep_best(self, better: torch.Tensor) -> None:
        now = self.average if self.average is not None else self.tensors
        if self.best is None:
            self.best = [t.detach().clone() for t in now]
            return
        chosen = None if better.ndim == 0 or bool(better.all()) else better.nonzero()[:, 0].to(self.where)
        with torch.no_grad():
            for kept, t in zip(self.best, now, strict=True):
                if chosen is None or t.ndim == 0 or len(t) != len(better):
                    kept.copy_(t)
                else:
                    kept[chosen] = t[chosen]

    @contextlib.contextmanager
    def _answering(self) -> Iterator[None]:
        """Evaluation mode, with the averaged weights in place."""
        nets = self.objective.nets
        nets.eval()
        if self.average is not None:
            self._swap()
        try:
            yield
        finally:
            if self.average is not None:
                self._swap()
            nets.train()

    def _swap(self) -> None:
        assert self.average is not None
        with torch.no_grad():  # by copies: fused recurrent cells and compiled steps know the weights by their address
            for a, t in zip(self.average, self.tensors, strict=True):
                kept = t.clone()
                t.copy_(a)
                a.copy_(kept)

    # --- when something goes wrong ---

    def _state(self) -> dict[str, Any]:
        """All that the next step depends on."""
        return {
            "tensors": list(self.tensors),
            "average": self.average,
            "best": self.best,
            "best_loss": self.best_loss,
            "best_epoch": self.best_epoch,
            "optimizers": {name: group.state() for name, group in self.groups.items()},
            "place": [self.epoch, self.at, self.t, self.total, self.waited, self.halvings, self.rescues, self.turns],
            "factor": self.factor,
            "sums": self.sums,
            "seen": self.seen,
            "first": self.first,
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state(self.where) if self.where.type == "cuda" else None,
            "objective": self.objective.state(),
            "history": [self.history.epochs, self.history.notes],
        }

    def _restore(self, state: dict[str, Any]) -> None:
        where = self.where
        self._clear()
        with torch.no_grad():
            for t, value in zip(self.tensors, state["tensors"], strict=True):
                t.copy_(value)
            for a, value in zip(self.average or [], state["average"] or [], strict=True):
                a.copy_(value)
        self.best = None if state["best"] is None else [t.to(where, copy=True) for t in state["best"]]
        self.best_loss, self.best_epoch = state["best_loss"], state["best_epoch"]
        for name, group in self.groups.items():
            group.restore(state["optimizers"][name])
        self.epoch, self.at, self.t, self.total, self.waited, halvings, self.rescues, self.turns = state["place"]
        while self.halvings < halvings:  # a run in another process has halved its batch
            self.source.halve()
            self.halvings += 1
        self.all_steps = self.plan.epochs * self.source.steps()
        self.factor = state["factor"]
        self.sums = {name: total.to(where, copy=True) for name, total in state["sums"].items()}
        self.seen = state["seen"]
        self.first = None if state["first"] is None else state["first"].to(where)
        torch.set_rng_state(state["random"].cpu())
        if state["random_cuda"] is not None and where.type == "cuda":
            torch.cuda.set_rng_state(state["random_cuda"].cpu(), where)
        self.objective.restore(_copied(state["objective"]))
        self.history.epochs, self.history.notes = list(state["history"][0]), list(state["history"][1])

    def _keep(self) -> None:
        """A copy of the state in memory, to go back to."""
        began = time.monotonic()
        self.good = _copied(self._state())
        self.kept = time.monotonic()
        self.keeping = self.kept - began  # seconds that a copy takes: they are spent rarely

    def _sound(self) -> bool:
        """Whether every weight is a finite number."""
        norms = [t.detach().float().norm(p=math.inf) for t in self.tensors if t.is_floating_point() and t.numel()]
        return not norms or bool(torch.isfinite(torch.stack(norms)).all())

    def _diverged(self, figures: Mapping[str, float]) -> bool:
        """Whether the losses of an epoch are no numbers, or far above that of the first step where they should fall."""
        if not all(math.isfinite(v) for v in figures.values()):
            return True
        if not self.objective.falls or self.first is None or self.rescues >= _RESCUES:
            return False
        first = _number(self.first)
        return 0 < _FAR * first < next(iter(figures.values()))

    def _rescue(self) -> None:
        """Back to the last good state, with smaller steps and other draws."""
        assert self.good is not None
        epoch, rescues, notes = self.epoch + 1, self.rescues + 1, self.history.notes
        if rescues > _RESCUES:
            raise TrainingError(
                f"The loss was not a finite number in epoch {epoch}, also after {_RESCUES} returns to an earlier state "
                f"with ever smaller steps (the last at {self.factor:.2g} of the learning rate). {self._suspect()}"
            )
        factor = self.factor * 0.3
        self._restore(self.good)
        self.rescues, self.factor = rescues, factor
        torch.manual_seed(derive(self.plan.seed, "rescue", rescues))
        note = f"Training diverged in epoch {epoch}: back to the end of epoch {self.epoch}, steps {factor:.2g} as long."
        self.history.notes = [*notes, note]

    def _turn(self, told: str) -> bool:
        """Back to the best weights, since the objective says so; True where that has not helped and the run ends."""
        self.turns += 1
        last = self.turns > TURNS or self.best is None
        if self.best is not None:
            with torch.no_grad():
                for t, kept in zip(self.tensors, self.best, strict=True):
                    t.copy_(kept)
                for a, kept in zip(self.average or [], self.best, strict=False):
                    a.copy_(kept)
        does = "training ends with the best weights" if last else "training goes on from the best weights"
        self.history.notes.append(f"{told} In epoch {self.epoch}: {does}.")
        return last

    def _suspect(self) -> str:
        """What is known about the cause: fixed data are looked through."""
        if self.source.fixed:
            bad = sum(not _finite(batch) for batch in self.source.ordered())
            if bad:
                return f"The data hold values that are no finite numbers (in {bad} batches): replace or drop them."
        return "Look for huge values in the data, or give a much smaller learning_rate."

    def _smaller(self, error: RuntimeError) -> None:
        """Half the batch and twice the accumulation, where memory has run out; any other error goes on its way."""
        if not _no_memory(error):
            raise error
        self._clear()
        before = self.source.batch
        if self.good is None or not self.source.halve():
            raise TrainingError(
                f"There is not enough memory for one step of {before} row{'s' if before != 1 else ''}. Use a smaller "
                "network, shorter sequences, smaller images or a smaller graph."
            ) from error
        note = (
            f"Memory ran out: {self.source.batch} rows at a time instead of {before}, as many to an update as before."
        )
        notes = [*self.history.notes, note]
        if self.where.type == "cuda":
            torch.cuda.empty_cache()
        self.halvings += 1
        self._restore(self.good)
        done = self._done()
        self.at = 0  # the epoch begins anew: places in the old batches mean nothing in the new ones
        self.total = self.all_steps
        self.t = round(done * self.total)
        self.history.notes = notes
        self._keep()

    # --- checkpoints ---

    def _mark(self) -> dict[str, Any]:
        """What must be the same for a run to go on."""
        plan = self.plan
        return {
            "plan": [
                plan.epochs,
                plan.seed,
                plan.accumulate,
                plan.ema or plan.half_life,
                plan.clip,
                plan.precision,
                plan.validate_every,
            ],
            "steps": self.source.steps(),
            "shapes": [list(t.shape) for t in self.tensors],
            "optimizers": {name: group.plan.name for name, group in self.groups.items()},
        }

    def _save(self) -> None:
        """Write the checkpoint. A full disk ends no training: it is said, and the last whole file stays."""
        assert self.plan.checkpoint is not None
        state = {**self._state(), "mark": self.mark, "used": self.used + time.monotonic() - self.began}
        try:
            checkpoint.write(self.plan.checkpoint, state)
        except OSError as error:
            note = f"No checkpoint could be written to {self.plan.checkpoint}: {error.strerror or error}."
            if note not in self.history.notes:
                self.history.notes.append(note)
        self.saved = time.monotonic()

    def _resume(self) -> None:
        path = self.plan.checkpoint
        if path is None or not path.exists():
            return
        try:
            state = checkpoint.read(path)
            same = state["mark"] == self.mark
            if same:
                self._restore(state)
                self.used = float(state["used"])
        except (ModelFileError, LookupError, TypeError, ValueError, AttributeError) as error:
            raise ModelFileError(f"The checkpoint {path} cannot be read: {error} Remove it to start anew.") from error
        if not same:
            raise ModelFileError(
                f"The checkpoint {path} belongs to a run with another network, data, seed, optimiser or number of "
                "epochs. Remove it, or give the settings of that run."
            )
        self.history.notes.append(f"Went on from the checkpoint in epoch {self.epoch + 1}.")

    def _finish(self) -> None:
        """The best weights, or their moving average, in place; nothing left behind."""
        history, path = self.history, self.plan.checkpoint
        self._clear()
        if not self._sound():  # only a run that ended between two looks at its weights can come here
            assert self.good is not None
            notes, stopped = history.notes, history.stopped
            self._restore(self.good)
            note = f"The last weights were no finite numbers: those of the end of epoch {self.epoch} answer."
            history.notes, history.stopped = [*notes, note], stopped
        elif history.stopped == "stop" and path is not None:
            self._save()
        if self.valid is not None and self.judged != self.t:
            self._validate({})  # the part of an epoch after the last validation may be the best
        if self.best_loss is not None and not bool(torch.isfinite(self.best_loss).all()):
            history.notes.append("No validation loss was a finite number: the last weights answer.")
        final = self.best if self.best is not None else self.average
        if final is not None:
            with torch.no_grad():
                for t, value in zip(self.tensors, final, strict=True):
                    t.copy_(value)
        self.objective.nets.eval()
        if self.best_loss is not None and self.best_epoch is not None:
            history.best_loss, history.best_epoch = self.best_loss.tolist(), self.best_epoch.tolist()
        now = time.monotonic()
        history.seconds = self.used + now - self.began
        history.steps = self.t
        self._tell(now, 0.0)
        if path is not None and history.stopped != "stop":
            path.unlink(missing_ok=True)


def _no_memory(error: BaseException) -> bool:
    told = str(error)
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in told or "out of memory" in told


def _finite(batch: Any) -> bool:
    """Whether all tensors of a nested batch are finite."""
    if isinstance(batch, torch.Tensor):
        return not batch.is_floating_point() or bool(torch.isfinite(batch).all())
    values = batch.values() if isinstance(batch, dict) else batch if isinstance(batch, tuple | list) else ()
    return all(_finite(v) for v in values)


def _number(value: Any) -> float:
    return float(value.sum()) if isinstance(value, torch.Tensor) else float(value)


def _plain(value: Any) -> Any:
    return value.detach().cpu().tolist() if isinstance(value, torch.Tensor) else value


def _copied(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {k: _copied(v) for k, v in value.items()}
    return [_copied(v) for v in value] if isinstance(value, list | tuple) else value
