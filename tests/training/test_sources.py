"""Sources: each row once, the same batches again, and going on in the middle of an epoch."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch

from everymodel.core.errors import DataError
from everymodel.training.objective import size_of
from everymodel.training.source import Arrays, Drawn, Ragged, Source, Whole


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))


def noisy(batch: tuple[torch.Tensor, ...], generator: torch.Generator) -> Any:
    return batch[0] + torch.rand(batch[0].shape, generator=generator), *batch[1:]


def ragged(n: int = 300, **options: Any) -> Ragged:
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(1, 60, (n,), generator=generator)
    total = int(lengths.sum())
    rows = torch.repeat_interleave(torch.arange(n), lengths)  # each step says whose it is
    steps = torch.cat([torch.arange(k) for k in lengths.tolist()])
    return Ragged(rows[:, None].float().expand(total, 2), lengths, torch.arange(n), (steps, "steps"), **options)


SOURCES: dict[str, Any] = {
    "arrays": lambda: Arrays(torch.arange(53.0)[:, None], torch.arange(53), batch=8),
    "in order": lambda: Arrays(torch.arange(53.0)[:, None], torch.arange(53), batch=8, shuffle=False),
    "augmented": lambda: Arrays(torch.arange(53.0)[:, None], torch.arange(53), batch=8, augment=noisy),
    "members": lambda: Arrays(torch.arange(53.0)[:, None], torch.arange(53), batch=8, members=3),
    "ragged": lambda: ragged(batch=16),
    "tokens": lambda: ragged(batch=16, tokens=200),
    "drawn": lambda: Drawn(lambda i, g: (torch.full((4,), float(i)), torch.rand(4, generator=g)), 7),
    "whole": lambda: Whole(torch.arange(5.0)),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_an_epoch_is_the_same_again_and_can_begin_anywhere(kind: str) -> None:
    source: Source = SOURCES[kind]()
    first = list(source.epoch(2, 9))
    assert same(first, list(source.epoch(2, 9)))
    for start in (1, len(first) // 2, len(first)):
        assert same(first[start:], list(source.epoch(2, 9, start=start)))
    if kind not in ("whole", "in order"):
        assert not same(first, list(source.epoch(3, 9))) and not same(first, list(source.epoch(2, 8)))
    if kind != "tokens":  # there the number depends on the order
        assert len(first) == source.steps()


def test_every_row_once_per_epoch_whatever_the_size_of_a_batch() -> None:
    for batch in (1, 7, 53, 1000):
        source = Arrays(torch.arange(53), batch=batch)
        taken = torch.cat([b for (b,) in source.epoch(0, 0)])
        assert sorted(taken.tolist()) == list(range(53)) and taken.tolist() != list(range(53))
        assert torch.cat([b for (b,) in source.ordered()]).tolist() == list(range(53))


def test_the_rest_may_be_left_out_but_not_all() -> None:
    sizes = [size_of(b) for b in Arrays(torch.arange(53), batch=8, drop_last=True).epoch(0, 0)]
    assert sizes == [8] * 6
    assert [size_of(b) for b in Arrays(torch.arange(5), batch=8, drop_last=True).epoch(0, 0)] == [5]


def test_augmentation_changes_training_batches_alone() -> None:
    source = SOURCES["augmented"]()
    assert all((x[:, 0] != y).any() for x, y in source.epoch(0, 0))
    assert all(torch.equal(x[:, 0], y.float()) for x, y in source.ordered())
    assert not same(next(iter(source.epoch(0, 0)))[0] % 1, list(source.epoch(0, 0))[1][0] % 1)


def test_members_see_their_own_rows_in_their_own_order() -> None:
    rows = torch.tensor([[i for i in range(30) if i % 3 != fold] for fold in range(3)])
    source = Arrays(torch.arange(30.0)[:, None], batch=6, members=3, rows=rows)
    batches = [x for (x,) in source.epoch(0, 0)]
    assert [tuple(b.shape) for b in batches] == [(3, 6, 1)] * 3 + [(3, 2, 1)]
    taken = torch.cat(batches, dim=1)[..., 0]
    for fold in range(3):
        assert sorted(taken[fold].tolist()) == rows[fold].tolist()
    assert not torch.equal(taken[0], taken[1])
    assert torch.equal(torch.cat([x for (x,) in source.ordered()], dim=1)[..., 0].long(), rows)
    shared = Arrays(torch.arange(30.0)[:, None], batch=6, members=3)
    assert sum(len(x) for (x,) in shared.ordered()) == 30
    with pytest.raises(DataError, match="rows has 3 lists of rows; there are 2 members"):
        Arrays(torch.arange(30.0), members=2, rows=rows)


def test_sequences_come_once_whole_and_with_their_tags() -> None:
    for options in ({"batch": 16}, {"batch": 16, "tokens": 150}, {"batch": 16, "shuffle": False}, {"batch": 1}):
        source = ragged(pad=-7.0, pad_rest=-1, **options)
        seen: Counter[int] = Counter()
        for padded, lengths, names, steps in source.epoch(1, 0):
            seen.update(names.tolist())
            inside = torch.arange(padded.shape[1]) < lengths[:, None]
            assert padded.shape[1] == lengths.max() and padded.shape[2] == 2
            assert (padded[inside] == names[:, None].expand_as(inside)[inside][:, None]).all()
            assert (padded[~inside] == -7).all() and (steps[~inside] == -1).all()
            assert (steps[inside] == torch.arange(padded.shape[1]).expand_as(inside)[inside]).all()
            if "tokens" in options:
                assert padded.shape[0] * padded.shape[1] <= 150
        assert seen == Counter(range(300))
        names = torch.cat([b[2] for b in source.ordered()])
        assert names.tolist() == list(range(300))
        if "tokens" in options:
            assert all(b[0].shape[0] * b[0].shape[1] <= 150 for b in source.ordered())


def test_little_of_a_batch_is_padding() -> None:
    source = ragged(2000, batch=32)
    padded = sum(b[0].shape[0] * b[0].shape[1] for b in source.epoch(0, 0))
    real = int(source.lengths.sum())
    blind = 0
    order = torch.randperm(2000, generator=torch.Generator().manual_seed(0))
    for low in range(0, 2000, 32):
        sizes = source.lengths[order[low : low + 32]]
        blind += int(sizes.max()) * len(sizes)
    assert padded / real - 1 < 0.08 < 0.5 < blind / real - 1  # by chance, half as much again would be padding


def test_batches_of_sequences_differ_from_epoch_to_epoch() -> None:
    source = ragged(batch=16)
    first, second = ([frozenset(b[2].tolist()) for b in source.epoch(number, 0)] for number in range(2))
    assert len(set(first) & set(second)) <= 2
    distinct = Ragged(torch.zeros(sum(range(100, 260))), torch.arange(100, 260), torch.arange(160), batch=16)
    first, second = ([frozenset(b[2].tolist()) for b in distinct.epoch(number, 0)] for number in range(2))
    assert len(set(first) & set(second)) <= 2
    lengths = [float(b[1].float().mean()) for b in source.epoch(0, 0)]
    assert lengths != sorted(lengths) and lengths != sorted(lengths, reverse=True)


def test_one_sequence_longer_than_the_most_comes_alone() -> None:
    lengths = torch.tensor([5, 400, 3, 2])
    source = Ragged(torch.zeros(410), lengths, batch=4, tokens=20)
    assert sorted(b[1].tolist() for b in source.epoch(0, 0)) == [[5, 3, 2], [400]]


def test_unusable_data_are_told() -> None:
    with pytest.raises(DataError, match=r"lengths \[3, 4\]"):
        Arrays(torch.zeros(3), torch.zeros(4))
    with pytest.raises(DataError, match="no row"):
        Arrays(torch.zeros(0, 2))
    with pytest.raises(DataError, match="empty"):
        Ragged(torch.zeros(5), torch.tensor([5, 0]))
    with pytest.raises(DataError, match="sum to 4, and there are 5"):
        Ragged(torch.zeros(5), torch.tensor([2, 2]))
    with pytest.raises(DataError, match="length 5 came for 2 sequences of 5"):
        Ragged(torch.zeros(5), torch.tensor([2, 3]), torch.zeros(5))
    with pytest.raises(DataError):
        Ragged(torch.zeros(0), torch.tensor([], dtype=torch.int64))


def test_halving_ends_at_one_row() -> None:
    source = ragged(batch=4, tokens=100)
    assert [source.halve() for _ in range(3)] == [True, True, False] and source.batch == 1
    assert max(b[0].shape[0] * b[0].shape[1] for b in source.epoch(0, 0)) <= 60  # the longest alone
    assert not Whole(torch.zeros(3)).halve()


def test_rows_of_nested_batches() -> None:
    assert size_of({"a": (torch.zeros(3, 2), torch.zeros(5))}) == 3 and size_of(torch.zeros(4)) == 4
