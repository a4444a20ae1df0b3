"""German to English on Multi30k: SequenceToSequence beside a plain GRU with Bahdanau's attention, equal CPU time.

    python benchmarks/translation.py --folder DATA/multi30k --part valid --programs ours --set dropout=0.2   to choose
    python benchmarks/translation.py --folder DATA/multi30k [--epochs 6]                                     to report

The folder holds train.de.gz, train.en.gz, val.de.gz, ..., test_2016_flickr.de.gz, ... . Both programs have one thread
and the same pairs, words and sizes. The plain program is the loop of tutorials (attention by the state before, teacher
forcing, Adam, dropout, greedy writing); it trains for the CPU seconds that ours took (or `--seconds`). In both the
validation part keeps the best epoch. With `--part valid` the test part is not opened.

BLEU: corpus BLEU-4 with one reference and no smoothing (Papineni et al. 2002), of words and single signs in small
letters, as `everymodel.scoring.layers.tokens.split_words` cuts them, in what is said and in the reference alike. It
does not compare with figures that were cut in other ways.
"""

from __future__ import annotations

import argparse
import copy
import gzip
import json
import math
import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from everymodel.models.neural.sequence_to_sequence import SequenceToSequence
from everymodel.scoring.layers.tokens import split_words

Pairs = tuple[list[str], list[str]]


def lines(path: Path, most: int | None = None) -> list[str]:
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        return [line.strip() for line in stream][:most]


def bleu(said: list[str], wanted: list[str]) -> float:
    """Corpus BLEU-4 of words in small letters, with one reference, without smoothing."""
    hits, counts = np.zeros(4), np.zeros(4)
    long, short = 0, 0
    for a, b in zip(said, wanted, strict=True):
        x, y = split_words(a.lower()), split_words(b.lower())
        long, short = long + len(y), short + len(x)
        for n in range(4):
            own = Counter(tuple(x[i : i + n + 1]) for i in range(len(x) - n))
            other = Counter(tuple(y[i : i + n + 1]) for i in range(len(y) - n))
            hits[n] += sum((own & other).values())
            counts[n] += sum(own.values())
    if (hits == 0).any():
        return 0.0
    brevity = min(1.0, math.exp(1 - long / max(short, 1)))
    return 100 * brevity * math.exp(np.log(hits / counts).mean())


class Plain(nn.Module):
    """The network of tutorials (Bahdanau, Cho and Bengio 2015).

    s_u = GRU([y_{u-1}; c_u], s_{u-1}),  c_u = sum_t softmax(v tanh(W h_t + U s_{u-1})) h_t
    """

    def __init__(self, source: int, target: int, embedding: int, hidden: int, dropout: float = 0.3):
        super().__init__()
        self.read, self.write = nn.Embedding(source, embedding, 0), nn.Embedding(target, embedding, 0)
        self.encoder = nn.GRU(embedding, hidden, batch_first=True, bidirectional=True)
        self.start, self.keys = nn.Linear(2 * hidden, hidden), nn.Linear(2 * hidden, hidden)
        self.query, self.score = nn.Linear(hidden, hidden, bias=False), nn.Linear(hidden, 1, bias=False)
        self.cell = nn.GRUCell(embedding + 2 * hidden, hidden)
        self.readout = nn.Linear(3 * hidden + embedding, embedding)
        self.outputs = nn.Linear(embedding, target)
        self.dropout = nn.Dropout(dropout)

    def encode(self, x):
        packed = nn.utils.rnn.pack_padded_sequence(
            self.dropout(self.read(x)), (x > 0).sum(dim=1), batch_first=True, enforce_sorted=False
        )
        states, last = self.encoder(packed)
        states, _ = nn.utils.rnn.pad_packed_sequence(states, batch_first=True)
        return torch.tanh(self.start(torch.cat([last[0], last[1]], dim=1))), (states, self.keys(states), x == 0)

    def decode(self, s, memory, word):
        states, keys, pad = memory
        a = self.score(torch.tanh(keys + self.query(s)[:, None]))[..., 0].masked_fill(pad, -torch.inf).softmax(dim=-1)
        context = (a[:, None] @ states)[:, 0]
        y = self.dropout(self.write(word))
        s = self.cell(torch.cat([y, context], dim=-1), s)
        return s, torch.tanh(self.readout(torch.cat([s, context, y], dim=-1)))

    def loss(self, x, y):
        s, memory = self.encode(x)
        told = []
        for u in range(y.shape[1] - 1):
            s, out = self.decode(s, memory, y[:, u])
            told.append(out)
        scores = self.outputs(self.dropout(torch.stack(told, dim=1).flatten(0, 1)))
        return F.cross_entropy(scores, y[:, 1:].flatten(), ignore_index=0)


def plain(train: Pairs, valid: Pairs, test: list[str], seconds: float, rate: float, embedding: int, hidden: int):
    """(translations of the test, CPU seconds of training, epochs)."""
    batch = 64
    torch.manual_seed(0)
    tables = []
    for side in train:
        counts = Counter(w for line in side for w in split_words(line.lower()))
        often = [w for w, c in counts.most_common(10_000) if c > 1]
        tables.append({w: i + 4 for i, w in enumerate(often)})  # padding, unknown, start, end

    def ids(line: str, table: dict[str, int]) -> list[int]:
        return [2, *[table.get(w, 1) for w in split_words(line.lower())], 3]

    def padded(rows: list[list[int]]) -> torch.Tensor:
        return nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)

    pairs, checks = ([(ids(a, tables[0]), ids(b, tables[1])) for a, b in zip(*p, strict=True)] for p in (train, valid))
    net = Plain(len(tables[0]) + 4, len(tables[1]) + 4, embedding, hidden)
    optimizer = torch.optim.Adam(net.parameters(), rate)
    spent, epochs, best, kept = 0.0, 0.0, math.inf, copy.deepcopy(net.state_dict())
    while spent < seconds:
        began = time.process_time()
        order = torch.randperm(len(pairs)).tolist()
        pools = [order[low : low + 50 * batch] for low in range(0, len(order), 50 * batch)]
        near = [i for pool in pools for i in sorted(pool, key=lambda i: len(pairs[i][0]))]  # less padding
        starts = torch.randperm(math.ceil(len(near) / batch)).mul(batch).tolist()
        for low in starts:
            rows = [pairs[i] for i in near[low : low + batch]]
            loss = net.loss(*(padded([row[k] for row in rows]) for k in (0, 1)))
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            epochs += len(rows) / len(order)
            if spent + time.process_time() - began >= seconds:
                break
        spent += time.process_time() - began
        net.eval()
        with torch.no_grad():
            parts = [checks[low : low + 100] for low in range(0, len(checks), 100)]
            told = [net.loss(*(padded([row[k] for row in part]) for k in (0, 1))).item() for part in parts]
        net.train()
        print(f"    plain, {spent:.0f} s: epoch {epochs:.2f}, validation loss {np.mean(told):.3f}", flush=True)
        if np.mean(told) < best:
            best, kept = np.mean(told), copy.deepcopy(net.state_dict())
    net.load_state_dict(kept)
    net.eval()
    words = {i: w for w, i in tables[1].items()}
    made = []
    with torch.no_grad():
        for low in range(0, len(test), 100):
            x = padded([ids(t, tables[0]) for t in test[low : low + 100]])
            s, memory = net.encode(x)
            last, rows = torch.full((len(x),), 2), [[] for _ in range(len(x))]
            over = torch.zeros(len(x), dtype=torch.bool)
            for _ in range(50):
                s, told = net.decode(s, memory, last)
                last = net.outputs(told).argmax(dim=-1)
                over |= last == 3
                for i, token in enumerate(last.tolist()):
                    if not over[i]:
                        rows[i].append(words.get(token, ""))
                if over.all():
                    break
            made += [" ".join(r) for r in rows]
    return made, spent, epochs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--part", choices=["valid", "test"], default="test")
    parser.add_argument("--programs", nargs="+", choices=["ours", "plain"], default=["ours", "plain"])
    parser.add_argument("--pairs", type=int, default=None, help="of the training part; none: all")
    parser.add_argument("--epochs", type=int, default=6, help="of ours")
    parser.add_argument("--seconds", type=float, default=None, help="of the plain program, where it runs alone")
    parser.add_argument("--rate", type=float, default=3e-3, help="length of the steps of the plain program")
    parser.add_argument("--embedding", type=int, default=192)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--set", nargs="*", default=[], help="parameters of ours as JSON, such as dropout=0.2")
    given = parser.parse_args()
    torch.set_num_threads(1)
    train = [lines(given.folder / f"train.{side}.gz", given.pairs) for side in ("de", "en")]
    valid = [lines(given.folder / f"val.{side}.gz") for side in ("de", "en")]
    test, wanted = valid
    if given.part == "test":
        test, wanted = (lines(given.folder / f"test_2016_flickr.{side}.gz") for side in ("de", "en"))
    more = {name: json.loads(value) for name, _, value in (word.partition("=") for word in given.set)}
    print(f"{len(train[0])} pairs, hidden {given.hidden}, one thread, BLEU of {given.part}; {more or 'as it comes'}")
    print(f"{'program':28} {'BLEU':>6} {'epochs':>7} {'CPU s training':>15} {'CPU s answering':>16}")
    took = given.seconds or 600.0
    if "ours" in given.programs:
        model = SequenceToSequence(**{"epochs": given.epochs, "hidden": given.hidden, "embedding": given.embedding,
                                      "random_state": 0, "device": "cpu", **more})  # fmt: skip
        began = time.process_time()
        model.train(*train, valid=tuple(valid), threads=1)
        took = time.process_time() - began
        losses = " ".join(f"{entry['valid_loss']:.3f}" for entry in model.history_.epochs)
        print(f"    ours: validation loss {losses}")
        for beams in (5, 1):
            model.beams = beams
            model.step_ = model._made()
            began = time.process_time()
            said = model.predict(test)
            rest = time.process_time() - began
            name = f"everymodel, {beams} {'beams' if beams > 1 else 'beam'}"
            print(f"{name:28} {bleu(said, wanted):6.2f} {given.epochs:7} {took:15.1f} {rest:16.1f}", flush=True)
    if "plain" in given.programs:
        said, spent, epochs = plain(
            train, valid, test, given.seconds or took, given.rate, given.embedding, given.hidden
        )
        print(f"{'plain loop, greedy':28} {bleu(said, wanted):6.2f} {epochs:7.2f} {spent:15.1f}")


if __name__ == "__main__":
    main()
