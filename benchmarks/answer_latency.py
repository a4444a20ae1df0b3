"""One row answered from the pack against scikit-learn's pipeline, and the first answer of a fresh process. An agent's
action stands against the same network in torch.

    OMP_NUM_THREADS=1 python benchmarks/answer_latency.py [WORD ...]     # only rows whose titles hold one of the words

Goals: a linear model within 0.1 ms, a 100-tree booster within 0.3 ms, the first answer within 0.3 s of process start.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from answer_models import MODELS, frame, median, ours, theirs

FIRST = """
import sys, json
from everymodel import scoring
model, row = scoring.load(sys.argv[1]), json.loads(sys.argv[2])
print(model.predict(row) if isinstance(row, dict) else model.act(row))
"""
AGENT = "PPO of CartPole, act"


def main() -> None:
    warnings.simplefilter("ignore")
    words = sys.argv[1:] or [""]
    chosen = [m for m in MODELS if any(w in m[0] for w in words)]
    print(f"{'model':26} {'read':>8} {'pack':>8} {'predict':>8} {'peer':>9} {'ratio':>7} {'first answer':>13}")
    print(f"{'':26} {'us':>8} {'us':>8} {'us':>8} {'us':>9} {'':>7} {'s wall':>13}")
    if chosen:
        rows(chosen)
    if any(w in AGENT for w in words):
        agent()


def rows(chosen: list[Any]) -> None:
    """Models of tables; the peer is scikit-learn's pipeline."""
    train = frame(4000)
    features = train.drop(columns="y")
    row = {k: (v if v == v else None) for k, v in features.iloc[0].to_dict().items()}
    one = features.iloc[:1]
    for title, card, parameters in chosen:
        model, peer = ours(train, card, parameters), theirs(train, card, parameters)
        batch, _ = model.read(row)
        read = median(lambda model=model: model.read(row), 500)
        pack = median(lambda model=model, batch=batch: model.answers(batch), 500)
        predict = median(lambda model=model: model.predict(row), 500)
        other = median(lambda peer=peer: peer.predict(one), 30)
        told(title, read, pack, predict, other, first(model, row))


def agent() -> None:
    """The action for one observation; the peer is the same network in torch, asked as its users ask it."""
    import torch

    import everymodel as em

    torch.set_num_threads(1)
    model: Any = em.wrap(em.PPO(steps=4096, random_state=0).fit("CartPole-v1", until=None), None)
    seen, step = [0.01, -0.02, 0.03, 0.04], model.step
    layers = [torch.nn.Linear(4, 64), torch.nn.Tanh(), torch.nn.Linear(64, 64), torch.nn.Tanh(), torch.nn.Linear(64, 2)]
    net = torch.nn.Sequential(*layers).eval()

    def peer() -> int:
        with torch.no_grad():
            return int(net(torch.tensor([seen])).argmax(dim=1))

    checked, _ = step.sees.batch(seen)
    rng = np.random.default_rng(0)
    read = median(lambda: step.sees.batch(seen), 500)
    pack = median(lambda: step.choose(checked, rng, 0.0), 500)
    told(AGENT, read, pack, median(lambda: model.act(seen), 500), median(peer, 500), first(model, seen))


def first(model: Any, row: Any) -> float:
    """Median wall seconds until a fresh process has answered."""
    took = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.em"
        model.save(path)
        for _ in range(5):
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", FIRST, str(path), json.dumps(row)], check=True, capture_output=True)
            took.append(time.perf_counter() - start)
    return sorted(took)[2]


def told(title: str, read: float, pack: float, predict: float, other: float, start: float) -> None:
    print(
        f"{title:26} {read * 1e6:8.0f} {pack * 1e6:8.0f} {predict * 1e6:8.0f} {other * 1e6:9.0f} "
        f"{other / predict:6.0f}x {start:13.2f}"
    )


if __name__ == "__main__":
    main()
