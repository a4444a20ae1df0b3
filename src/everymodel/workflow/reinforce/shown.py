"""What the report shows of an agent: how it learnt, a film of an episode, what it does where."""

from __future__ import annotations

import base64
import contextlib
import io
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from everymodel import environments
from everymodel.core.errors import EverymodelError
from everymodel.core.files import atomic_write
from everymodel.core.finding import Finding
from everymodel.core.seeds import derive
from everymodel.environments.lanes import Lanes
from everymodel.workflow.reinforce.outcome import Outcome

if TYPE_CHECKING:
    from everymodel.workflow.reinforce.choice import Tried
    from everymodel.workflow.reinforce.model import AgentModel
    from everymodel.workflow.reinforce.story import World

_FRAMES, _WIDE = 72, 320  # pictures of a film, and pixels of its longer side
_STILLS = 6
_GROUPS, _POINTS = 100, 240  # of training episodes, and looks, that a curve shows
_GRID = 41  # places on a side of a map of two numbers
_SECONDS = 6.0  # for a film


@dataclass
class Film:
    """One episode: a GIF, some of its pictures as PNG, its return and length."""

    gif: bytes
    stills: list[bytes]
    total: float
    steps: int
    shown: int


def film(policy: Any, env: Any, test: Outcome, seed: int, seconds: float) -> Film | str:
    """A film of one fresh episode by the best actions, or why there is none."""
    from PIL import Image

    seconds = min(max(seconds, 0.5), _SECONDS)
    length = float(np.median(test.lengths)) if len(test.lengths) else 200.0
    every = max(1, math.ceil(length / _FRAMES))
    try:
        lanes = environments.make(env, 1)
    except EverymodelError as error:
        return str(error)
    try:
        pictures, total, steps = _pictures(lanes, policy, seed, every, time.monotonic() + seconds)
    except EverymodelError as error:
        return str(error)
    except ImportError as error:
        return f"the package {error.name} is missing."
    finally:
        if lanes is not env:
            lanes.close()
    frames = [_small(Image.fromarray(p)) for p in pictures]
    colours = _palette(frames, Image)
    reduced = [f.quantize(palette=colours, dither=Image.Dither.NONE) for f in frames]
    buffer = io.BytesIO()
    pause = [int(max(33 * every, 50))] * (len(reduced) - 1) + [900]
    reduced[0].save(buffer, "GIF", save_all=True, append_images=reduced[1:], duration=pause, loop=0, optimize=False)
    places = np.unique(np.linspace(0, len(frames) - 1, min(_STILLS, len(frames))).astype(int))
    return Film(buffer.getvalue(), [_png(reduced[i]) for i in places], total, steps, len(frames))


def _pictures(lanes: Lanes, policy: Any, seed: int, every: int, ends: float) -> tuple[list[np.ndarray], float, int]:
    """(a picture of every few steps, and of the last one that was shown, return, length)."""
    rng = np.random.default_rng(derive(seed, "actions"))
    seen = lanes.reset(derive(seed, "episodes"))
    made, total, length = [lanes.picture()], 0.0, 0
    while True:
        seen, reward, ended, cut, _ = lanes.step(policy.choose(seen, rng, 0.0, lanes.masks()))
        total, length = total + float(reward[0]), length + 1
        if ended[0] or cut[0]:
            return made, total, length
        room = len(made) < 2 * _FRAMES and time.monotonic() < ends
        if length % every == 0 and room:
            made.append(lanes.picture())


def _small(image: Any) -> Any:
    scale = _WIDE / max(image.size)
    if scale >= 1:
        return image.convert("RGB")
    return image.convert("RGB").resize((max(round(image.width * scale), 1), max(round(image.height * scale), 1)))


def _palette(frames: list[Any], Image: Any) -> Any:
    """64 colours of the first, middle and last picture, for all: pictures that differ little then stay alike."""
    few = [frames[0], frames[len(frames) // 2], frames[-1]]
    sheet = Image.new("RGB", (few[0].width, sum(f.height for f in few)))
    top = 0
    for f in few:
        sheet.paste(f, (0, top))
        top += f.height
    return sheet.quantize(64)


def _png(image: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def keep(film: Film, path: Path, findings: list[Finding]) -> None:
    """The film beside the model in the run folder; nothing is lost where there is no room for it."""
    with contextlib.suppress(OSError), atomic_write(path) as stream:
        stream.write(film.gif)


def structure(
    world: World,
    board: list[Tried],
    best: Tried,
    test: Outcome,
    chance: Outcome,
    goal: float | None,
    film: Film | None,
    model: AgentModel,
    reasons: list[str],
) -> dict[str, Any]:
    """What the report draws, as plain data."""
    agent = best.agent
    told: dict[str, Any] = {
        "environment": world.name,
        "facts": world.words(),
        "goal": goal,
        "chance": chance.summary.get("mean"),
        "test": dict(test.summary),
        "by_chance": dict(chance.summary),
        "returns": test.returns,
        "chance_returns": chance.returns,
        "lengths": test.lengths,
        "limit": test.limit,
        "curves": [
            {"model": t.card.title, "chosen": t is best, **curve(t.agent.curve_)} for t in board if t.agent is not None
        ],
        "actions": _actions(test, world),
        "map": _map(agent._step(), test, world),
        "grid": _grid(agent._step(), world),
        "steps": int(getattr(agent, "steps_", 0)),
        "episodes": len(agent.curve_.episodes),
        "stopped": best.ended,
        "reasons": reasons,
        "summary": summary(best),
        "settings": model.manifest["members"][0].get("parameters") or {},
    }  # fmt: skip
    if film is not None:
        told["film"] = {"gif": _data(film.gif, "gif"), "stills": [_data(s, "png") for s in film.stills],
                        "total": film.total, "steps": film.steps, "shown": film.shown}  # fmt: skip
    return told


def summary(best: Tried) -> dict[str, str]:
    """What the card says of the agent."""
    card = best.card
    return {"title": card.title, "sentence": card.summary, "choose": card.choose, "avoid": card.avoid}


def _data(image: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(image).decode()}"


def curve(told: Any) -> dict[str, Any]:
    """Returns of training episodes in groups of neighbours (steps, mean, low and high quarter), and the looks."""
    steps = np.array([e[0] for e in told.episodes], dtype=float)
    returns = np.array([e[1] for e in told.episodes], dtype=float)
    groups = np.array_split(np.arange(len(steps)), min(_GROUPS, max(len(steps), 1)))
    rows = [[steps[g].mean(), returns[g].mean(), *np.percentile(returns[g], (25, 75))] for g in groups if len(g)]
    looks = told.looks
    if len(looks) > _POINTS:
        looks = [looks[i] for i in np.unique(np.linspace(0, len(looks) - 1, _POINTS).astype(int))]
    return {"training": rows, "looks": [list(k) for k in looks]}


def _actions(test: Outcome, world: World) -> dict[str, Any] | None:
    """How often each choice was taken, or how numbers were spread."""
    if test.counts is not None:
        return {"counts": test.counts} if test.counts.sum() and len(test.counts) <= 200 else None
    if not len(test.actions):
        return None
    rows = test.actions.reshape(len(test.actions), -1)[:, :8]
    low, high = (side.reshape(-1) for side in world.action.bounds())
    made = []
    for i, column in enumerate(rows.T):
        a = low[i] if np.isfinite(low[i]) else column.min()
        b = high[i] if np.isfinite(high[i]) else column.max()
        shares, edges = np.histogram(column, bins=24, range=(float(a), float(max(b, a + 1e-9))))
        made.append({"edges": edges, "shares": shares / max(len(column), 1)})
    return {"numbers": made}


def _map(step: Any, test: Outcome, world: World) -> dict[str, Any] | None:
    """What it does over one or two numbers that it sees, within the range of the test; None for others."""
    space, does = world.observation, world.action
    if space.discrete or space.width not in (1, 2) or not len(test.seen) or not (does.discrete or does.width == 1):
        return None
    seen = test.seen.reshape(len(test.seen), -1).astype(float)
    low, high = np.percentile(seen, 0.5, axis=0), np.percentile(seen, 99.5, axis=0)
    room = 0.06 * np.maximum(high - low, 1e-6)
    least, most = (side.reshape(-1) for side in space.bounds())
    low, high = np.maximum(low - room, least), np.minimum(high + room, most)
    axes = [np.linspace(a, b, _GRID) for a, b in zip(low, high)]
    places = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, space.width)
    rows = places.astype(np.float32).reshape(-1, *space.shape)
    actions = np.asarray(step.choose(rows, np.random.default_rng(0), 0.0, None), dtype=float).reshape(len(rows), -1)
    told: dict[str, Any] = {
        "axes": axes,
        "actions": actions[:, 0].reshape([_GRID] * space.width),
        "choices": does.n if does.discrete else 0,
        "path": seen[:: max(len(seen) // 400, 1)][:400],
    }
    if getattr(step, "head", "") == "values":
        told["values"] = np.asarray(step.scores(rows)).max(axis=1).reshape([_GRID] * space.width)
    return told


def _grid(step: Any, world: World) -> dict[str, Any] | None:
    """Value and best action of each field, where states are the fields of a map and a table of values acts."""
    values = getattr(step, "values", None)
    if values is None or world.fields is None or world.steps is None or values.shape[0] != world.fields.size:
        return None
    known = np.ptp(values, axis=1) > 1e-9  # holes and goals are never left
    return {"values": np.where(known, values.max(axis=1), np.nan), "actions": values.argmax(axis=1),
            "fields": ["".join(row) for row in world.fields], "steps": world.steps}  # fmt: skip
