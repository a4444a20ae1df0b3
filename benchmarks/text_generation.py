"""Text from scratch: nats per character of held-out Shakespeare and of held-out names, beside tutorial programs.

    python benchmarks/text_generation.py --folder DATA/tinyshakespeare                      GPT for 3 and 10 minutes
    python benchmarks/text_generation.py --folder DATA/tinyshakespeare --programs lstm --minutes 10
    python benchmarks/text_generation.py --names DATA/names                                 names for 3 minutes

`input.txt`: its last tenth is the test part, which no choice sees; TextGenerator holds back a twentieth of the rest to
keep its best weights. `names.txt`: a tenth of the names, by chance (seed 0), is the test part.

The tutorial program is that of nanoGPT's README for a laptop: 4 blocks of 128 numbers and 4 heads, learnt places, a
context of 64, 12 windows a step, AdamW at 1e-3 falling along a cosine, no dropout; here it gets the same minutes as
ours rather than 2,000 steps. For names it is a table of pairs of letters, as makemore begins.

Two figures, for both programs alike: `windows`, the mean over windows of the context one after the other, as nanoGPT
counts (the first characters of a window are foretold from little); and `text`, the mean over all characters of the test
part, each foretold with at least half a context before it. The end of a name counts as a character.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from everymodel.models.generative.text_generator import TextGenerator


class Tutorial(nn.Module):
    """A GPT as tutorials write it."""

    def __init__(self, tokens: int, size: int = 128, depth: int = 4, heads: int = 4, context: int = 64):
        super().__init__()
        self.context = context
        self.table, self.places = nn.Embedding(tokens, size), nn.Embedding(context, size)
        shape = {"dim_feedforward": 4 * size, "dropout": 0.0, "activation": "gelu", "batch_first": True}
        layer = nn.TransformerEncoderLayer(size, heads, norm_first=True, **shape)
        self.blocks = nn.TransformerEncoder(layer, depth, nn.LayerNorm(size), enable_nested_tensor=False)
        self.head = nn.Linear(size, tokens, bias=False)
        self.apply(self._start)

    @staticmethod
    def _start(module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        t = ids.shape[1]
        x = self.table(ids) + self.places.weight[:t]
        mask = nn.Transformer.generate_square_subsequent_mask(t)
        return self.head(self.blocks(x, mask=mask, is_causal=True))


def tutorial(ids: np.ndarray, tokens: int, seconds: float, seed: int) -> tuple[Tutorial, int]:
    """(network, steps) after so many seconds."""
    torch.manual_seed(seed)
    net, rng = Tutorial(tokens), np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, betas=(0.9, 0.99), weight_decay=0.1)
    start, steps = time.monotonic(), 0
    while (done := (time.monotonic() - start) / seconds) < 1:
        for group in optimizer.param_groups:
            warm = min(1.0, (steps + 1) / 100)
            group["lr"] = warm * (1e-4 + 0.45e-3 * (1 + math.cos(math.pi * done)))
        places = rng.integers(0, len(ids) - net.context - 1, 12)[:, None] + np.arange(net.context + 1)
        batch = torch.from_numpy(ids[places].astype(np.int64))
        loss = F.cross_entropy(net(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        steps += 1
    return net.eval(), steps


@torch.no_grad()
def judged(net: nn.Module, ids: np.ndarray, context: int) -> tuple[float, float]:
    """(windows, text) nats of each id but the first."""
    told = []
    for step in (context, context // 2):
        total, count = 0.0, 0
        for low in range(0, len(ids) - 1, step):
            high = min(low + context, len(ids) - 1)
            new = 0 if low == 0 or step == context else context - step
            if high - low <= new:
                break
            scores = net(torch.from_numpy(ids[None, low:high].astype(np.int64)))[0, new:].float()
            wanted = torch.from_numpy(ids[low + 1 + new : high + 1].astype(np.int64))
            total += F.cross_entropy(scores, wanted, reduction="sum").item()
            count += len(wanted)
        told.append(total / count)
    return told[0], told[1]


def line(name: str, seed: int, wall: float, cpu: float, steps: int, **figures: float) -> None:
    shown = "  ".join(f"{k} {v:.4f}" for k, v in figures.items())
    print(f"{name:24} seed {seed}  {wall:6.0f} s  {cpu:6.0f} CPU s  {steps:6d} steps  {shown}", flush=True)


def shakespeare(folder: Path, programs: list[str], minutes: list[float], seeds: int, more: dict) -> None:
    text = (folder / "input.txt").read_text()
    cut = int(0.9 * len(text))
    train, test = text[:cut], text[cut:]
    for span in minutes:
        for program in programs:
            for seed in range(seeds):
                wall, cpu = time.monotonic(), time.process_time()
                if program == "tutorial":
                    letters = {c: i for i, c in enumerate(sorted(set(text)))}
                    ids, held = (np.array([letters[c] for c in part]) for part in (train, test))
                    net, steps = tutorial(ids, len(letters), 60 * span, seed)
                    context = net.context
                else:
                    model = TextGenerator(architecture=program, budget=60 * span, random_state=seed, **more).fit(train)
                    net, steps, context = model.net_, model.history_.steps, model.step_.context or 256
                    held = model.step_.letters.read(test)
                wall, cpu = time.monotonic() - wall, time.process_time() - cpu
                windows, whole = judged(net, held, context)
                line(f"{program} {span:g} min", seed, wall, cpu, steps, windows=windows, text=whole)
                if program != "tutorial":
                    told = model.evaluate(test, train=train, n=50)
                    kept = ("nats_per_character", "distinct_2", "distinct_2_real", "copied_usual", "copied_usual_real")
                    print("    " + "  ".join(f"{k} {told[k]:.3f}" for k in (*kept, "copied", "novelty")))
                    print("    " + " ".join(model.history_.notes))
                    print("    " + repr(model.sample(1, "ROMEO:", seed=0, length=200)[0]), flush=True)


def names(folder: Path, minutes: float, seeds: int, more: dict) -> None:
    every = (folder / "names.txt").read_text().split()
    order = np.random.default_rng(0).permutation(len(every))
    cut = len(every) // 10
    test, train = [every[i] for i in order[:cut]], [every[i] for i in order[cut:]]
    letters = {c: i for i, c in enumerate(["\n", *sorted(set("".join(every)))])}
    counts = np.ones((len(letters), len(letters)))
    for name in train:
        codes = [0, *(letters[c] for c in name), 0]
        np.add.at(counts, (codes[:-1], codes[1:]), 1)
    share = np.log(counts / counts.sum(axis=1, keepdims=True))
    pairs = [share[a, b] for name in test for a, b in zip([0, *map(letters.get, name)], [*map(letters.get, name), 0])]
    line("pairs of letters", 0, 0, 0, 0, text=-float(np.mean(pairs)))
    for seed in range(seeds):
        wall, cpu = time.monotonic(), time.process_time()
        model = TextGenerator(budget=60 * minutes, random_state=seed, **more).fit(train)
        wall, cpu = time.monotonic() - wall, time.process_time() - cpu
        told = model.evaluate(test, train=train, n=1000)
        line(f"names {minutes:g} min", seed, wall, cpu, model.history_.steps, text=told["nats_per_character"],
             novelty=told["novelty"])  # fmt: skip
        print("    " + ", ".join(model.sample(12, seed=0)), flush=True)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--folder", type=Path, help="holds input.txt")
    asked.add_argument("--names", type=Path, help="holds names.txt")
    asked.add_argument("--programs", nargs="+", default=["gpt", "tutorial"], choices=["gpt", "lstm", "tutorial"])
    asked.add_argument("--minutes", nargs="+", type=float, default=None, help="default 3 10; for names 3")
    asked.add_argument("--seeds", type=int, default=3)
    asked.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="of TextGenerator")
    given = asked.parse_args()
    more = {}
    for pair in given.set:
        name, _, value = pair.partition("=")
        more[name] = float(value) if "." in value else int(value) if value.lstrip("-").isdigit() else value
    threads = torch.get_num_threads()
    print(f"torch {torch.__version__}, {threads} threads, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    if given.folder:
        shakespeare(given.folder, given.programs, given.minutes or [3, 10], given.seeds, more)
    if given.names:
        names(given.names, (given.minutes or [3])[0], given.seeds, more)


if __name__ == "__main__":
    main()
