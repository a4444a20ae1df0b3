"""Batches that already lie on the device. No loader, no collation, no Python per row.

A source is asked for an epoch by number and gives the same batches for the same number and seed, so that a resumed run
sees what an uninterrupted one would have seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from everymodel.core.errors import DataError
from everymodel.core.seeds import derive
from everymodel.training.device import to

_BLUR = 0.05  # share of its length by which a sequence may be sorted wrongly


class Source:
    """Base of all sources.

    Attributes
    ----------
    batch : rows a step.
    fixed : whether the data lie there, rather than being made batch by batch.
    """

    batch: int = 1
    fixed: bool = True

    def move(self, device: torch.device) -> None:
        """Put the data on the device, once."""

    def steps(self) -> int:
        """Batches in one epoch."""
        raise NotImplementedError

    def epoch(self, number: int, seed: int, start: int = 0) -> Iterator[Any]:
        """Batches `start`, `start` + 1, ... of epoch `number`."""
        raise NotImplementedError

    def ordered(self) -> Iterator[Any]:
        """All rows once, in their order (validation)."""
        raise NotImplementedError

    def halve(self) -> bool:
        """Half as many rows a step, because memory ran out; False where a step cannot get smaller."""
        if self.batch <= 1:
            return False
        self.batch //= 2
        return True


class Arrays(Source):
    """Tensors of equal length (n, ...); a batch is the tuple of their chosen rows.

    Parameters
    ----------
    tensors : each (n, ...), in any dtype; narrow ones (uint8) are kept narrow.
    batch : rows per step.
    shuffle : a new order each epoch.
    drop_last : leave out the last rows of an order when they do not fill a batch (they come in another epoch).
    augment : called with each batch of an epoch (not of `ordered`) on the device, with a generator that all its draws
        must come from, so that a resumed run draws the same; gives the batch.
    members : k: each member sees an order of its own, and batches are (k, b, ...).
    rows : (k, m) row numbers that each member may see (folds), with `members`; all rows by default. `ordered` then
        gives (k, b, ...) too, each member's rows in their order.
    """

    def __init__(
        self,
        *tensors: torch.Tensor,
        batch: int = 128,
        shuffle: bool = True,
        drop_last: bool = False,
        augment: Callable[[tuple[torch.Tensor, ...], torch.Generator], Any] | None = None,
        members: int | None = None,
        rows: torch.Tensor | None = None,
    ):
        if not tensors or any(len(t) != len(tensors[0]) for t in tensors):
            raise DataError(
                f"Tensors of lengths {[len(t) for t in tensors]} came; they must be equal, and one or more."
            )
        if not len(tensors[0]):
            raise DataError("There is no row to learn from.")
        if rows is not None and len(rows) != members:
            raise DataError(f"rows has {len(rows)} lists of rows; there are {members} members.")
        self.tensors, self.batch, self.shuffle, self.drop_last = tensors, int(batch), shuffle, drop_last
        self.augment, self.members, self.rows = augment, members, rows
        self.n = len(tensors[0]) if rows is None else rows.shape[1]
        self.wide = 4096  # rows of a table at once in `ordered`

    def move(self, device: torch.device) -> None:
        self.tensors = tuple(to(list(self.tensors), device))
        self.rows = None if self.rows is None else self.rows.to(device)

    def halve(self) -> bool:
        self.wide //= 2
        return super().halve()

    def steps(self) -> int:
        size = min(self.batch, self.n)
        return max(self.n // size, 1) if self.drop_last else -(-self.n // size)

    def epoch(self, number: int, seed: int, start: int = 0) -> Iterator[tuple[torch.Tensor, ...]]:
        device = self.tensors[0].device
        generator = torch.Generator(device=device)
        generator.manual_seed(derive(seed, "epoch", number))
        size, n = min(self.batch, self.n), self.n
        order = None
        if self.members:
            draw = torch.rand(self.members, n, generator=generator, device=device)
            order = draw.argsort(dim=1) if self.shuffle else torch.arange(n, device=device).expand(self.members, n)
            order = order if self.rows is None else self.rows.gather(1, order)  # (k, n)
        elif self.shuffle:
            order = torch.randperm(n, generator=generator, device=device)
        for i in range(start, self.steps()):
            batch = self._take(order, i * size, min((i + 1) * size, n))
            if self.augment is not None:
                generator.manual_seed(derive(seed, "augment", number, i))
                batch = self.augment(batch, generator)
            yield batch

    def _take(self, order: torch.Tensor | None, low: int, high: int) -> tuple[torch.Tensor, ...]:
        if order is None:
            return tuple(t[low:high] for t in self.tensors)
        if self.members:
            rows = order[:, low:high]
            flat = rows.reshape(-1)
            return tuple(t.index_select(0, flat).view(*rows.shape, *t.shape[1:]) for t in self.tensors)
        rows = order[low:high]
        return tuple(t.index_select(0, rows) for t in self.tensors)

    def ordered(self) -> Iterator[tuple[torch.Tensor, ...]]:
        size = max(self.batch, self.wide // (self.members or 1)) if self.tensors[0].ndim <= 2 else self.batch
        for low in range(0, self.n, size):
            if self.rows is None:
                yield tuple(t[low : low + size] for t in self.tensors)
            else:
                yield self._take(self.rows, low, low + size)


class Endless(Arrays):
    """As `Arrays`, in epochs of `count` steps however many rows there are: orders follow one another without end."""

    def __init__(self, *tensors: torch.Tensor, count: int, batch: int = 128, augment: Any = None):
        super().__init__(*tensors, batch=batch, augment=augment)
        self.count = int(count)

    def steps(self) -> int:
        return self.count

    def epoch(self, number: int, seed: int, start: int = 0) -> Iterator[tuple[torch.Tensor, ...]]:
        device, size = self.tensors[0].device, self.batch
        generator = torch.Generator(device=device)
        held, order = -1, None
        for i in range(start, self.count):
            rows, at = [], (number * self.count + i) * size  # of the endless order
            while sum(map(len, rows)) < size:
                turn, low = divmod(at, self.n)
                if turn != held:
                    generator.manual_seed(derive(seed, "order", turn))
                    held, order = turn, torch.randperm(self.n, generator=generator, device=device)
                assert order is not None
                rows.append(order[low : low + size - sum(map(len, rows))])
                at += len(rows[-1])
            batch = self._take(torch.cat(rows) if len(rows) > 1 else rows[0], 0, size)
            if self.augment is not None:
                generator.manual_seed(derive(seed, "augment", number, i))
                batch = self.augment(batch, generator)
            yield batch


class Ragged(Source):
    """Sequences of different lengths, padded within batches of similar length.

    A batch is (padded (b, T, ...), lengths (b,), *rest (b, ...)). Rows are sorted by length within windows of `window`
    batches of a shuffled order, so that little is padding and batches still differ from epoch to epoch.

    Parameters
    ----------
    values : (total, ...) all sequences one after the other.
    lengths : (n,) int64, each at least 1.
    rest : further tensors (n, ...), or (values, "steps") pairs: tensors (total, ...) that run along the sequences and
        are padded like them, such as a tag for every step.
    batch : sequences per step. tokens: most padded steps of a batch (long sequences come in smaller batches).
    pad : value of padding for `values`; for `rest` along the steps it is `pad_rest`.
    """

    def __init__(
        self,
        values: torch.Tensor,
        lengths: torch.Tensor,
        *rest: torch.Tensor | tuple[torch.Tensor, str],
        batch: int = 32,
        tokens: int | None = None,
        pad: float = 0,
        pad_rest: float = -100,
        shuffle: bool = True,
        window: int = 50,
    ):
        lengths = lengths.to(torch.int64)
        if int(lengths.sum()) != len(values):
            raise DataError(f"Lengths sum to {int(lengths.sum())}, and there are {len(values)} steps.")
        if len(lengths) == 0 or int(lengths.min()) < 1:
            raise DataError("A sequence is empty: every sequence needs at least one step.")
        self.values, self.lengths = values, lengths
        self.starts = torch.cumsum(lengths, 0) - lengths  # (n,)
        self.rest = tuple(r if isinstance(r, tuple) else (r, "rows") for r in rest)
        for tensor, kind in self.rest:
            if len(tensor) != len(values if kind == "steps" else lengths):
                raise DataError(
                    f"A tensor of length {len(tensor)} came for {len(lengths)} sequences of {len(values)} steps in all."
                )
        self.batch, self.tokens, self.pad, self.pad_rest = int(batch), tokens, pad, pad_rest
        self.shuffle, self.window = shuffle, window
        self._sizes = lengths.tolist()  # on the host: shapes of batches must be known here

    def move(self, device: torch.device) -> None:
        self.values, self.lengths, self.starts = to([self.values, self.lengths, self.starts], device)
        self.rest = tuple((t.to(device), kind) for t, kind in self.rest)

    def _plan(self, order: list[int], noise: list[float] | None = None) -> list[list[int]]:
        """Row numbers of each batch: windows of the order, sorted by length, cut into batches.

        Lengths are blurred by `noise` (n,) in [0, 1], else rows of rare lengths would share a batch in every epoch.
        """
        plan, sizes = [], self._sizes
        blurred = [s * (1 + _BLUR * u) for s, u in zip(sizes, noise, strict=True)] if noise else sizes
        wide = max(self.batch * self.window, 1)
        for low in range(0, len(order), wide):
            rows = sorted(order[low : low + wide], key=lambda r: -blurred[r])
            at = 0
            while at < len(rows):
                size = self.batch
                if self.tokens:  # the first need not be the longest
                    longest = max(sizes[r] for r in rows[at : at + size])
                    size = max(1, min(size, self.tokens // longest))
                plan.append(rows[at : at + size])
                at += size
        return plan

    def steps(self) -> int:
        return len(self._plan(list(range(len(self._sizes)))))

    def epoch(self, number: int, seed: int, start: int = 0) -> Iterator[tuple[torch.Tensor, ...]]:
        generator = torch.Generator()
        generator.manual_seed(derive(seed, "epoch", number))
        n = len(self._sizes)
        order = torch.randperm(n, generator=generator).tolist() if self.shuffle else list(range(n))
        plan = self._plan(order, torch.rand(n, generator=generator).tolist() if self.shuffle else None)
        if self.shuffle:
            plan = [plan[i] for i in torch.randperm(len(plan), generator=generator).tolist()]
        for rows in plan[start:]:
            yield self.take(rows)

    def ordered(self) -> Iterator[tuple[torch.Tensor, ...]]:
        rows: list[int] = []
        longest = 0
        for row, size in enumerate(self._sizes):
            longest = max(longest, size)
            if rows and (len(rows) == self.batch or (self.tokens and longest * (len(rows) + 1) > self.tokens)):
                yield self.take(rows)
                rows, longest = [], size
            rows.append(row)
        yield self.take(rows)

    def halve(self) -> bool:
        if self.tokens:
            self.tokens = max(self.tokens // 2, 1)
        return super().halve()

    def take(self, rows: list[int]) -> tuple[torch.Tensor, ...]:
        """The batch of these rows."""
        chosen = torch.tensor(rows, device=self.values.device)
        lengths = self.lengths[chosen]  # (b,)
        longest = max(self._sizes[r] for r in rows)
        steps = torch.arange(longest, device=chosen.device)  # (T,)
        mask = steps < lengths[:, None]  # (b, T)
        places = (self.starts[chosen][:, None] + steps).clamp(max=len(self.values) - 1)  # (b, T)

        def padded(values: torch.Tensor, pad: float) -> torch.Tensor:
            taken = values[places]  # (b, T, ...)
            return torch.where(mask.view(*mask.shape, *[1] * (taken.ndim - 2)), taken, torch.as_tensor(pad).to(taken))

        rest = [padded(t, self.pad_rest) if kind == "steps" else t[chosen] for t, kind in self.rest]
        return padded(self.values, self.pad), lengths, *rest


class Whole(Source):
    """One batch that is everything, such as a graph: an epoch is one step."""

    def __init__(self, data: Any):
        self.data = data

    def move(self, device: torch.device) -> None:
        self.data = self.data.to(device) if hasattr(self.data, "to") else to(self.data, device)

    def steps(self) -> int:
        return 1

    def epoch(self, number: int, seed: int, start: int = 0) -> Iterator[Any]:
        if not start:
            yield self.data

    def ordered(self) -> Iterator[Any]:
        yield self.data


class Drawn(Source):
    """Batches that a function makes: rollouts of an agent, noise, rows of a file too large for memory.

    draw(number, generator) -> batch, `steps_` times an epoch.
    """

    fixed = False

    def __init__(self, draw: Callable[[int, torch.Generator], Any], steps: int, device: str | torch.device = "cpu"):
        self.draw, self.steps_, self.device = draw, steps, torch.device(device)

    def move(self, device: torch.device) -> None:
        self.device = device

    def steps(self) -> int:
        return self.steps_

    def epoch(self, number: int, seed: int, start: int = 0) -> Iterator[Any]:
        for i in range(start, self.steps_):
            generator = torch.Generator(device=self.device)
            generator.manual_seed(derive(seed, "epoch", number, i))
            yield self.draw(number * self.steps_ + i, generator)

    def ordered(self) -> Iterator[Any]:
        return self.epoch(0, 0)
