"""German to English on Multi30k: SequenceToSequence beside a plain GRU with attention, the same epochs, one thread.

    python benchmarks/translation.py --folder DATA/multi30k [--pairs 8000] [--epochs 5] [--hidden 256]

The folder holds train.de.gz, train.en.gz, test_2016_flickr.de.gz, ... . The plain program is the loop of tutorials:
one GRU each way, dot attention, teacher forcing, Adam, greedy writing. BLEU is corpus BLEU-4 of lower-case words; the
same for both, so the figures compare with each other and not with published ones.
"""

from __future__ import annotations

import argparse
import gzip
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


def lines(path: Path, most: int | None = None) -> list[str]:
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        return [line.strip() for line in stream][:most]


def bleu(said: list[str], wanted: list[str]) -> float:
    """Corpus BLEU-4 (Papineni et al. 2002) of lower-case words, with one reference, without smoothing."""
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
    """The network of tutorials."""

    def __init__(self, source: int, target: int, embedding: int, hidden: int):
        super().__init__()
        self.read, self.write = nn.Embedding(source, embedding, 0), nn.Embedding(target, embedding, 0)
        self.encoder = nn.GRU(embedding, hidden, batch_first=True, bidirectional=True)
        self.decoder = nn.GRU(embedding, hidden, batch_first=True)
        self.start, self.keys = nn.Linear(2 * hidden, hidden), nn.Linear(2 * hidden, hidden)
        self.readout = nn.Linear(3 * hidden, hidden)
        self.outputs = nn.Linear(hidden, target)

    def encode(self, x):
        states, last = self.encoder(self.read(x))
        return states, torch.tanh(self.start(torch.cat([last[0], last[1]], dim=1)))[None], x == 0

    def decode(self, states, first, pad, before):
        s, last = self.decoder(self.write(before), first)
        a = (s @ self.keys(states).transpose(1, 2)).masked_fill(pad[:, None], -torch.inf).softmax(dim=-1)
        return self.outputs(torch.tanh(self.readout(torch.cat([s, a @ states], dim=-1)))), last


def plain(train, test, epochs: int, embedding: int, hidden: int, batch: int = 64) -> tuple[list[str], float]:
    """(translations of the test, CPU seconds of training)."""
    torch.manual_seed(0)
    tables = []
    for side in train:
        counts = Counter(w for line in side for w in split_words(line.lower()))
        often = [w for w, c in counts.most_common(10_000) if c > 1]
        tables.append({w: i + 4 for i, w in enumerate(often)})  # padding, unknown, start, end

    def ids(line: str, table: dict[str, int]) -> list[int]:
        return [2, *[table.get(w, 1) for w in split_words(line.lower())], 3]

    pairs = [(ids(a, tables[0]), ids(b, tables[1])) for a, b in zip(*train, strict=True)]
    net = Plain(len(tables[0]) + 4, len(tables[1]) + 4, embedding, hidden)
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    began = time.process_time()
    for _ in range(epochs):
        order = torch.randperm(len(pairs)).tolist()
        for low in range(0, len(order), batch):
            rows = [pairs[i] for i in order[low : low + batch]]
            x, y = (nn.utils.rnn.pad_sequence([torch.tensor(r[k]) for r in rows], True) for k in (0, 1))
            scores, _ = net.decode(*net.encode(x), y[:, :-1])
            loss = F.cross_entropy(scores.flatten(0, 1), y[:, 1:].flatten(), ignore_index=0)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
    took = time.process_time() - began
    words = {i: w for w, i in tables[1].items()}
    made = []
    with torch.no_grad():
        for low in range(0, len(test), 100):
            x = nn.utils.rnn.pad_sequence([torch.tensor(ids(t, tables[0])) for t in test[low : low + 100]], True)
            states, state, pad = net.encode(x)
            last, rows = torch.full((len(x), 1), 2), [[] for _ in range(len(x))]
            over = torch.zeros(len(x), dtype=torch.bool)
            for _ in range(50):
                scores, state = net.decode(states, state, pad, last)
                last = scores[:, -1:].argmax(dim=-1)
                over |= last[:, 0] == 3
                for i, token in enumerate(last[:, 0].tolist()):
                    if not over[i]:
                        rows[i].append(words.get(token, ""))
                if over.all():
                    break
            made += [" ".join(r) for r in rows]
    return made, took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=8000)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--embedding", type=int, default=192)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    torch.set_num_threads(1)
    train = [lines(given.folder / f"train.{side}.gz", given.pairs) for side in ("de", "en")]
    test, wanted = (lines(given.folder / f"test_2016_flickr.{side}.gz") for side in ("de", "en"))
    print(f"{len(train[0])} pairs, {given.epochs} epochs, hidden {given.hidden}, one thread")
    model = SequenceToSequence(epochs=given.epochs, hidden=given.hidden, embedding=given.embedding, random_state=0,
                               validation_fraction=0.0, device=given.device)  # fmt: skip
    began = time.process_time()
    model.fit(*train)
    took = time.process_time() - began
    print(f"{'program':28} {'BLEU':>6} {'CPU s training':>15} {'CPU s answering':>16}")
    for beams in (5, 1):
        model.beams = beams
        model.step_ = model._made()
        began = time.process_time()
        said = model.predict(test)
        print(f"everymodel, {beams} {'beams' if beams > 1 else 'beam '}         {bleu(said, wanted):6.2f} {took:15.1f} "
              f"{time.process_time() - began:16.1f}", flush=True)  # fmt: skip
    began = time.process_time()
    said, took = plain(train, test, given.epochs, given.embedding, given.hidden)
    rest = time.process_time() - began - took
    print(f"{'plain loop, greedy':28} {bleu(said, wanted):6.2f} {took:15.1f} {rest:16.1f}")


if __name__ == "__main__":
    main()
