"""How many groups there are, from one up: modes of the best of many Gaussian mixtures, and whether they are real.

No single index answers this well, and most of them cannot say "one". Here mixtures of 1 to `MOST` Gaussians of four
shapes are fitted; the Bayesian information criterion (Fraley and Raftery 2002) chooses among them; components between
which the density has no valley are joined (Hennig 2010), so that a skewed or heavy-tailed population stays one group,
unless the rows are spread around each centre just as its Gaussian says (`faithful`): then each component is a group;
a valley counts only where chance does not make one as deep; and a number of groups that are no Gaussians must be one
that k-means, which knows nothing of densities, can find again in halves of the rows, or else gives way to one that it
finds (`disputed`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import lgamma
from typing import Any

import numpy as np

from everymodel.core.seeds import derive

MOST = 20  # components tried
ROWS = 2000  # sampled rows: more of them would make the criterion split hairs, and not the answer better
COLUMNS = 16  # directions kept
SHAPES = ("equal", "sized", "stretched", "tilted")
STEPS = 21  # points between two centres at which the density is looked at
PATIENCE = 3  # numbers of components without a better mixture after which no more are tried
DEPTH = 0.9  # a density that falls to less than this share between two centres makes them two groups
SMALLEST = 0.02  # share of the rows below which a mode is not called a group
CHANCE, SURE = 15.0, 40.0  # evidence that noise of any kind tried reaches, and that none reaches
DRAWS = 3  # populations of one group of each kind that evidence between the two is held against
FAINT = 6.0  # evidence from which on categories are held against the same ones, shuffled
SLIGHT = 1.05  # width of a gap that is looked at where groups are there anyway
EMPTY = 1.8  # width of a gap that noise of no kind tried reaches (its largest: 1.6)
WIDER = 3.0  # times as wide as the groups whose centres it covers, a component is a background and no group
WEAKER = 0.2  # by so much worse found again, a number gives way to one that indices of compactness agree on
WORTHLESS = 0.3  # worth of a number by density below which several of its groups, or all but two, may be joined
ROUND, PIECES = 0.88, 0.6  # agreement with k-means from which on groups by density stand; below which they are pieces
FAITHFUL, UNTIED = 1.2, 3.0  # how far rows may be from Gaussians, see `faithful` (planted ones: 98 % are nearer)
ASIDE = 1.5  # widths of a group from its centre; another nearer than that is its tails (planted: 1.9 and more)
HALVES = 6  # times that rows are halved for that
NEAR = 20.0  # difference of the criterion up to which a mixture stays plausible (10 is "very strong": Kass and Raftery)


@dataclass
class Choice:
    """How many groups, and the plausible numbers around it."""

    groups: int
    low: int
    high: int
    evidence: float  # depth of the deepest valley, times the root of the rows that it cuts off
    needed: float  # evidence that one group alone reaches by chance
    rows: np.ndarray  # (m,) the rows looked at
    labels: np.ndarray  # (m,) the groups found among them, by mode; -1 for rows of none
    crossed: bool = False  # whether compactness and finding groups again have overruled the density
    complete: bool = True  # False where time ended the search for mixtures
    shaped: np.ndarray | None = None  # (m,) groups of any shape with empty space between them, where there are some
    width: float = 1.0  # of that space, see `gaps`
    curve: list[dict[str, Any]] = field(default_factory=list)  # per number of groups: indices, criterion
    votes: dict[str, int] = field(default_factory=dict)  # number of groups that each index prefers


@dataclass
class Mixture:
    """Gaussians that have been fitted: `precision` is (k, d), or for "tilted" ones (1, d, d)."""

    shape: str
    weights: np.ndarray  # (k,)
    means: np.ndarray  # (k, d)
    precision: np.ndarray
    memberships: np.ndarray  # (n, k)
    loglik: float
    bic: float  # lower is better

    @property
    def cost(self) -> float:
        """The criterion with the evidence of all k! orders of the components, which are as many modes; lower is better.

        The criterion approximates the integral around one mode of the likelihood alone, and so says too few groups
        where there are many.
        """
        return self.bic - 2.0 * lgamma(len(self.weights) + 1)

    def backgrounds(self) -> np.ndarray:
        """(k,) whether a component is noise that groups lie in: far wider than usual, over the centres of two."""
        k, d = self.means.shape
        if self.shape not in ("sized", "stretched") or k < 3:
            return np.zeros(k, bool)
        width = np.exp(-0.5 * np.log(self.precision).mean(axis=1))
        off = ((self.means[:, None] - self.means[None]) ** 2 * self.precision[:, None]).sum(axis=2) / d
        order = np.argsort(width)
        usual = width[order][np.searchsorted(np.cumsum(self.weights[order]), 0.5 * self.weights.sum())]
        covered = (width > WIDER * usual)[:, None] & (width <= WIDER * usual)[None] & (off < 4.0)
        if covered.any(axis=0).sum() < 2:
            return np.zeros(k, bool)  # the long tails of one group
        return covered.any(axis=1)

    def logs(self, X: np.ndarray) -> np.ndarray:
        """Log of weight times density, (n, k)."""
        return _logs(X, self.weights, self.means, self.precision)

    def valleys(self) -> np.ndarray:
        """(k, k): lowest density on the way between two centres over the lower of the densities at its ends.

        The way is the ridge line of Ray and Lindsay (2005), on which all modes of two Gaussians lie; the density is the
        whole mixture's. 1 means no valley.
        """
        k, d = self.means.shape
        out = np.ones((k, k))
        first, second = np.triu_indices(k, 1)
        if not len(first):
            return out
        a = np.linspace(0.0, 1.0, STEPS)[:, None, None]  # (s, 1, 1)
        if self.shape == "tilted":
            ways = (1 - a) * self.means[first] + a * self.means[second]  # (s, pairs, d)
        else:
            one, two = (1 - a) * self.precision[first], a * self.precision[second]
            ways = (one * self.means[first] + two * self.means[second]) / (one + two)
        logs = self.logs(ways.reshape(-1, d))
        top = logs.max(axis=1)
        density = (top + np.log(np.exp(logs - top[:, None]).sum(axis=1))).reshape(STEPS, -1)
        half = STEPS // 2 + 1  # a mode of its own may lie a little off the centre
        ends = np.minimum(density[:half].max(axis=0), density[half - 1 :].max(axis=0))
        out[first, second] = out[second, first] = np.exp(np.minimum(density.min(axis=0) - ends, 0.0))
        return out


def _logs(X: np.ndarray, weights: np.ndarray, means: np.ndarray, precision: np.ndarray) -> np.ndarray:
    d = X.shape[1]
    if precision.ndim == 3:
        root = precision[0]
        Z, M = X @ root, means @ root
        squares = (Z * Z).sum(axis=1)[:, None] - 2.0 * Z @ M.T + (M * M).sum(axis=1)
        log_det = 2.0 * np.log(np.abs(np.diag(root))).sum()
    else:
        squares = (X * X) @ precision.T - 2.0 * X @ (means * precision).T + (means * means * precision).sum(axis=1)
        log_det = np.log(precision).sum(axis=1)
    return np.log(weights) - 0.5 * (np.maximum(squares, 0.0) - log_det + d * np.log(2.0 * np.pi))


def expect(X: np.ndarray, members: np.ndarray, shape: str, rounds: int = 100, floor: float = 1e-3) -> Mixture | None:
    """EM from memberships (n, k); None where it fails. Variances stay above `floor` (of data with variance near 1)."""
    n, d = X.shape
    squares, before = X * X, -np.inf
    k = members.shape[1]
    for _ in range(rounds):
        mass = members.sum(axis=0) + 1e-9
        means = (members.T @ X) / mass[:, None]  # (k, d)
        if shape == "tilted":
            scatter = (X.T @ X - (means * mass[:, None]).T @ means) / n
            scatter[np.diag_indices(d)] += floor * 0.1
            try:
                lower = np.linalg.cholesky(scatter)
            except np.linalg.LinAlgError:
                return None
            precision = np.linalg.inv(lower).T[None]  # (1, d, d): rows times it are white
        else:
            own = np.maximum((members.T @ squares) / mass[:, None] - means * means, 1e-9)
            precision = 1.0 / _variances(own, mass, shape, floor)
        logs = _logs(X, mass / n, means, precision)
        top = logs.max(axis=1)
        members = np.exp(logs - top[:, None])
        total = members.sum(axis=1)
        members /= total[:, None]
        now = float((top + np.log(total)).sum())
        if not np.isfinite(now):
            return None
        if now - before < 1e-4 * n:
            break
        before = now
    free = {"equal": d, "sized": k + d - 1, "stretched": k * d, "tilted": d * (d + 1) // 2}[shape] + k * d + k - 1
    return Mixture(shape, mass / n, means, precision, members, now, free * np.log(n) - 2.0 * now)


def _variances(own: np.ndarray, mass: np.ndarray, shape: str, floor: float) -> np.ndarray:
    """(k, d) variances of the shape from each component's own (k, d)."""
    if shape == "stretched":
        return np.maximum(own, floor)
    together = mass @ own / mass.sum()
    if shape == "equal":
        return np.repeat(np.maximum(together, floor)[None], len(own), axis=0)
    profile = together / np.exp(np.log(together).mean())
    size = np.ones(len(own))
    for _ in range(3):
        size = np.maximum((own / profile).mean(axis=1), floor)
        profile = mass @ (own / size[:, None])
        profile /= np.exp(np.log(profile).mean())
    return np.maximum(size[:, None] * profile, floor)


def mixtures(
    X: np.ndarray,
    most: int = MOST,
    seed: int = 0,
    shapes: tuple[str, ...] = SHAPES,
    starts: int = 8,
    stop: Callable[[], bool] | None = None,
    cuts: dict[int, tuple[float, np.ndarray]] | None = None,
) -> list[Mixture]:
    """The best mixture of each shape and each number of components, from k-means starts.

    `cuts`, where given, takes for each number the best of these starts: its spread inside groups, and its labels.
    """
    from sklearn.cluster import KMeans

    found: list[Mixture] = []
    for k in range(1, min(most, len(X) // 5) + 1):
        if found and ((stop and stop()) or k - len(min(found, key=lambda m: m.bic).weights) > PATIENCE):
            break
        firsts = [
            KMeans(k, n_init=1, random_state=derive(seed, "start", k, i)).fit(X) for i in range(1 if k == 1 else starts)
        ]
        firsts.sort(key=lambda m: m.inertia_)
        if cuts is not None:
            cuts[k] = float(firsts[0].inertia_ or 0.0), np.asarray(firsts[0].labels_)
        differ = [
            firsts[0],
            *[m for m in firsts[1:] if float(m.inertia_ or 0) > 1.001 * float(firsts[0].inertia_ or 0)][:2],
        ]
        for shape in shapes:
            if k == 1 and shape in ("sized", "stretched"):
                continue  # the same as "equal"
            tried = [expect(X, np.eye(k)[m.labels_], shape) for m in (differ if shape in SHAPES[:2] else differ[:1])]
            tried = [m for m in tried if m is not None]
            if tried:
                found.append(max(tried, key=lambda m: m.loglik))
    return found


def joined(mixture: Mixture, depth: float = DEPTH, smallest: float = SMALLEST) -> np.ndarray:
    """(k,) number of the mode that each component belongs to, -1 for backgrounds and what is too small for a group.

    Components are joined while the density between them falls to no less than `depth` of the lower end.
    """
    valleys, apart = mixture.valleys(), mixture.backgrounds()
    valleys[apart], valleys[:, apart] = 0.0, 0.0
    parent = np.arange(len(valleys))
    for i, j in zip(*np.nonzero(np.triu(valleys >= depth, 1))):
        parent[parent == parent[j]] = parent[i]
    names, codes = np.unique(parent, return_inverse=True)
    share = np.bincount(codes, weights=mixture.weights, minlength=len(names))
    keep = share >= smallest
    keep[codes[apart]] = False
    if not keep.any():
        keep = share == share.max()
    return np.where(keep, np.cumsum(keep) - 1, -1)[codes]


def faithful(mixture: Mixture, X: np.ndarray) -> bool:
    """Whether rows (n, d) are spread around each centre as the mixture of round Gaussians says.

    No centre may lie within another group. Three things that groups of other forms betray are looked at over all pairs
    of a row and a component, weighted by membership: distances from the centre (chi-square) and places along each axis
    (normal), both by the largest gap between the distribution and the expected one times the root of n (Kolmogorov and
    Smirnov), and correlations of the axes within components, whose squares are standardised.
    """
    from scipy.special import gammainc, ndtr

    n, d = X.shape
    if mixture.shape not in ("equal", "sized") or mixture.weights.min() < SMALLEST or mixture.backgrounds().any():
        return False
    apart = ((mixture.means[:, None] - mixture.means) ** 2 * mixture.precision).sum(axis=2)  # (k, k), in the second's
    if (apart + np.diag(np.full(len(apart), np.inf)) < ASIDE**2).any():
        return False
    members = mixture.memberships
    off = (X[:, None] - mixture.means) * np.sqrt(mixture.precision)  # (n, k, d), standard normal where faithful

    def gap(expected: np.ndarray) -> float:
        order = np.argsort(expected, axis=None)
        return float(np.sqrt(n) * np.abs(np.cumsum(members.ravel()[order]) / n - expected.ravel()[order]).max())

    if gap(gammainc(d / 2, 0.5 * (off * off).sum(axis=2))) > FAITHFUL:
        return False
    if any(gap(ndtr(off[:, :, j])) > FAITHFUL for j in range(d)):
        return False
    ties = np.einsum("nk,nki,nkj->kij", members, off, off, optimize=True)[:, *np.triu_indices(d, 1)]
    squares = ties**2 / members.sum(axis=0)[:, None]
    return not squares.size or float(squares.sum() - squares.size) <= UNTIED * np.sqrt(2.0 * squares.size)


def evidence(mixture: Mixture) -> float:
    """How sure the surest division of the rows into two sides is: log depth of the valley times root of rows cut off.

    Components join in the order of their valleys, shallowest first; each junction is a division, by its valley and its
    smaller side. A depth beyond exp(-4) counts as that: a few far-off rows are no group, however far.
    """
    valleys, weights, n = mixture.valleys(), mixture.weights.copy(), len(mixture.memberships)
    parent, most = np.arange(len(weights)), 0.0
    pairs = np.transpose(np.triu_indices(len(weights), 1))
    for i, j in pairs[np.argsort(-valleys[pairs[:, 0], pairs[:, 1]], kind="stable")]:
        one, two = parent[i], parent[j]
        if one == two:
            continue
        cut_off = min(weights[one], weights[two])
        if cut_off >= SMALLEST:
            most = max(most, min(4.0, -float(np.log(max(valleys[i, j], 1e-9)))) * float(np.sqrt(n * cut_off)))
        weights[one] += weights[two]
        parent[parent == two] = one
    return most


def choose(
    X: np.ndarray,
    *,
    seed: int = 0,
    most: int = MOST,
    stop: Callable[[], bool] | None = None,
    origins: Any = None,
    most_rows: int = ROWS,
) -> Choice:
    """The number of groups among rows (n, p) of balanced columns, from 1 up.

    Parameters
    ----------
    origins : (p,) the table's column behind each; columns of one origin are levels of a category.
    stop : asked between fits; when it says True, what has been found so far decides.
    """
    from sklearn.metrics import adjusted_rand_score

    rows = sample(len(X), most_rows, seed)
    Z = reduced(blurred(X[rows], origins, seed))
    if not Z.shape[1] or len(Z) < 10:  # nothing differs, or too few rows for anything but chance
        return Choice(1, 1, max(1, min(len(Z) // 2, 2)), 0.0, CHANCE, rows, np.zeros(len(rows), int))
    cuts: dict[int, tuple[float, np.ndarray]] = {}
    found = mixtures(Z, most, seed, stop=stop, cuts=cuts)
    complete = not (stop and stop())
    strict = min(found, key=lambda m: m.bic)
    sure, needed = evidence(strict), CHANCE
    if len(strict.weights) > 1 and CHANCE <= sure < SURE:
        needed = max(needed, _by_chance(Z, sure, seed, stop))
    elif FAINT <= sure < CHANCE and complete and _categories(X):
        needed = max(FAINT, _unrelated(X[rows], origins, sure, seed))
    best = min(found, key=lambda m: m.cost)
    modes = joined(best)
    exact = sure >= needed and modes.max() > 0 and faithful(best, Z)
    if exact:
        modes = np.arange(len(best.weights))  # overlapping groups have no valley between them
    groups = int(modes.max()) + 1 if sure >= needed else 1
    low, high = _plausible(found, best, groups)
    labels = modes[best.memberships.argmax(axis=1)] if groups > 1 else np.zeros(len(Z), int)
    shaped, width = gaps(Z, seed)
    crossed = False
    if groups == 1 and width >= EMPTY:  # such as rings, around one centre
        groups = low = int(shaped.max()) + 1
        labels, high = shaped, max(high, groups)
    elif groups > 1 and complete:
        preferred = _compact(Z, cuts)
        if groups < preferred <= high and not (labels < 0).any():
            groups, labels = preferred, cuts[preferred][1]
        elif 1 < preferred < groups and not exact and disputed(Z, labels, cuts, preferred, groups, seed):
            if (
                adjusted_rand_score(labels, cuts[groups][1]) < PIECES
            ):  # the density shows pieces only: how many is no bound
                high = max(preferred, int(joined(best, 0.5).max()) + 1)
            groups, low, labels, crossed = preferred, preferred, cuts[preferred][1], True
    clear = EMPTY
    if groups > 1 and not crossed and complete and adjusted_rand_score(labels, cuts[groups][1]) < 0.8:
        clear = SLIGHT  # not round: perhaps pieces of bent groups
    gap = shaped if width >= clear else None
    return Choice(groups, low, high, sure, needed, rows, labels, crossed, complete, gap, width)


def _plausible(found: list[Mixture], best: Mixture, groups: int) -> tuple[int, int]:
    """Numbers of groups by mixtures that are hardly worse, and by a stricter and a milder idea of what a valley is."""
    near = [m for m in found if m.cost <= best.cost + NEAR]
    counts = [groups] + [int(joined(m, depth).max()) + 1 for m in near for depth in (DEPTH, 0.99)]
    return (1 if groups == 1 else min(counts)), max(counts)


def _compact(Z: np.ndarray, cuts: dict[int, tuple[float, np.ndarray]]) -> int:
    """The number that the index of Calinski and Harabasz prefers among the k-means cuts; 0 where it is the last."""
    total = cuts[1][0]
    index = {k: (total / max(w, 1e-12) - 1.0) * (len(Z) - k) / (k - 1) for k, (w, _) in cuts.items() if k > 1}
    top = max(index, key=lambda k: index[k], default=0)
    return 0 if top == max(cuts) else top


def disputed(
    Z: np.ndarray,
    labels: np.ndarray,
    cuts: dict[int, tuple[float, np.ndarray]],
    preferred: int,
    groups: int,
    seed: int = 0,
) -> bool:
    """Whether `preferred`, compact groups, are clearly more real than the more `groups` by density.

    The silhouette must prefer the same number. A number by density is worth the product of two agreements: of its
    groups with those of k-means of that number, and of k-means on one half of the rows with k-means on the other.
    """
    from sklearn.metrics import adjusted_rand_score, silhouette_score

    at = sample(len(Z), 1000, seed)
    widths = {k: silhouette_score(Z[at], cut[at]) for k, (_, cut) in cuts.items() if 1 < len(np.unique(cut[at])) < 1000}
    if max(widths, key=lambda k: widths[k]) != preferred:
        return False
    worth = float(adjusted_rand_score(labels, cuts[groups][1]))
    if worth >= ROUND:
        return False
    worth *= _again(Z, groups, seed)
    # Two halves of anything are found again, and joining several groups at once must be very clear.
    if (preferred == 2 or preferred < groups - 1) and worth > WORTHLESS:
        return False
    return worth < _again(Z, preferred, seed) - WEAKER


def _again(Z: np.ndarray, k: int, seed: int) -> float:
    """Agreement between what k-means makes of one half of the rows and of the other, on all rows."""
    from sklearn.cluster import KMeans
    from sklearn.metrics import adjusted_rand_score

    agreed = []
    for draw in range(HALVES):
        order = np.random.default_rng(derive(seed, "halves", draw)).permutation(len(Z))
        halves = order[: len(Z) // 2], order[len(Z) // 2 :]
        if min(map(len, halves)) < k:
            return 0.0
        one, two = (KMeans(k, n_init=2, random_state=derive(seed, "half", draw)).fit(Z[half]) for half in halves)
        agreed.append(adjusted_rand_score(one.predict(Z), two.predict(Z)))
    return float(np.mean(agreed))


def _categories(X: np.ndarray) -> bool:
    """Whether every column is a level of a category, or of two values."""
    return all(len(np.unique(x)) <= 2 for x in X[:ROWS].T)


def _unrelated(X: np.ndarray, origins: Any, sure: float, seed: int) -> float:
    """The evidence that columns with the same levels show where nothing ties them: groups of categories are ties."""
    names = np.asarray(origins if origins is not None else range(X.shape[1]))
    most = 0.0
    for draw in range(2 * DRAWS):
        random, made = np.random.default_rng(derive(seed, "unrelated", draw)), X.copy()
        for name in np.unique(names):
            made[:, names == name] = X[random.permutation(len(X))][:, names == name]
        Z = reduced(blurred(made, origins, derive(seed, draw)))
        found = mixtures(Z, 6, derive(seed, draw), ("equal", "tilted"), starts=2)
        most = max(most, 1.3 * evidence(min(found, key=lambda m: m.bic)))
        if most >= sure:
            break
    return most


def curve(Z: np.ndarray, choice: Choice, most: int = 12, seed: int = 0, stop: Callable[[], bool] | None = None) -> None:
    """Give the choice what other indices say of k-means with 1 to `most` groups, and the number each prefers.

    The gap compares the spread inside groups with that of uniform rows in the box of the axes (Tibshirani et al. 2001).
    """
    from sklearn.cluster import KMeans
    from sklearn.metrics import calinski_harabasz_score, davies_bouldin_score, silhouette_score

    at = sample(len(Z), 1000, seed)
    X = Z[at] - Z[at].mean(axis=0)
    _, _, axes = np.linalg.svd(X, full_matrices=False)
    X = X @ axes.T
    random = np.random.default_rng(derive(seed, "gap"))
    boxes = [random.uniform(X.min(axis=0), X.max(axis=0), X.shape) for _ in range(5)]
    for k in range(1, min(most, len(np.unique(X, axis=0)) - 1, len(X) // 2) + 1):
        if stop and stop():
            break
        spread = [
            np.log(max(KMeans(k, n_init=1, random_state=derive(seed, "gap", k)).fit(b).inertia_, 1e-12)) for b in boxes
        ]
        model = KMeans(k, n_init=3, random_state=derive(seed, "curve", k)).fit(X)
        told: dict[str, Any] = {"clusters": k, "gap": float(np.mean(spread) - np.log(max(model.inertia_, 1e-12)))}
        told["gap_error"] = float(np.std(spread) * np.sqrt(1 + 1 / len(boxes)))
        if k > 1:
            told["silhouette"] = float(silhouette_score(X, model.labels_))
            told["calinski_harabasz"] = float(calinski_harabasz_score(X, model.labels_))
            told["davies_bouldin"] = float(davies_bouldin_score(X, model.labels_))
        choice.curve.append(told)
    several = [t for t in choice.curve if t["clusters"] > 1]
    for name, sign in (("silhouette", 1), ("calinski_harabasz", 1), ("davies_bouldin", -1)):
        if several:
            choice.votes[name] = max(several, key=lambda t, name=name, sign=sign: sign * t[name])["clusters"]
    for one, two in zip(choice.curve, choice.curve[1:]):
        if one["gap"] >= two["gap"] - two["gap_error"]:
            choice.votes["gap"] = one["clusters"]
            break
    choice.votes["found again" if choice.crossed else "density"] = choice.groups
    for told in choice.curve:
        told["votes"] = sum(vote == told["clusters"] for vote in choice.votes.values())


@dataclass
class Choose:
    """The choice as a job for the fitting process."""

    seed: int = 0
    most: int = MOST
    most_rows: int = ROWS
    card: str = "kmeans"
    kind: str = "clusterer"
    threads: int = 1
    fit: Any = None  # not used here; the crew looks at them
    valid: Any = None

    def run(self, material: Any, stop: Callable[[], bool] | None = None) -> Choice:
        matrix = material.balanced
        found = choose(
            matrix.X, seed=self.seed, most=self.most, stop=stop, origins=matrix.origins, most_rows=self.most_rows
        )
        Z = reduced(matrix.X[found.rows])
        if Z.shape[1]:
            curve(Z, found, seed=self.seed, stop=stop)
        return found


def _by_chance(Z: np.ndarray, sure: float, seed: int, stop: Callable[[], bool] | None) -> float:
    """The evidence that a population of one group would show, were its columns spread and tied as these are."""
    most = 0.0
    for draw in range(DRAWS):
        for kind in (_copula, _elliptic):
            if (stop and stop()) or most >= sure:
                return most
            if Z.shape[1] == 1 and kind is _elliptic:
                continue  # two groups in one column are as elliptic as one
            random = np.random.default_rng(derive(seed, "reference", kind.__name__, draw))
            found = mixtures(kind(Z, random), seed=derive(seed, draw), starts=2, stop=stop)
            most = max(most, 1.1 * evidence(min(found, key=lambda m: m.bic)))
    return most


def _copula(Z: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Rows of one mode per column, with the columns' own skew and tails, tied as their ranks are."""
    n, d = Z.shape
    scores = _normal(np.argsort(np.argsort(Z, axis=0), axis=0) + 0.5, n)
    ties = np.corrcoef(scores, rowvar=False).reshape(d, d) + 1e-6 * np.eye(d)
    drawn = random.multivariate_normal(np.zeros(d), ties, size=n, method="svd")
    ranks = np.argsort(np.argsort(drawn, axis=0), axis=0)
    return np.take_along_axis(np.stack([np.sort(_one_mode(z, random)) for z in Z.T], axis=1), ranks, axis=0)


def _elliptic(Z: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Rows as far from the centre as these (by Mahalanobis), in directions drawn anew."""
    center = np.median(Z, axis=0)
    scatter = np.cov(Z, rowvar=False) + 1e-9 * np.eye(Z.shape[1])
    root = np.linalg.cholesky(scatter)
    far = np.linalg.norm(np.linalg.solve(root, (Z - center).T), axis=0)
    turned = random.standard_normal(Z.shape)
    turned *= (random.permutation(far) / np.linalg.norm(turned, axis=1))[:, None]
    return center + turned @ root.T


def _one_mode(z: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """n draws from the histogram with one mode that is nearest to the values (n,): monotone regression both ways."""
    from sklearn.isotonic import isotonic_regression

    counts, edges = np.histogram(z, bins=int(np.clip(2 * len(z) ** (1 / 3) * 2, 8, 60)))
    best, error = counts, np.inf
    for mode in range(len(counts)):
        up = isotonic_regression(counts[: mode + 1].astype(float))
        down = isotonic_regression(counts[mode:].astype(float), increasing=False)
        shape = np.concatenate([up[:-1], [max(up[-1], down[0])], down[1:]])
        off = float(((shape - counts) ** 2).sum())
        if off < error:
            best, error = shape, off
    at = random.choice(len(best), size=len(z), p=best / best.sum())
    return edges[at] + random.uniform(size=len(z)) * (edges[at + 1] - edges[at])


def _normal(ranks: np.ndarray, n: int) -> np.ndarray:
    from statistics import NormalDist

    quantiles = np.array([NormalDist().inv_cdf((i + 0.5) / n) for i in range(n)])
    return quantiles[ranks.astype(int)]


def gaps(Z: np.ndarray, seed: int = 0, most: int = 1000, neighbors: int = 6) -> tuple[np.ndarray, float]:
    """Groups of any shape with empty space between them: their labels (m,), 0 upwards, and how wide the space is.

    Rows are joined by the shortest tree, in distances no shorter than that to each row's `neighbors`-th neighbour (as
    in HDBSCAN, Campello et al. 2013). The tree is cut where the ratio of the cut's length to the long edges inside the
    groups (their 98th percentile) is largest; groups hold at least 5 % of the rows, and together 90 %.
    """
    from scipy.sparse.csgraph import connected_components, minimum_spanning_tree
    from scipy.spatial.distance import pdist, squareform

    at = sample(len(Z), most, seed)
    nothing = np.zeros(len(Z), int), 1.0
    if len(at) < 40:
        return nothing
    far = squareform(pdist(Z[at]))
    core = np.partition(far, neighbors, axis=1)[:, neighbors]
    tree = minimum_spanning_tree(np.maximum(np.maximum(far, core), core[:, None]) + 1e-12).tocoo()
    order = np.argsort(tree.data)
    best, widest = None, 1.0
    for last in range(len(order) - 1, max(len(order) - 30, len(order) // 2), -1):
        keep = order[:last]
        kept = type(tree)((tree.data[keep], (tree.row[keep], tree.col[keep])), shape=tree.shape)
        _, part = connected_components(kept, directed=False)
        sizes = np.bincount(part)
        large = sizes >= 0.05 * len(at)
        if large.sum() < 2 or sizes[large].sum() < 0.9 * len(at):
            continue
        width = float(tree.data[order[last]] / np.quantile(tree.data[keep], 0.98))
        if width > widest:
            best, widest = np.where(large, np.cumsum(large) - 1, -1)[part], width
    if best is None:
        return nothing
    seen = np.flatnonzero(best >= 0)
    if len(at) == len(Z):
        return best, widest
    from scipy.spatial import cKDTree

    return best[seen][cKDTree(Z[at][seen]).query(Z)[1]], widest


def sample(n: int, most: int, seed: int) -> np.ndarray:
    """Row numbers, in order: all, or `most` drawn without putting back."""
    if n <= most:
        return np.arange(n)
    return np.sort(np.random.default_rng(derive(seed, "sample", most)).choice(n, most, replace=False))


def blurred(X: np.ndarray, origins: Any, seed: int) -> np.ndarray:
    """The matrix with noise on columns of few values, so that the values of one column are no groups by themselves."""
    random = np.random.default_rng(derive(seed, "blur"))
    X = X.copy()
    names = list(origins) if origins is not None else list(range(X.shape[1]))
    for j in range(X.shape[1]):
        values = np.unique(X[: min(len(X), ROWS), j])
        if 1 < len(values) <= max(12, len(X) // 50) and len(values) <= 30:
            gap = float(np.median(np.diff(values)))
            levels = names.count(names[j]) > 1
            X[:, j] += (gap * (2.0**-0.5 if levels else 0.5)) * random.standard_normal(len(X))
    return X


def reduced(X: np.ndarray, most: int = COLUMNS) -> np.ndarray:
    """Centred rows on at most `most` principal axes, scaled as a whole to a mean variance of 1 per column."""
    X = X - X.mean(axis=0)
    X = X[:, X.std(axis=0) > 1e-9]
    if not X.shape[1]:
        return np.zeros((len(X), 0))
    if X.shape[1] > most:
        _, _, axes = np.linalg.svd(X, full_matrices=False)
        X = X @ axes[:most].T
    return X / np.sqrt(X.var(axis=0).mean())
