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

from everymodel.core.errors import EverymodelError, ModelFileError
from everymodel.core.seeds import derive
from everymodel.training import checkpoint, device
from everymodel.training.objective import Objective, size_of
from everymodel.training.optimizers import Group, Optimizer
from everymodel.training.schedules import Shape, shape
from everymodel.training.source import Source

Listener = Callable[["Progress"], None]
_RESCUES = 5  # times that a run goes back to its last good state before it gives up
_LOOK = 0.25  # seconds between looks at the clock-bound duties (stop, progress, checkpoint)


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
    patience : epochs without a better validation loss after which training ends; None: run to the end.
    keep_best : end with the weights of the best validated epoch.
    validate_every : epochs between validations.
    budget : wall seconds for the whole run; the schedule is shortened so that it ends in time.
    precision : "float32", "medium", "bfloat16" or "auto"; see device.settings.
    compile : True, False, or "auto": on CUDA, kept if it pays within the run.
    channels_last : memory order for convolutions of images.
    checkpoint : file for the state of the run; a run with the same file and plan goes on from there.
    checkpoint_every : seconds between two of these.
    seed : orders, dropout and augmentation follow from it.
    threads : of the CPU; None leaves them.
    """

    epochs: int = 20
    optimizers: Optimizer | Mapping[str, Optimizer] = field(default_factory=Optimizer)
    schedule: str | Shape = "constant"
    clip: float | None = None
    accumulate: int = 1
    ema: float | None = None
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


@dataclass(frozen=True)
class Progress:
    """Where a run is; sent a few times per second at most."""

    epoch: int
    epochs: int
    done: float  # share of all steps
    rows_per_second: float
    loss: float  # mean of the last whole epoch, nan before
    seconds_left: float


@dataclass
class History:
    """What happened: one entry per epoch, and sentences about all that went wrong and was put right."""

    epochs: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    best_epoch: int | list[int] | None = None
    best_loss: float | list[float] | None = None
    seconds: float = 0.0
    stopped: str = "end"  # "end" "patience" "budget" "stop"
    steps: int = 0


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
        self.groups = {
            name: Group(plans if isinstance(plans, Optimizer) else plans[name], modules, where)
            for name, modules in objective.weights().items()
        }
        self.nets: Any = objective.nets
        self.shape = shape(plan.schedule)
        self.tensors = [*objective.nets.parameters(), *objective.nets.buffers()]
        self.average = [t.detach().clone() for t in self.tensors] if plan.ema else None
        self.history = History()
        self.epoch, self.at, self.t = 0, 0, 0  # epoch, step in it, steps in all
        self.total = plan.epochs * source.steps()
        self.factor = 1.0  # smaller after each rescue
        self.rescues = 0
        self.accumulate = plan.accumulate
        self.best: list[torch.Tensor] | None = None
        self.best_loss: torch.Tensor | None = None
        self.best_epoch: torch.Tensor | None = None
        self.waited = 0
        self.used = 0.0  # seconds of earlier runs that this one goes on from
        self.good: dict[str, Any] | None = None
        self.sums: dict[str, torch.Tensor] = {}
        self.seen = 0
        self.trial: list[Any] | None = None  # of torch.compile: seconds per step without, first timed step, its time

    # --- the whole run ---

    def run(self) -> History:
        self.began = self.looked = self.saved = self.kept = time.monotonic()
        torch.manual_seed(derive(self.plan.seed, "training"))
        self._resume()
        self.limit = math.inf if self.plan.budget is None else self.began + self.plan.budget
        self.first_step, self.rows = self.t, 0
        self.objective.nets.train()
        ended = None
        while self.epoch < self.plan.epochs and ended is None:
            try:
                ended = self._epoch()
            except (torch.OutOfMemoryError, RuntimeError) as error:
                self._smaller(error)
        self.history.stopped = ended or "end"
        if ended == "stop" and self.plan.checkpoint is not None:
            self._save()
        self._finish()
        return self.history

    def _epoch(self) -> str | None:
        """One pass; gives the reason to end, if there is one."""
        plan, source = self.plan, self.source
        started, first = time.monotonic(), self.at
        if first == 0:
            self.sums, self.seen = {}, 0
        if self.good is None:
            self._keep()
        for batch in source.epoch(self.epoch, plan.seed, start=first):
            self._step(batch)
            self.at += 1
            self.t += 1
            self.rows += size_of(batch)
            now = time.monotonic()
            if now - self.looked > _LOOK or self.t - self.first_step in (10, 40, 160):
                ended = self._look(now)
                if ended:
                    if self.valid is not None:
                        self._validate({})
                    return ended
        figures = {name: _number(total) / max(self.seen, 1) for name, total in self.sums.items()}
        if not all(math.isfinite(v) for v in figures.values()):
            self._rescue()
            return None
        entry: dict[str, Any] = {"epoch": self.epoch + 1, **figures, "rate": self.shape(self._done()) * self.factor}
        self.epoch, self.at = self.epoch + 1, 0
        if self.valid is not None and (self.epoch % plan.validate_every == 0 or self.epoch == plan.epochs):
            self._validate(entry)
        entry["seconds"] = time.monotonic() - started
        self.history.epochs.append(entry)
        now = time.monotonic()
        if now - self.kept > max(2.0, 20 * self.keeping):
            self._keep()
        if plan.checkpoint is not None and now - self.saved >= plan.checkpoint_every:
            self._save()
        if self.waited and plan.patience is not None and self.waited >= plan.patience:
            return "patience"
        return "budget" if now >= self.limit else None

    # --- one step ---

    def _step(self, batch: Any) -> None:
        update = (self.t + 1) % self.accumulate == 0
        if update:
            factor = self.shape(self._done()) * self.factor
            for group in self.groups.values():
                group.set_rate(factor)
        size = size_of(batch)
        with self.mixed:
            losses = self._losses(batch)
            if isinstance(losses, dict):
                self._together(losses, size, update)
            else:
                for name, loss in losses:
                    self._together({name: loss}, size, update)
        self.seen += size
        if update:
            if self.average is not None:
                self._blend()
            self.objective.after_step(self.t)

    def _losses(self, batch: Any) -> Any:
        if self.nets is self.objective.nets:
            return self.objective.step(self.nets, batch)
        try:
            return self.objective.step(self.nets, batch)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # compilers fail in many ways; without them the step is the same
            self.nets = self.objective.nets
            self.history.notes.append(f"torch.compile failed ({type(error).__name__}); training goes on without it.")
            return self.objective.step(self.nets, batch)

    def _together(self, losses: Mapping[str, torch.Tensor], size: int, update: bool) -> None:
        """Gradients of all losses at the same weights, then the moves."""
        left = len(losses)
        for name, loss in losses.items():
            left -= 1
            if name in self.sums:
                self.sums[name].add_(loss.detach(), alpha=size)
            else:
                self.sums[name] = loss.detach().float() * size
            if self.accumulate > 1:
                loss = loss / self.accumulate
            if len(self.groups) == 1:
                loss.backward(retain_graph=left > 0)
            else:  # only the weights that this optimiser owns
                loss.backward(inputs=self.groups[name].parameters, retain_graph=left > 0)
        if not update:
            return
        for name in losses:
            group = self.groups[name]
            if self.plan.clip is not None:
                nn.utils.clip_grad_norm_(group.parameters, self.plan.clip, foreach=True)
            group.step()
            group.clear()

    def _blend(self) -> None:
        assert self.average is not None and self.plan.ema is not None
        decay = min(self.plan.ema, (1 + self.t) / (10 + self.t))
        with torch.no_grad():
            floats = [(a, t) for a, t in zip(self.average, self.tensors, strict=True) if a.is_floating_point()]
            torch._foreach_lerp_([a for a, _ in floats], [t for _, t in floats], 1 - decay)  # pyright: ignore
            for a, t in zip(self.average, self.tensors, strict=True):
                if not a.is_floating_point():
                    a.copy_(t)

    def _done(self) -> float:
        return min(self.t / max(self.total, 1), 1.0)

    # --- duties a few times per second ---

    def _look(self, now: float) -> str | None:
        self.looked = now
        if self.stop is not None and self.stop():
            return "stop"
        if now >= self.limit:
            return "budget"
        pace = (now - self.began) / max(self.t - self.first_step, 1)
        if self.limit < math.inf:
            able = self.t + max(int(0.97 * (self.limit - now) / pace), 1)
            self.total = min(self.plan.epochs * self.source.steps(), able)
        if self.where.type == "cpu" and any(not math.isfinite(_number(s)) for s in self.sums.values()):
            return None  # the end of the epoch deals with it
        if self.listener is not None:
            told = self.history.epochs[-1] if self.history.epochs else {}
            loss = next((v for k, v in told.items() if k in self.groups), math.nan)
            left = pace * max(self.total - self.t, 0)
            rows = self.rows / max(now - self.began, 1e-9)
            self.listener(Progress(self.epoch + 1, self.plan.epochs, self._done(), rows, loss, left))
        plan = self.plan
        if plan.checkpoint is not None and now - self.saved >= plan.checkpoint_every > 0:
            self._save()
        if plan.compile and self.t - self.first_step >= 10:
            self._compile(now, pace)
        return None

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
        with self._answering(), torch.no_grad(), self.mixed:
            found = self.objective.judge(self.objective.nets, self.valid.ordered())
        loss = torch.as_tensor(found["loss"], dtype=torch.float64).cpu()
        entry.update({f"valid_{k}": _plain(v) for k, v in found.items()})
        if self.best_loss is None:
            self.best_loss = torch.full_like(loss, math.inf)
            self.best_epoch = torch.zeros_like(loss, dtype=torch.int64)
        assert self.best_epoch is not None
        better = loss < self.best_loss
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
        for a, t in zip(self.average, self.tensors, strict=True):
            a.data, t.data = t.data, a.data

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
            "place": [self.epoch, self.at, self.t, self.total, self.waited, self.accumulate, self.rescues],
            "factor": self.factor,
            "batch": self.source.batch,
            "sums": self.sums,
            "seen": self.seen,
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state(self.where) if self.where.type == "cuda" else None,
            "objective": self.objective.state(),
            "history": [self.history.epochs, self.history.notes],
        }

    def _restore(self, state: dict[str, Any]) -> None:
        with torch.no_grad():
            for t, value in zip(self.tensors, state["tensors"], strict=True):
                t.copy_(value)
        self.average = _moved(state["average"], self.where)
        self.best, self.best_loss, self.best_epoch = _moved(state["best"], self.where), *_both(state)
        for name, group in self.groups.items():
            group.restore(_moved(state["optimizers"][name], self.where))
        self.epoch, self.at, self.t, self.total, self.waited, self.accumulate, self.rescues = state["place"]
        self.factor, self.source.batch = state["factor"], state["batch"]
        self.sums, self.seen = _moved(state["sums"], self.where), state["seen"]
        torch.set_rng_state(state["random"].cpu())
        if state["random_cuda"] is not None and self.where.type == "cuda":
            torch.cuda.set_rng_state(state["random_cuda"].cpu(), self.where)
        self.objective.restore(state["objective"])
        self.history.epochs, self.history.notes = list(state["history"][0]), list(state["history"][1])

    def _keep(self) -> None:
        """A copy of the state in memory, to go back to."""
        began = time.monotonic()
        self.good = _copied(self._state())
        self.kept = time.monotonic()
        self.keeping = self.kept - began  # seconds that a copy takes: they are spent rarely

    def _rescue(self) -> None:
        """Back to the last good state, with smaller steps."""
        assert self.good is not None
        epoch, rescues, notes = self.epoch + 1, self.rescues + 1, self.history.notes
        if rescues > _RESCUES:
            raise TrainingError(
                f"The loss was not a finite number in epoch {epoch}, also after {_RESCUES} returns to an earlier state "
                f"with ever smaller steps (the last at {self.factor:.2g} of the learning rate). Look for huge or "
                "missing values in the data, or give a much smaller learning_rate."
            )
        factor = self.factor * 0.3
        self._restore(_copied(self.good))
        self.rescues, self.factor = rescues, factor
        # Other draws from here on, else the same batch would do the same again.
        torch.manual_seed(derive(self.plan.seed, "rescue", rescues))
        note = (
            f"The loss was no finite number in epoch {epoch}: back to epoch {self.epoch}, steps {factor:.2g} as long."
        )
        self.history.notes = [*notes, note]

    def _smaller(self, error: RuntimeError) -> None:
        """Half the batch and twice the accumulation, where memory has run out; any other error goes on its way."""
        told = str(error)
        if not (
            isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in told or "out of memory" in told
        ):
            raise error
        if self.source.batch <= 1 or self.good is None:
            raise TrainingError(
                "There is not enough memory for one row. Use a smaller network, shorter sequences or smaller images."
            ) from error
        half = self.source.batch // 2
        notes = [*self.history.notes, f"Memory ran out: {half} rows at a time instead of {self.source.batch}."]
        for group in self.groups.values():
            group.clear()
        if self.where.type == "cuda":
            torch.cuda.empty_cache()
        self._restore(_copied(self.good))
        done = self._done()
        self.source.batch, self.accumulate = half, self.accumulate * 2
        self.at = 0
        self.total = self.plan.epochs * self.source.steps()
        self.t = int(done * self.total)
        self.history.notes = notes
        self._keep()

    # --- checkpoints ---

    def _mark(self) -> dict[str, Any]:
        """What must be the same for a run to go on."""
        return {
            "epochs": self.plan.epochs,
            "seed": self.plan.seed,
            "shapes": [list(t.shape) for t in self.tensors],
            "optimizers": {name: group.plan.name for name, group in self.groups.items()},
        }

    def _save(self) -> None:
        """Write the checkpoint. A full disk ends no training: it is said, and the last whole file stays."""
        assert self.plan.checkpoint is not None
        state = {**self._state(), "mark": self._mark(), "used": self.used + time.monotonic() - self.began}
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
            same = state["mark"] == self._mark()
        except (ModelFileError, KeyError, TypeError, ValueError) as error:
            raise ModelFileError(f"The checkpoint {path} cannot be read: {error} Remove it to start anew.") from error
        if not same:
            raise ModelFileError(
                f"The checkpoint {path} belongs to a run with another network, seed, optimiser or number of epochs. "
                "Remove it, or give the settings of that run."
            )
        self._restore(state)
        self.used = state["used"]

    def _finish(self) -> None:
        """The best weights, or their moving average, in place; nothing left behind."""
        final = self.best if self.best is not None else self.average
        if final is not None:
            with torch.no_grad():
                for t, value in zip(self.tensors, final, strict=True):
                    t.copy_(value)
        self.objective.nets.eval()
        for t in self.objective.nets.parameters():
            t.grad = None
        history = self.history
        if self.best_loss is not None:
            history.best_loss, history.best_epoch = self.best_loss.tolist(), self.best_epoch.tolist()  # pyright: ignore
        history.seconds = self.used + time.monotonic() - self.began
        history.steps = self.t
        if self.plan.checkpoint is not None and history.stopped != "stop":
            self.plan.checkpoint.unlink(missing_ok=True)


def _number(value: Any) -> float:
    return float(value.sum()) if isinstance(value, torch.Tensor) else float(value)


def _plain(value: Any) -> Any:
    return value.detach().cpu().tolist() if isinstance(value, torch.Tensor) else value


def _both(state: dict[str, Any]) -> Iterable[Any]:
    return state["best_loss"], state["best_epoch"]


def _copied(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {k: _copied(v) for k, v in value.items()}
    return [_copied(v) for v in value] if isinstance(value, list | tuple) else value


def _moved(value: Any, where: torch.device) -> Any:
    """Tensors of a nested state on the device (counters of optimisers stay where they are)."""
    if isinstance(value, torch.Tensor):
        return value.to(where) if value.ndim else value
    if isinstance(value, dict):
        return {k: _moved(v, where) for k, v in value.items()}
    return [_moved(v, where) for v in value] if isinstance(value, list | tuple) else value
