"""Trees answer exactly like a plain loop over nodes, whatever they are made of."""

from __future__ import annotations

import numpy as np
import pytest

from everymodel.core.errors import EverymodelError, ModelFileError
from everymodel.scoring import walk
from everymodel.scoring.steps.trees import Oblivious, Trees


def grow(rng, leaves, n_features, categorical, cuts, marks, w=1, unbalanced=False):
    """A random tree as a mapping for Trees.of, nodes in random growth order."""
    left, right, feature, threshold, missing, categories = [-1], [-1], [-1], [0.0], [0], {}
    ends = [0]
    while len(ends) < leaves:
        node = ends.pop(-1 if unbalanced else int(rng.integers(len(ends))))
        f = int(rng.integers(n_features))
        feature[node] = f
        if f in categorical:
            categories[node] = rng.choice(12, size=int(rng.integers(0, 6)), replace=False)
            missing[node] = int(rng.integers(2))
        else:
            threshold[node] = float(rng.choice(cuts))
            missing[node] = int(rng.choice(marks[f]))
        for child in (left, right):
            child[node] = len(left)
            for array, value in ((left, -1), (right, -1), (feature, -1), (threshold, 0.0), (missing, 0)):
                array.append(value)
        ends += [left[node], right[node]]
    values = rng.normal(size=(len(left), w))
    return {
        "left": left,
        "right": right,
        "feature": feature,
        "threshold": threshold,
        "missing": missing,
        "categories": categories,
        "value": values[:, 0] if w == 1 else values,
    }


def plain_leaf(tree, row, strict):
    """The value of the leaf, by the rules as they are written in the class."""
    node = 0
    while tree["left"][node] >= 0:
        x, mark = row[tree["feature"][node]], tree["missing"][node]
        if node in tree["categories"]:
            left = mark & 1 == 1 if x != x or x <= -1 else int(x) in set(tree["categories"][node].tolist())
        elif (x != x and mark != 2) or (mark >= 4 and abs(x) <= 1e-35):
            left = mark & 1 == 1
        else:
            x = 0.0 if x != x else x
            left = x < tree["threshold"][node] if strict else x <= tree["threshold"][node]
        node = tree["left" if left else "right"][node]
    return tree["value"][node]


def make_rows(rng, n, n_features, categorical, cuts):
    x = rng.normal(size=(n, n_features))
    x[rng.random(x.shape) < 0.3] = rng.choice(cuts)  # exactly on a threshold
    x[rng.random(x.shape) < 0.2] = np.nan
    x[rng.random(x.shape) < 0.1] = 0.0
    x[rng.random(x.shape) < 0.03] = np.inf
    x[rng.random(x.shape) < 0.03] = -np.inf
    for f in categorical:
        x[:, f] = rng.integers(-2, 15, size=n)
        x[rng.random(n) < 0.2, f] = np.nan
    return x


CASES = [
    # leaves, trees, outputs, groups, w, strict, x_type, value_type, marks, categorical, unbalanced
    (8, 20, 1, True, 1, False, "float64", "float64", (0,), (), False),
    (31, 30, 1, True, 1, False, "float64", "float64", (0, 1), (2,), False),
    (64, 7, 3, True, 1, False, "float64", "float64", (2,), (), True),
    (32, 12, 3, False, 3, False, "float32", "float64", (0, 1), (), False),
    (20, 12, 1, True, 1, True, "float32", "float32", (0, 1), (), False),
    (20, 9, 1, True, 1, False, "float64", "float64", (4, 5), (0, 3), False),
    (300, 9, 1, True, 1, False, "float64", "float64", (0, 1), (1,), False),
    (300, 9, 4, False, 4, False, "float32", "float64", (0,), (), True),
    (300, 8, 2, True, 1, True, "float32", "float32", (1,), (), True),
    (200, 5, 1, True, 1, False, "float64", "float64", (2,), (), False),
    (200, 5, 1, True, 1, False, "float64", "float64", (4, 5, 0), (), False),
    (65, 9, 1, True, 1, False, "float64", "float64", (0, 1), (1,), False),
    (129, 7, 3, True, 1, False, "float64", "float64", (2,), (), True),
    (256, 9, 2, False, 2, True, "float32", "float64", (0, 1), (2,), False),
    (1, 3, 1, True, 1, False, "float64", "float64", (0,), (), False),
]


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c[0]}leaves-{c[2]}out-{c[6]}-marks{c[8]}")
@pytest.mark.parametrize("base", [False, True])
def test_trees_equal_a_plain_loop_bit_for_bit(case, base):
    leaves, count, outputs, grouped, w, strict, x_type, value_type, marks, categorical, unbalanced = case
    rng = np.random.default_rng(leaves * 100 + count)
    p = 6
    cuts = rng.normal(size=9).astype(x_type).astype(np.float64)
    cuts = np.append(cuts, [0.0, 1e-35])
    by_feature = dict.fromkeys(range(p), marks)
    sizes = [max(1, leaves - int(rng.integers(leaves // 2 + 1))) for _ in range(count)]
    sizes[0] = leaves
    trees = [grow(rng, size, p, categorical, cuts, by_feature, w, unbalanced) for size in sizes]
    groups = [t % outputs for t in range(count)] if grouped else None
    if outputs == 3 and grouped:
        groups = [2, 0, 1, 1, 0, 2, 0][:count]  # no regular turn
    start = rng.normal(size=outputs).astype(value_type) if base else np.zeros(outputs, dtype=value_type)
    step = Trees.of(
        trees,
        p,
        outputs=outputs,
        groups=groups,
        base=start if base else None,
        x_type=x_type,
        value_type=value_type,
        comparison="<" if strict else "<=",
    )
    x = make_rows(rng, 700, p, categorical, cuts)
    rounded = x.astype(x_type).astype(np.float64)
    expected = np.empty((len(x), outputs), dtype=value_type)
    for i, row in enumerate(rounded.tolist()):
        total = start.copy()
        for t, tree in enumerate(trees):
            value = np.asarray(plain_leaf(tree, row, strict)).astype(value_type)
            if grouped:
                total[groups[t]] += value
            else:
                total += value
        expected[i] = total
    expected = expected[:, 0] if outputs == 1 else expected
    for engine in ("masks", "walker"):
        made = walk.Engine(step)
        if engine == "walker":
            made.masks, made.walker = None, walk._Walker(made.shape, step)
        elif made.masks is None:
            continue
        object.__setattr__(step, "_made", made)
        for n in (700, 600, 40, 3, 2, 1, 0):
            assert np.array_equal(step.sums(x[:n]), expected[:n]), (engine, n)
        singles = np.concatenate([step.sums(x[i : i + 1]) for i in range(60)])
        assert np.array_equal(singles, expected[:60]), engine


def test_masks_are_used_where_they_should_be():
    rng = np.random.default_rng(0)
    small = Trees.of([grow(rng, 31, 4, (), [0.5], dict.fromkeys(range(4), (0,)))], 4)
    large = Trees.of([grow(rng, 257, 4, (), [0.5], dict.fromkeys(range(4), (0,)))], 4)
    assert small._engine().masks is not None
    assert large._engine().masks is None


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("depths", [(6, 6, 6), (0, 3, 9, 1), (17, 2), (0,)])
def test_oblivious_equals_a_plain_loop(outputs, depths):
    rng = np.random.default_rng(sum(depths) + outputs)
    p, questions = 5, sum(depths)
    step = Oblivious(
        depths=np.array(depths),
        feature=rng.integers(p, size=questions),
        border=rng.normal(size=questions).astype(np.float32),
        value=rng.normal(size=(sum(2**d for d in depths), outputs)),
        n_features=p,
        outputs=outputs,
        scale=0.7,
        bias=rng.normal(size=outputs),
        nan_true=np.array([0, 1, 0, 1, 0]),
    )
    step.check()
    x = make_rows(rng, 900, p, (), step.border.astype(float) if questions else np.zeros(1))
    expected = np.zeros((len(x), outputs))
    for i, row in enumerate(x.astype(np.float32)):
        at = question = 0
        for depth in depths:
            leaf = 0
            for d in range(depth):
                f = step.feature[question]
                yes = bool(step.nan_true[f]) if np.isnan(row[f]) else row[f] > step.border[question]
                leaf |= int(yes) << d
                question += 1
            expected[i] += step.value[at + leaf]
            at += 2**depth
    expected = expected * 0.7 + step.bias
    expected = expected[:, 0] if outputs == 1 else expected
    assert np.array_equal(step.sums(x), expected)
    assert np.array_equal(np.concatenate([step.sums(x[i : i + 1]) for i in range(30)]), expected[:30])
    engine = step._engine()
    block = np.where(np.isnan(x) & (step.nan_true == 1), np.inf, x).astype(np.float32)
    raw = engine._many(block) * 0.7 + step.bias
    assert np.array_equal(raw[:, 0] if outputs == 1 else raw, expected)


def simple():
    rng = np.random.default_rng(3)
    return Trees.of([grow(rng, 9, 4, (3,), [0.1, 0.4], dict.fromkeys(range(4), (0, 1))) for _ in range(4)], 4)


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("right", lambda a: a + 1),
        ("right", lambda a: a - 1),
        ("right", lambda a: np.full_like(a, 2)),
        ("right", lambda a: np.full_like(a, 10**6)),
        ("right", lambda a: -a),
        ("feature", lambda a: a + 4),
        ("feature", lambda a: np.full_like(a, -1)),
        ("feature", lambda a: a - 1),
        ("feature", lambda a: a.astype(float)),
        ("threshold", lambda a: a * np.nan),
        ("threshold", lambda a: a[:-1]),
        ("value", lambda a: a * np.inf),
        ("value", lambda a: a[:-1]),
        ("value", lambda a: a.ravel()),
        ("sizes", lambda a: a + 1),
        ("sizes", lambda a: a[::-1] * 0),
        ("sizes", lambda a: a - 2),
        ("category", lambda a: a + 1000),
        ("category", lambda a: a - 1),
        ("set_sizes", lambda a: a + 1),
        ("set_levels", lambda a: a - 100),
        ("missing", lambda a: a + 7),
        ("missing", lambda a: a[1:]),
    ],
)
def test_damaged_trees_are_refused(field, change):
    settings, arrays = simple().spec()
    arrays[field] = change(arrays[field])
    with pytest.raises(ModelFileError):
        Trees.build(settings, arrays)


def interleaved():
    """Left children follow their parents, yet the right part of the first left child lies after the root's."""
    return {
        "left": [1, 2, -1, -1, -1],
        "right": [3, 4, -1, -1, -1],
        "feature": [0, 1, -1, -1, -1],
        "threshold": [0.0, 0.0, 0.0, 0.0, 0.0],
        "value": [0.0, 0.0, 1.0, 2.0, 3.0],
        "missing": [0] * 5,
        "categories": {},
    }


def test_any_order_of_nodes_is_understood():
    tree = interleaved()
    x = np.random.default_rng(0).normal(size=(50, 2))
    expected = [plain_leaf(tree, row, False) for row in x.tolist()]
    assert Trees.of([tree, tree], 2, divide=2).sums(x).tolist() == expected


def test_nodes_out_of_preorder_are_refused():
    settings, arrays = Trees.of([interleaved()], 2).spec()
    assert arrays["feature"].tolist() == [0, 1, -1, -1, -1] and arrays["right"].tolist() == [4, 2]
    with pytest.raises(ModelFileError, match=r"preorder|form trees"):
        Trees.build(settings, {**arrays, "right": np.array([3, 3])})


def test_shared_parts_do_not_multiply_the_work():
    """Children i + 1 and i + 2: as a tree this would have Fibonacci-many nodes."""
    n = 60_000
    feature = np.zeros(n, dtype=int)
    feature[-2:] = -1
    arrays = {
        "sizes": np.array([n]),
        "feature": feature,
        "threshold": np.zeros(n - 2),
        "right": np.full(n - 2, 2),
        "value": np.zeros((2, 1)),
    }
    with pytest.raises(ModelFileError):
        Trees.build({"n_features": 1}, arrays)


def test_wrong_settings_are_refused():
    settings, arrays = simple().spec()
    for change in ({"link": "eval"}, {"outputs": 0}, {"n_features": -1}, {"x_type": "object"}, {"comparison": ">"}):
        with pytest.raises(EverymodelError):
            Trees.build({**settings, **change}, arrays)


def test_a_tree_too_deep_is_refused_quickly():
    n = 50_000  # a chain: every right child is a leaf
    sizes = np.array([2 * n + 1])
    feature = np.concatenate([np.zeros(n, dtype=int), -np.ones(n + 1, dtype=int)])  # preorder of a left chain
    right = 2 * n - 2 * np.arange(n)
    with pytest.raises(ModelFileError, match="deeper"):
        Trees.build(
            {"n_features": 1},
            {
                "sizes": sizes,
                "feature": feature,
                "threshold": np.zeros(n),
                "right": right,
                "value": np.zeros((n + 1, 1)),
            },
        )


def test_round_trip_through_spec():
    step = simple()
    settings, arrays = step.spec()
    again = Trees.build(settings, arrays)
    x = np.random.default_rng(1).normal(size=(50, 4))
    assert np.array_equal(step(x), again(x))


def test_links_and_places():
    rng = np.random.default_rng(0)
    marks = dict.fromkeys(range(2), (0,))
    step = Trees.of(
        [grow(rng, 4, 2, (), [0.0, 0.5], marks) for _ in range(4)],
        2,
        outputs=2,
        groups=[0, 1, 0, 1],
        link="softmax",
        gives="probabilities",
        places=np.array([2, 0]),
        classes=4,
    )
    answer = step(rng.normal(size=(5, 2)))
    assert answer.shape == (5, 4)
    assert (answer[:, [1, 3]] == 0).all()
    assert np.allclose(answer.sum(axis=1), 1)
    assert step.output == "probabilities"
