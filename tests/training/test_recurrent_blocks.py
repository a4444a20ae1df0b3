"""Recurrent blocks answer in torch as in numpy, on random weights; padding never shows; files are checked."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from everymodel.core.errors import ModelFileError  # noqa: E402
from everymodel.scoring.layers import base, feed, recurrence, tokens  # noqa: E402
from everymodel.training.blocks.recurrence import Pool, Recurrence, WordSums, WordVectors  # noqa: E402
from everymodel.training.blocks.tagging import CRF  # noqa: E402

_LENGTHS = [7, 1, 4, 7, 2]


def _rows(width: int = 3):
    rng = np.random.default_rng(0)
    return [rng.normal(size=(n, width)).astype(np.float32) for n in _LENGTHS]


def _padded(rows, fill=0.0):
    made = np.full((len(rows), max(_LENGTHS), rows[0].shape[1]), fill, dtype=np.float32)
    for i, row in enumerate(rows):
        made[i, : len(row)] = row
    return made


def _again(layer):
    """Through a file and back."""
    told, arrays = base.write(layer)
    return base.read(told, arrays)


def _close(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
@pytest.mark.parametrize("how", ["all", "attention"])
def test_numpy_answers_as_torch(cell, how):
    torch.manual_seed(0)
    body, pool = Recurrence(cell, 3, 5, layers=2), Pool(how, 10, 5)
    for p in (*body.parameters(), *pool.parameters()):
        torch.nn.init.normal_(p, std=0.5)
    rows, lengths = _rows(), np.array(_LENGTHS)
    x, n = torch.tensor(_padded(rows)), torch.tensor(_LENGTHS)
    with torch.no_grad():
        states = body(x, n)
        expected = pool(states, n).numpy()
    made = _again(feed.Sequential([*body.layer().parts(), pool.layer()]))
    _close(made((_padded(rows), lengths)), expected)
    # Each row alone, whatever stands in the padding, and cut into batches by length.
    for i, row in enumerate(rows):
        _close(made((row[None], lengths[i : i + 1]))[0], expected[i])
    _close(made((_padded(rows, fill=99.0), lengths)), expected)
    flat = np.concatenate(rows)
    parts = list(recurrence.batches(flat, lengths, room=8))
    assert len(parts) > 2 and sorted(np.concatenate([r for r, _ in parts])) == list(range(5))
    for chosen, batch in parts:
        _close(made(batch), expected[chosen])


def test_states_against_the_formula():
    """An LSTM step by step, by hand."""
    torch.manual_seed(1)
    body = Recurrence("lstm", 2, 3, bidirectional=False)
    cell = body.layers[0][0].cell
    assert np.allclose(cell.bias_ih_l0.detach().numpy()[3:6], 1.0), "the forget gate does not start open"
    state = cell.weight_hh_l0.detach().numpy()[:3]
    assert np.allclose(state @ state.T, np.eye(3), atol=1e-5), "recurrent weights do not start orthogonal"
    W, U = (w.detach().numpy().T for w in (cell.weight_ih_l0, cell.weight_hh_l0))
    b = (cell.bias_ih_l0 + cell.bias_hh_l0).detach().numpy()
    h, c = np.zeros(3), np.zeros(3)
    x = np.random.default_rng(0).normal(size=(4, 2)).astype(np.float32)
    for row in x:
        i, f, g, o = np.split(row @ W + h @ U + b, 4)
        c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
        h = np.tanh(c) / (1 + np.exp(-o))
    _close(body.layer()((x[None], np.array([4])))[0][0, -1], h)


def test_gradients_stop_at_the_chunk():
    x = torch.randn(1, 9, 2, requires_grad=True)
    body = Recurrence("gru", 2, 3, bidirectional=False, chunk=4)
    out = body(x, torch.tensor([9]))
    _close(out.detach().numpy(), Recurrence.forward(_unchunked(body), x, torch.tensor([9])).detach().numpy())
    out[0, -1].sum().backward()
    reached = x.grad[0].abs().sum(dim=1) > 0
    assert reached.tolist() == [False] * 8 + [True]


def _unchunked(body):
    for ways in body.layers:
        for way in ways:
            way.chunk = None
    return body


def test_words_in_torch_and_numpy():
    torch.manual_seed(0)
    reader = tokens.Tokens("words", ("the", "cat", "sat", "0"), digits=True)
    words = ["The", "cat", "sat", "7", "unseen", "Ω", "", "McDonald's"]
    block = WordVectors(reader, words, 4, (50, 3), (60, 2), (2, 3), cased=True).eval()
    sums = WordSums(reader, words, 2, 40)
    torch.nn.init.normal_(sums.table)
    torch.nn.init.normal_(sums.pairs)
    kinds = torch.tensor([[0, 1, 2, 3], [4, 5, 7, 0], [6, 0, 0, 0]])
    lengths = torch.tensor([4, 3, 1])
    cells = [["The", "cat", "sat", "7"], ["unseen", "Ω", "McDonald's"], ""]
    with torch.no_grad():
        expected = block(kinds).numpy()
    values, own = _again(block.layer())(cells)
    assert own.tolist() == [4, 3, 1]
    _close(values, np.concatenate([expected[i, :n] for i, n in enumerate(own)]))
    lower = [[w.lower() for w in cell] if cell else [""] for cell in cells]
    pairs = [[tokens.pair_of(a, b, 40) for a, b in itertools.pairwise(row)] + [0] * (5 - len(row)) for row in lower]
    with torch.no_grad():
        expected = sums(kinds, lengths, torch.tensor(pairs)).numpy()
    _close(_again(sums.layer())(cells), expected)
    # Unknown words differ by their characters though they share an id.
    assert not np.allclose(values[4], values[5])


def test_the_field_is_a_distribution():
    """Over all sequences of tags the probabilities sum to 1, and Viterbi's way finds the largest."""
    torch.manual_seed(0)
    field = CRF(3)
    for p in field.parameters():
        torch.nn.init.normal_(p)
    scores, lengths = torch.randn(2, 4, 3), torch.tensor([4, 2])
    best = field.layer()((scores.numpy(), lengths.numpy()))
    for row, n in enumerate(lengths.tolist()):
        every = list(itertools.product(range(3), repeat=n))
        tags = torch.tensor([[*path, *[-100] * (4 - n)] for path in every])
        with torch.no_grad():
            many = scores[row].expand(len(every), -1, -1)
            p = field(many, tags, torch.full((len(every),), n)).exp().numpy()
        assert p.sum() == pytest.approx(1, abs=1e-4)
        assert tuple(best[row, :n]) == every[p.argmax()]


def test_forbidden_moves_are_never_answered():
    allowed = torch.ones(4, 4, dtype=torch.bool)
    allowed[0, 1] = allowed[3, 2] = False  # 1 never after 0; no sentence begins with 2
    best = CRF(3, allowed).layer()
    scores = np.random.default_rng(0).normal(size=(50, 6, 3)).astype(np.float32) * 5
    paths = best((scores, np.full(50, 6)))
    assert not ((paths[:, :-1] == 0) & (paths[:, 1:] == 1)).any() and (paths[:, 0] != 2).all()


@pytest.mark.parametrize(
    "damage",
    [
        {"cell": "tree"},
        {"weight": np.zeros((3, 7), np.float32)},
        {"state": np.zeros((0, 0), np.float32)},
        {"bias": np.zeros(15, np.int64)},
        {"state_bias": None},
        {"reverse": 1},
    ],
)
def test_damaged_recurrent_layers(damage):
    layer = Recurrence("gru", 3, 5, bidirectional=False).layer().parts()[0]
    for name, value in damage.items():
        setattr(layer, name, value)
    with pytest.raises(ModelFileError):
        _again(layer)
