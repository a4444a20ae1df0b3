"""Where agents act.

    lanes = make("CartPole-v1", lanes=64)

Some well-known environments are written here for arrays (`ARRAYS`); all others come from Gymnasium, from a Python file
that registers one, or from the user as an object or a function that makes one. See docs/adding-an-environment.md.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from everymodel.core.errors import CapabilityError, ParameterError
from everymodel.environments.lanes import ArrayLanes, EnvironmentFault, Lanes, Moved

__all__ = ["ARRAYS", "ArrayLanes", "EnvironmentFault", "Lanes", "Moved", "is_environment", "make"]

# Written for arrays: id -> "module:Class".
ARRAYS = {
    "CartPole-v1": "cart_pole:CartPole",
    "MountainCar-v0": "mountain_car:MountainCar",
    "MountainCarContinuous-v0": "mountain_car:MountainCarContinuous",
    "Acrobot-v1": "acrobot:Acrobot",
    "Pendulum-v1": "pendulum:Pendulum",
    "FrozenLake-v1": "grid:FrozenLake",
    "FrozenLake8x8-v1": "grid:FrozenLake8x8",
    "CliffWalking-v1": "grid:CliffWalking",
    "CliffWalkingSlippery-v1": "grid:CliffWalkingSlippery",
    "Taxi-v4": "grid:Taxi",
    "Taxi-v3": "grid:Taxi",
}


def make(env: Any, lanes: int = 1, *, limit: int | None = None, **options: Any) -> Lanes:
    """`lanes` environments side by side.

    Parameters
    ----------
    env : an id ("CartPole-v1"); a Python file, or "file.py:Id-v0", that registers one or defines exactly one class of
        Gymnasium's kind; such a class, or a function without arguments that makes an environment; or a class or object
        of this package's kind (`Lanes`), of which the object is a plan: it is not stepped itself.
    limit : steps of an episode, instead of the environment's own.
    options : of the environment.

    Raises
    ------
    ParameterError
        when there is no such environment; CapabilityError where Gymnasium, or a package that it needs, is missing.
    """
    if isinstance(env, Lanes):
        return env.alike(lanes)
    if isinstance(env, str) and env in ARRAYS:
        module, _, name = ARRAYS[env].partition(":")
        written = getattr(importlib.import_module(f"{__name__}.{module}"), name)
        if set(options) <= set(inspect.signature(written).parameters):  # all others Gymnasium may know
            return written(lanes, limit, **options)
    if isinstance(env, type) and issubclass(env, ArrayLanes):
        return env(lanes, limit, **options)
    from everymodel.environments.adapter import GymLanes

    build, name = _builder(env, options)
    return GymLanes(build, name, lanes, limit)


def is_environment(data: Any) -> bool:
    """Whether `make` takes this, without loading anything: an id, a Python file, or an object that steps."""
    if isinstance(data, Lanes) or (isinstance(data, type) and issubclass(data, Lanes)):
        return True
    if isinstance(data, str):
        file, _, rest = data.partition(".py:")
        if data in ARRAYS or (data.endswith(".py") and Path(data).is_file()) or (rest and Path(f"{file}.py").is_file()):
            return True
        name, dash, version = data.rpartition("-v")
        return bool(dash and version.isdigit() and name and not Path(data).exists() and "." not in name)
    if isinstance(data, Path):
        return data.suffix == ".py"
    return hasattr(data, "action_space") and hasattr(data, "step")


def _builder(env: Any, options: dict[str, Any]) -> tuple[Callable[[str | None], Any], str]:
    """(a function of the render mode that makes one environment, its name)."""
    try:
        import gymnasium as gym
    except ImportError as error:
        known = ", ".join(ARRAYS)
        raise CapabilityError(
            f'{env!r} needs the package gymnasium: pip install "everymodel[rl]". Without it there are {known}.'
        ) from error
    if isinstance(env, Path):
        env = str(env)
    if isinstance(env, str):
        file, colon, name = env.partition(".py:")
        if env.endswith(".py") or colon:
            return _from_file(Path(f"{file}.py" if colon else env), name, options)
        return _registered(env, options), env
    if isinstance(env, gym.Env):
        spec = env.spec
        if spec is None:
            raise ParameterError(
                f"An environment came that is not registered ({type(env).__name__}), so it cannot be made several "
                "times. Give the class, or a function that makes one."
            )
        return (lambda render: gym.make(spec, **({"render_mode": render} if render else {}))), spec.id
    if callable(env):
        name = getattr(env, "__name__", type(env).__name__)

        def build(render: str | None) -> Any:
            try:
                return env(render_mode=render, **options) if render else env(**options)
            except TypeError:
                if render:
                    raise CapabilityError(f"{name} takes no render_mode, so it cannot be drawn.") from None
                raise

        return build, name
    raise ParameterError(f"{type(env).__name__} is no environment: expected an id, a Python file, a class, a function.")


def _registered(name: str, options: dict[str, Any]) -> Callable[[str | None], Any]:
    import gymnasium as gym

    try:
        gym.spec(name)
    except Exception as error:
        near = _near(name)
        hint = f" Did you mean {', '.join(near)}?" if near else ""
        raise ParameterError(f"There is no environment {name!r}: {error}{hint}") from error

    def build(render: str | None) -> Any:
        try:
            drawn = {"render_mode": render} if render else {}  # not all classes take it
            return gym.make(name, disable_env_checker=True, **drawn, **options)
        except gym.error.DependencyNotInstalled as error:
            raise CapabilityError(f"{name} needs another package: {error}") from error

    return build


def _near(name: str) -> list[str]:
    import difflib

    import gymnasium as gym

    return difflib.get_close_matches(name, [*ARRAYS, *gym.registry], n=3, cutoff=0.6)


def _from_file(path: Path, name: str, options: dict[str, Any]) -> tuple[Callable[[str | None], Any], str]:
    """The environment that the user's own Python file registers, or whose class it defines."""
    import gymnasium as gym

    if not path.is_file():
        raise ParameterError(f"There is no file {path}.")
    module, fresh = _run(path)
    if name or fresh:
        if not name and len(fresh) > 1:
            raise ParameterError(f"{path} registers {', '.join(fresh)}: say which one, as {path}:{fresh[0]}.")
        return _registered(name or fresh[0], options), name or fresh[0]
    own = [
        k
        for k in vars(module).values()
        if isinstance(k, type) and issubclass(k, gym.Env) and k.__module__ == module.__name__
    ]
    if len(own) == 1:
        return _builder(own[0], options)[0], path.stem
    raise ParameterError(
        f"{path} registers no environment and defines {len(own)} classes of that kind; expected exactly one."
    )


_FILES: dict[Path, tuple[tuple[int, int], ModuleType, list[str]]] = {}


def _run(path: Path) -> tuple[ModuleType, list[str]]:
    """(the file as a module, ids that it registers); a file that has not changed is run once."""
    import gymnasium as gym

    path, told = path.resolve(), path.stat()
    stamp = (told.st_mtime_ns, told.st_size)
    kept = _FILES.get(path)
    if kept is not None and kept[0] == stamp:
        return kept[1], kept[2]
    before = dict(gym.registry)
    name = f"everymodel_environment_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise EnvironmentFault(f"{path} cannot be run: {type(error).__name__}: {error}") from error
    fresh = sorted(k for k, v in gym.registry.items() if before.get(k) is not v)
    _FILES[path] = (stamp, module, fresh)
    return module, fresh
