"""Music: nats per frame of held-out chorales, note by note, beside the usual program of 88 independent keys.

    python benchmarks/music.py --folder DATA/jsb_chorales --minutes 5 --seeds 0 1 2

`jsb-chorales-quarter.json`: Bach's chorales in quarter notes, split as Boulanger-Lewandowski et al. (2012) did: 229
pieces to learn from, 76 that choose the best weights, 77 for the test, which no choice sees. Both programs learn from
the same pieces, moved by up to six semitones, in the same seconds and on the same threads.

The plain program is a GRU of 256 numbers over frames with a sigmoid for each of 88 keys, as most tutorials write it
(Adam at 1e-3, windows of 64 frames, 32 a step, dropout 0.3). A frame's -log p is the sum over its keys; of ours the sum
over its notes and its end, so that both are likelihoods of the same frames and may be compared.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from everymodel.models.generative.music_generator import MusicGenerator
from everymodel.scoring.midi import as_piece

LOW, KEYS = 21, 88


class Plain(nn.Module):
    """Independent keys."""

    def __init__(self, width: int = 256):
        super().__init__()
        self.memory, self.drop = nn.GRU(KEYS, width, batch_first=True), nn.Dropout(0.3)
        self.head = nn.Linear(width, KEYS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        before = torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1]], dim=1)
        return self.head(self.drop(self.memory(before)[0]))


def roll(piece: list[list[int]]) -> torch.Tensor:
    """(T, 88)"""
    return torch.from_numpy(as_piece(piece).roll(LOW, LOW + KEYS - 1).astype(np.float32))


@torch.no_grad()
def nats(net: Plain, rolls: list[torch.Tensor]) -> float:
    """-log p by frame."""
    net.eval()
    lost = [F.binary_cross_entropy_with_logits(net(r[None])[0], r, reduction="sum").item() for r in rolls]
    net.train()
    return sum(lost) / sum(map(len, rolls))


def plain(data: dict[str, list[list[list[int]]]], seconds: float, seed: int, length: int = 64) -> tuple[float, int]:
    """(nats per frame of the test part at the best validated step, steps) after so many seconds."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    net = Plain()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    train, valid, test = ([roll(p) for p in data[part]] for part in ("train", "valid", "test"))
    shares = np.array([math.ceil(len(r) / length) for r in train], dtype=float)
    start, steps, best = time.monotonic(), 0, (math.inf, math.inf)
    while time.monotonic() - start < seconds:
        batch, known = torch.zeros(32, length, KEYS), torch.zeros(32, length, 1)
        for row, i in enumerate(rng.choice(len(train), 32, p=shares / shares.sum())):
            first = int(rng.integers(0, max(len(train[i]) - length, 0) + 1))
            part = train[i][first : first + length].roll(int(rng.integers(-6, 7)), dims=1)  # far from both ends
            batch[row, : len(part)], known[row, : len(part)] = part, 1.0
        loss = F.binary_cross_entropy_with_logits(net(batch), batch, known, reduction="sum") / known.sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        steps += 1
        if steps % 100 == 0:
            found = nats(net, valid)
            if found < best[0]:
                best = (found, nats(net, test))
    return (best[1] if best[1] < math.inf else nats(net, test)), steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="folder with jsb-chorales-quarter.json")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--steps", type=int, default=None, help="so many steps instead of minutes (no plain program)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--sample", type=Path, default=None, help="write a piece of the first seed to this .mid")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    data = json.loads((asked.folder / "jsb-chorales-quarter.json").read_text())
    print(f"{'program':<22} {'seed':>4} {'nats/frame':>10} {'steps':>6} {'wall s':>7} {'cpu s':>7}   of samples")
    found: dict[str, list[float]] = {}
    for seed in asked.seeds:
        wall, cpu = time.monotonic(), time.process_time()
        budget = None if asked.steps else f"{asked.minutes * 60:g}s"
        model = MusicGenerator(grid=1, steps=asked.steps, budget=budget, random_state=seed)
        model.fit(data["train"], valid=data["valid"])
        wall, cpu = time.monotonic() - wall, time.process_time() - cpu
        told = model.evaluate(data["test"], train=data["train"], seed=seed)
        words = ", ".join(f"{k} {v:.2f} ({told[k + '_real']:.2f})" for k, v in told.items() if k + "_real" in told)
        found.setdefault("note by note", []).append(told["nats_per_frame"])
        _line("MusicGenerator", seed, told["nats_per_frame"], model.history_.steps, wall, cpu, words)
        if asked.sample is not None and seed == asked.seeds[0]:
            model.sample(1, seed=0, temperature=0.9)[0].save(asked.sample)
        if asked.steps is None:
            wall, cpu = time.monotonic(), time.process_time()
            value, steps = plain(data, asked.minutes * 60, seed)
            found.setdefault("88 keys", []).append(value)
            _line("88 independent keys", seed, value, steps, time.monotonic() - wall, time.process_time() - cpu)
    for name, values in found.items():
        print(f"median, {name}: {np.median(values):.3f} nats per frame over {len(values)} seeds")


def _line(name: str, seed: int, value: float, steps: int, wall: float, cpu: float, words: str = "") -> None:
    print(f"{name:<22} {seed:>4} {value:>10.3f} {steps:>6} {wall:>7.0f} {cpu:>7.0f}   {words}", flush=True)


if __name__ == "__main__":
    main()
