"""Levels: torch and numpy agree, every sample can be played where that is promised, files are safe."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from starlette.testclient import TestClient

from everymodel import LevelGenerator
from everymodel.core.errors import CapabilityError, DataError, ModelFileError, ParameterError
from everymodel.interfaces.server.app import make_app
from everymodel.models.generative.level_generator import LevelNet
from everymodel.scoring.images import pixels
from everymodel.scoring.model import open_bytes
from everymodel.scoring.steps.levels import Level, LevelMaker, coded, feature_sizes, views, way
from everymodel.testing.levels import tiny_levels
from everymodel.training.blocks.written import written
from everymodel.workflow.wrap import wrap

TILES = ("#", ".", "G", "S")


def maker(seed: int = 0, scale: float = 0.3, **more: object) -> tuple[LevelNet, LevelMaker]:
    """A network of random weights, and the step that shall answer as it does."""
    torch.manual_seed(seed)
    net = LevelNet(feature_sizes(4, 2, 3, 2), 4, 8, 0.1)
    with torch.no_grad():
        for weight in net.parameters():
            weight.normal_(0, scale)
    given = {"radius": 2, "edge": 3, "single": (2, 3), "passable": (1,), "start": 3, "goal": 2, **more}
    step = LevelMaker(written(net.body), net.table.detach().numpy().copy(), np.array([[5, 6]]), np.array([1]),
                      np.array([0.4, 0.5, 0.05, 0.05]), TILES, **given)  # fmt: skip
    step.check()
    return net.eval(), step


def test_torch_and_numpy_agree():
    net, step = maker()
    for level in tiny_levels(3):
        cells = coded(level, TILES)
        seen = torch.from_numpy(views(cells, 4, 2, 3, (2, 3)))
        with torch.no_grad():
            scores = torch.log_softmax(net(seen), dim=1).numpy()
        told = scores[np.arange(cells.size), cells.reshape(-1)].sum()
        assert step.likelihood(level) == pytest.approx(float(told), rel=1e-5)


def test_drawing_sees_what_learning_saw():
    _, step = maker()
    asked = {}
    plain = LevelMaker._scores

    def watched(self: LevelMaker, seen: np.ndarray) -> np.ndarray:
        asked.setdefault(len(asked), seen)
        return plain(self, seen)

    LevelMaker._scores = watched  # type: ignore[method-assign]
    try:
        level = step.sample(1, {"map": ["S?.", "??G", "#??"]}, seed=0, solvable=False)[0]
    finally:
        LevelMaker._scores = plain  # type: ignore[method-assign]
    drawn = np.concatenate([asked[i] for i in range(9)])
    assert np.array_equal(drawn, views(level.cells, 4, 2, 3, (2, 3)))


@pytest.mark.parametrize("scale", [0.0, 0.5, 3.0])
def test_every_sample_can_be_played(scale: float):
    """Whatever the network says, even if it never draws a start, a goal or a floor."""
    _, step = maker(1, scale)
    for condition in (None, {"width": 2, "height": 1}, {"width": 1, "height": 9}, {"start": (4, 5)},
                      {"map": ["??????", "######", "??????"]}, {"map": ["G#", "#?", "#?"]}):  # fmt: skip
        fixed = condition == {"map": ["??????", "######", "??????"]}
        for options in ({}, {"temperature": 0}, {"temperature": 5.0}):
            try:
                made = step.sample(8, condition, seed=0, **options)
            except ParameterError as error:
                assert fixed or condition == {"map": ["G#", "#?", "#?"]}, error
                continue
            for level in made:
                assert (level.cells == 3).sum() == 1 and (level.cells == 2).sum() == 1
                path = step.solution(level)
                assert path is not None and level.cells[path[0]] == 3 and level.cells[path[-1]] == 2
                assert all(abs(a - c) + abs(b - d) == 1 for (a, b), (c, d) in pairwise(path))
    with pytest.raises(ParameterError, match="no way"):
        step.sample(1, ["S#", "#G"], seed=0)
    assert step.sample(1, ["S#", "#G"], seed=0, solvable=False)[0].tolist() == ["S#", "#G"]


def test_ways_are_the_shortest_and_walls_are_dear():
    free = np.array([[1, 1, 1], [0, 0, 1], [1, 1, 1]], dtype=bool)
    goal = np.zeros((3, 3), dtype=bool)
    goal[2, 0] = True
    assert len(way(free, (0, 0), goal)) == 7
    assert len(way(free, (0, 0), goal, np.ones((3, 3)))) == 7, "around, since that opens nothing"
    free[1, 2] = False
    assert way(free, (0, 0), goal) is None
    assert len(way(free, (0, 0), goal, np.ones((3, 3)))) == 3, "straight through one wall"


def test_it_learns_mazes():
    levels = tiny_levels(40)
    settings = {"passable": ".", "start": "S", "goal": "G", "random_state": 0}
    model = LevelGenerator(**settings, width=48, steps=400).fit(levels)
    told = model.evaluate(tiny_levels(20, seed=1), train=levels)
    shares = model.step_.shares
    assert told["nats_per_tile"] < 0.5 * -(shares * np.log(shares)).sum(), told
    assert told["tiles"] > 0.95 and told["patterns"] > 0.6 and told["coverage"] > 0.8, told
    assert told["solvable"] > 0.5 and told["new"] > 0.5, told
    for level in model.sample(5, {"width": 17, "height": 12}, seed=0):
        border = np.concatenate([level.cells[0], level.cells[-1], level.cells[:, 0], level.cells[:, -1]])
        assert (border == 0).mean() > 0.9, "walls all around at another size"


def test_numbers_sizes_and_tiles_of_all_kinds():
    rng = np.random.default_rng(0)
    levels = [rng.integers(0, 3, (h, w)) for h, w in ((4, 6), (5, 5), (4, 6), (7, 3))]
    tiny = {"width": 8, "steps": 5, "batch_size": 16, "random_state": 0}
    model = LevelGenerator(**tiny).fit(levels)
    made = model.sample(30, seed=0)
    assert {level.shape for level in made} == {(4, 6), (5, 5), (7, 3)}
    assert made[0].toarray().dtype.kind == "i" and isinstance(made[0].tolist()[0], list)
    assert np.isfinite(model.score_samples(levels)).all()
    with pytest.raises(CapabilityError, match="Start and goal"):
        model.sample(1, solvable=True)
    with pytest.raises(CapabilityError, match="start"):
        model.sample(1, {"start": (0, 0)})
    roles = LevelGenerator(passable=[0, 1], start=7, goal=8, flip="both", **tiny)
    for level in levels:
        level[0, 0], level[-1, -1] = 7, 8
    assert all(roles.solution(level) for level in roles.fit(np.array([levels[0], levels[2]])).sample(4, seed=0))
    assert LevelGenerator(**tiny).fit(["#.\n.#\n", "##\n..\r\n"]).sample(1, seed=0)[0].shape == (2, 2)
    with pytest.raises(DataError, match="never seen"):
        model.score_samples([[[9]]])
    for wrong in ({"start": "S"}, {"start": "S", "goal": "S", "passable": "."}, {"start": "Z", "goal": "G",
                  "passable": "."}, {"start": "S", "goal": "G", "passable": "SG"}, {"radius": 0},
                  {"flip": "up"}):  # fmt: skip
        with pytest.raises(ParameterError):
            LevelGenerator(**tiny, **wrong).fit(tiny_levels(3))


def test_files_and_rest_give_levels():
    tiny = LevelGenerator(passable=".", start="S", goal="G", width=8, steps=5, random_state=0)
    model = open_bytes(wrap(tiny.fit(tiny_levels(6)), tiny_levels(6)).to_bytes())
    client = TestClient(make_app(model))
    asked = {"n": 2, "seed": 3, "condition": {"width": 7, "height": 4, "start": [3, 0]}}
    told = client.post("/v1/sample", json=asked)
    assert told.status_code == 200, told.text
    assert told.json()["samples"] == [level.tolist() for level in model.sample(2, asked["condition"], seed=3)]
    for body in ({"condition": {"width": 500, "height": 500}}, {"n": 30, "condition": {"width": 60, "height": 60}}):
        assert client.post("/v1/sample", json=body).status_code == 413
    for body in ({"condition": {"depth": 1}}, {"condition": ["abc"]}, {"options": {"colour": 1}}):
        assert client.post("/v1/sample", json=body).status_code == 422


def test_levels_are_drawn(tmp_path: Path):
    level = Level(coded(["#.", "SG"], TILES), TILES)
    assert str(level) == "#.\nSG" and level == Level(coded(["#.", "SG"], TILES), TILES)
    picture = level.picture(3, {"S": "#ff0000"})
    assert picture.shape == (6, 6, 3) and picture[4, 1].tolist() == [255, 0, 0]
    level.save(tmp_path / "a.png")
    assert pixels(tmp_path / "a.png").shape == (16, 16, 3)
    level.save(tmp_path / "a.txt")
    assert (tmp_path / "a.txt").read_text() == "#.\nSG\n"
    assert level.ansi().count("\x1b[48;2;") == 4
    with pytest.raises(ParameterError):
        level.picture(3, {"S": "red"})


def test_damaged_files_are_refused():
    _, step = maker()
    settings, arrays = step.spec()
    assert np.array_equal(type(step).build(settings, arrays).proof(3), step.proof(3))
    wrong = [{"tiles": ["#"]}, {"tiles": ["#", ".", "G", "G"]}, {"tiles": ["#", ".", "G", 3]}, {"radius": 0},
             {"radius": 3}, {"edge": 4}, {"edge": -1}, {"single": [9]}, {"single": []}, {"passable": [3]},
             {"passable": []}, {"start": 7}, {"start": -1}, {"goal": 3}, {"network": None}, {"tiles": None},
             {"radius": 2.0}]  # fmt: skip
    for change in wrong:
        with pytest.raises(ModelFileError):
            LevelMaker.build({**settings, **change}, arrays)
    for name, array in arrays.items():
        for bad in (array[:-1], array.astype(np.complex128)):
            with pytest.raises(ModelFileError):
                LevelMaker.build(settings, {**arrays, name: bad})
    for name, bad in (("sizes", [[0, 5]]), ("sizes", [[9999, 5]]), ("counts", [0]), ("shares", [1.0])):
        with pytest.raises(ModelFileError):
            LevelMaker.build(settings, {**arrays, name: np.array(bad)})
