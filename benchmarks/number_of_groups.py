"""How often the number of groups is right: planted groups, and populations without any.

    python benchmarks/number_of_groups.py --rounds 10 --first 300 --noise 240

Planted: per round 24 sets of round groups in 2, 4, 8 and 16 columns, 2 to 9 groups of unequal size, 500 to 700 rows,
spread 0.6 to 2.2 in a box of side 20 (so that in few columns some overlap, and some coincide), once with equal spreads
and once with spreads that differ by up to 1.9 times. The index of Calinski and Harabasz over k-means with 2 to 12
groups is shown beside, as the yardstick of how hard the sets are. Noise: one population, uniform, Gaussian (also
correlated), t with 3 degrees of freedom, log-normal, exponential, in 1 to 16 columns and 100 to 2000 rows. All go
through the preparation that a run gives to its columns. Rounds 1 to 7, 100 to 102, 200 to 203, 400, 500 to 502, 600 to
604, 700, 900 to 902, 905 to 924, 1000 to 1016 and 1100 to 1109 have been looked at while the method was made; report
others.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from everymodel.preprocessing.skew import Unskewer
from everymodel.workflow.unsupervised import choice

KINDS = ("uniform", "gauss", "correlated", "t3", "lognormal", "exponential")


def planted(number: int, round_: int, differ: bool) -> tuple[np.ndarray, int]:
    """Rows (n, d) and the number of groups in them."""
    random = np.random.default_rng([round_, number])
    d, k = (2, 4, 8, 16)[number % 4], 2 + (number // 3) % 8
    spread = np.linspace(0.6, 2.2, 24)[(number * 7) % 24]
    weights = np.maximum(random.dirichlet(np.full(k, 5.0)), 0.35 / k)
    sizes = np.maximum((weights / weights.sum() * random.integers(500, 700)).astype(int), 15)
    centers = random.uniform(-10, 10, (k, d))
    spreads = spread * (random.uniform(0.7, 1.3, k) if differ else np.ones(k))
    rows = np.vstack([centers[j] + spreads[j] * random.standard_normal((m, d)) for j, m in enumerate(sizes)])
    return random.permutation(rows), k


def noise(number: int, round_: int) -> tuple[np.ndarray, str]:
    """Rows (n, d) of one population, and its kind."""
    random = np.random.default_rng([round_, number, 99])
    n, d, kind = (100, 300, 800, 2000)[number % 4], (1, 2, 4, 8, 16)[number // 4 % 5], KINDS[number // 20 % 6]
    normal = random.standard_normal((n, d))
    made = {
        "uniform": lambda: random.uniform(size=(n, d)),
        "gauss": lambda: normal,
        "correlated": lambda: normal @ random.standard_normal((d, d)),
        "t3": lambda: normal / np.sqrt(random.chisquare(3, (n, 1)) / 3),
        "lognormal": lambda: np.exp(0.8 * normal),
        "exponential": lambda: random.exponential(size=(n, d)),
    }
    return made[kind](), kind


def prepared(X: np.ndarray) -> np.ndarray:
    step = Unskewer().fit(X).step()
    X = X if step is None else step(X)
    return (X - X.mean(axis=0)) / X.std(axis=0)


def by_index(X: np.ndarray) -> int:
    from sklearn.cluster import KMeans
    from sklearn.metrics import calinski_harabasz_score

    scores = [calinski_harabasz_score(X, KMeans(k, n_init=4, random_state=0).fit_predict(X)) for k in range(2, 13)]
    return 2 + int(np.argmax(scores))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--first", type=int, default=300)
    parser.add_argument("--noise", type=int, default=120)
    args = parser.parse_args()
    started = time.process_time()
    for differ in (False, True):
        told = []
        for round_ in range(args.first, args.first + args.rounds):
            for number in range(24):
                X, k = planted(number, round_, differ)
                X = prepared(X)
                found = choice.choose(X)
                told.append((k, found.groups, by_index(X), found.low, found.high))
        k, groups, index, low, high = np.array(told).T
        for name, value in (("everymodel", groups), ("Calinski-Harabasz", index)):
            print(
                f"spreads {'differ' if differ else 'equal '}  {name:18s} {24 * np.mean(value == k):5.1f} of 24 right, "
                f"mean error {np.abs(value - k).mean():.2f}"
            )
        inside = np.mean((low <= k) & (k <= high))
        print(
            f"spreads {'differ' if differ else 'equal '}  interval covers {inside:.1%}, "
            f"{np.mean(high - low + 1):.2f} wide"
        )
    print(f"CPU seconds {time.process_time() - started:.0f} (both methods), {48 * args.rounds} sets", flush=True)
    started = time.process_time()
    right: dict[str, list[bool]] = {}
    for number in range(args.noise):
        X, kind = noise(number % 120, args.first + number // 120)
        right.setdefault(kind, []).append(choice.choose(prepared(X)).groups == 1)
    for kind, answers in right.items():
        print(f"one population, {kind:12s} said to be one: {np.mean(answers):6.1%} of {len(answers)}")
    print(f"CPU seconds {time.process_time() - started:.0f}")


if __name__ == "__main__":
    main()
