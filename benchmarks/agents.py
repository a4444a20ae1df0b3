"""Agents: CPU seconds until a task is learnt, by default settings, seed by seed.

    python benchmarks/agents.py cartpole lunar --seeds 0 1 2
    python benchmarks/agents.py cartpole --sb3          # Stable-Baselines3 beside it, where it is installed

Prints for each seed: mean return of 100 fresh episodes by the best actions, steps of the environment, CPU seconds of
the fit, and how many of these were spent on looking at the agent. One thread. A tiny fit before the first seed loads
what a process loads once.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import numpy as np  # noqa: E402

Row = Callable[[argparse.Namespace], None]
ROWS: dict[str, Row] = {}
FRESH = 10_007  # seed of the episodes that are reported


def row(name: str) -> Callable[[Row], Row]:
    """Registers a row of the benchmark: a function of the arguments that prints its figures."""

    def keep(function: Row) -> Row:
        ROWS[name] = function
        return function

    return keep


def agents(
    given: argparse.Namespace,
    title: str,
    make: Callable[[int], Any],
    env: Any,
    *,
    bar: float,
    seconds: float,
    tiny: Callable[[], Any],
    until: Any = "auto",
) -> list[tuple[float, float]]:
    """One agent a seed: `make(seed)` fitted in `env`; gives (return, CPU seconds) of each and prints them.

    Parameters
    ----------
    bar, seconds : the mean return that counts as learnt, and the CPU seconds that a fit may take.
    tiny : a fit that loads what a process loads once.
    """
    tiny()
    print(f"\n{title}: {env}; asked for: {bar:g} within {seconds:g} CPU s")
    print(f"{'seed':>4} {'return':>8} {'95 %':>17} {'steps':>9} {'CPU s':>7} {'looks s':>7} {'steps/s':>8}  ended by")
    made: list[tuple[float, float]] = []
    for seed in given.seeds:
        agent = make(seed)
        began = time.process_time()
        agent.fit(env, until=until)
        spent = time.process_time() - began
        told = agent.evaluate(100, seed=FRESH + seed)
        looks = getattr(agent, "looks_seconds_", float("nan"))
        made.append((told["mean"], spent))
        interval = f"{told['low']:.1f} to {told['high']:.1f}"
        pace = agent.steps_ / max(spent - (looks if looks == looks else 0.0), 1e-9)
        print(f"{seed:>4} {told['mean']:>8.1f} {interval:>17} {agent.steps_:>9,} {spent:>7.2f} {looks:>7.2f} "
              f"{pace:>8,.0f}  {agent.stopped_}", flush=True)  # fmt: skip
        if given.curve:
            print("     looks: " + "  ".join(f"{s:,}: {r:.0f}" for s, r in agent.curve_.looks))
    good = sum(mean >= bar for mean, _ in made)
    fast = sum(mean >= bar and spent <= seconds for mean, spent in made)
    means, times = (np.array(v) for v in zip(*made, strict=True))
    print(f"     learnt {good} of {len(made)}, in time {fast} of {len(made)}; return {means.min():.1f} to "
          f"{means.max():.1f}, CPU s median {np.median(times):.2f}, most {times.max():.2f}", flush=True)  # fmt: skip
    return made


def ppo_tiny() -> None:
    from everymodel.models.reinforcement.ppo import PPO

    PPO(steps=4000, random_state=0).fit("CartPole-v1", until=None)


def _ppo(given: argparse.Namespace, env: str, bar: float, seconds: float, until: Any = "auto") -> None:
    from everymodel.models.reinforcement.ppo import PPO

    agents(given, "PPO", lambda seed: PPO(random_state=seed, **given.set), env,
           bar=bar, seconds=seconds, tiny=ppo_tiny, until=until)  # fmt: skip


@row("cartpole")
def cartpole(given: argparse.Namespace) -> None:
    _ppo(given, "CartPole-v1", 475, 1.5)
    if given.sb3:
        _sb3(given, "CartPole-v1", 475)


@row("acrobot")
def acrobot(given: argparse.Namespace) -> None:
    _ppo(given, "Acrobot-v1", -80, 20, until=-80)


@row("mountaincar-ppo")
def mountaincar_ppo(given: argparse.Namespace) -> None:
    _ppo(given, "MountainCar-v0", -110, 60)


@row("lunar")
def lunar(given: argparse.Namespace) -> None:
    _ppo(given, "LunarLander-v3", 240, 300, until=240)


@row("pendulum-ppo")
def pendulum_ppo(given: argparse.Namespace) -> None:
    _ppo(given, "Pendulum-v1", -200, 60)


@row("mountaincar-continuous")
def mountaincar_continuous(given: argparse.Namespace) -> None:
    _ppo(given, "MountainCarContinuous-v0", 90, 60)


def _replaying(given: argparse.Namespace, kind: str, env: str, bar: float, seconds: float, until: Any = "auto") -> None:
    """A row of DQN or SAC."""
    import everymodel

    made, small = getattr(everymodel, kind), {"steps": 600, "lanes": 4, "first": 100, "random_state": 0}
    agents(given, kind, lambda seed: made(random_state=seed, **given.set), env, bar=bar, seconds=seconds,
           tiny=lambda: made(**small).fit(env, until=None), until=until)  # fmt: skip


@row("dqn")
def dqn(given: argparse.Namespace) -> None:
    _replaying(given, "DQN", "CartPole-v1", 475, 8)


@row("mountaincar")
def mountaincar(given: argparse.Namespace) -> None:
    _replaying(given, "DQN", "MountainCar-v0", -110, 60)


@row("lunar-dqn")
def lunar_dqn(given: argparse.Namespace) -> None:
    _replaying(given, "DQN", "LunarLander-v3", 200, 300)


@row("pendulum")
def pendulum(given: argparse.Namespace) -> None:
    _replaying(given, "SAC", "Pendulum-v1", -160, 60)


def _sb3(given: argparse.Namespace, env: str, bar: float) -> None:
    """Stable-Baselines3's PPO by the settings tuned for CartPole (rl-zoo3), until a look of 100 episodes is at the bar.

    Looks are by 20 episodes first, every 2048 steps, as our agent does, and are not counted.
    """
    try:
        import torch
        from stable_baselines3 import PPO
        from stable_baselines3.common.callbacks import BaseCallback
        from stable_baselines3.common.env_util import make_vec_env
        from stable_baselines3.common.evaluation import evaluate_policy
    except ImportError:
        print("     stable-baselines3 is not installed")
        return
    torch.set_num_threads(1)

    class Looks(BaseCallback):
        """Ends the run where the look says so; its own seconds are kept apart."""

        def __init__(self, tests: Any):
            super().__init__()
            self.tests, self.seconds, self.mean = tests, 0.0, float("-inf")

        def _on_step(self) -> bool:
            return self.mean < bar

        def _on_rollout_end(self) -> None:
            if self.num_timesteps % 2048:
                return
            began = time.process_time()
            self.mean = float(evaluate_policy(self.model, self.tests, 20)[0])  # type: ignore[arg-type]
            if self.mean >= bar:
                self.mean = float(evaluate_policy(self.model, self.tests, 100)[0])  # type: ignore[arg-type]
            self.seconds += time.process_time() - began

    for seed in given.seeds:
        lanes, tests = make_vec_env(env, n_envs=8, seed=seed), make_vec_env(env, n_envs=10, seed=FRESH + seed)
        tuned = {"n_steps": 32, "batch_size": 256, "gae_lambda": 0.8, "gamma": 0.98, "n_epochs": 20}
        model = PPO(
            "MlpPolicy", lanes, learning_rate=lambda p: 0.001 * p, clip_range=lambda p: 0.2 * p, seed=seed,
            device="cpu", **tuned,
        )  # fmt: skip
        looks = Looks(tests)
        began = time.process_time()
        model.learn(100_000, callback=looks)
        spent = time.process_time() - began - looks.seconds
        print(f"     SB3 seed {seed}: return {looks.mean:.1f}, {model.num_timesteps:,} steps, {spent:.2f} CPU s "
              "without looks", flush=True)  # fmt: skip


@row("table")
def table(given: argparse.Namespace) -> None:
    """Agents of tables against value iteration: returns of both policies are computed from Gymnasium's own tables."""
    import gymnasium as gym

    from everymodel.environments.grid import Table
    from everymodel.environments.lanes import MOST
    from everymodel.models.reinforcement.q_learning import QLearning
    from everymodel.models.reinforcement.sarsa import Sarsa

    for name in ("FrozenLake-v1", "FrozenLake8x8-v1", "Taxi-v4", "CliffWalking-v1"):
        env = gym.make(name)
        told, most = env.unwrapped.P, env.spec.max_episode_steps or MOST  # type: ignore[union-attr,attr-defined]
        outcomes = max(len(told[s][a]) for s in told for a in told[s])
        cells = np.zeros((4, len(told), len(told[0]), outcomes))
        for s in told:
            for a in told[s]:
                cells[0, s, a] = s
                for k, row_of in enumerate(told[s][a]):
                    cells[:, s, a, k] = (row_of[1], row_of[2], row_of[3], row_of[0])
        starts = env.unwrapped.initial_state_distrib  # type: ignore[attr-defined]
        exact = Table(
            1, after=cells[0].astype(int), reward=cells[1], ended=cells[2] > 0, chance=cells[3], starts=starts
        )
        # Value iteration knows no time limit: the discount whose policy does best within it is the reference.
        discounts = (0.9, 0.95, 0.98, 0.99, 0.995, 0.997, 0.999, 0.9999)
        best = max(exact.expected(exact.best(d).argmax(axis=1), most) for d in discounts)
        for kind in (QLearning, Sarsa):
            kind(steps=2000, random_state=0).fit(name)
            print(
                f"\n{kind.__name__}: {name}; the best policy by value iteration: {best:.4f}; asked for: 1 % near it "
                f"within 5 CPU s\n{'seed':>4} {'return':>9} {'of best':>8} {'steps':>9} {'CPU s':>7} {'looks s':>7}"
            )
            good = 0
            for seed in given.seeds:
                agent = kind(random_state=seed, **given.set)
                began = time.process_time()
                agent.fit(name)
                spent = time.process_time() - began
                made = exact.expected(agent.values_.argmax(axis=1), most)
                near = made >= best - 0.01 * abs(best)
                good += near and spent <= 5
                share = 1 + (made - best) / abs(best)
                print(
                    f"{seed:>4} {made:>9.4f} {share:>8.2%} {agent.steps_:>9,} {spent:>7.2f} "
                    f"{agent.looks_seconds_:>7.2f}",
                    flush=True,
                )
            print(f"     near and in time {good} of {len(given.seeds)}", flush=True)


@row("environments")
def environments(given: argparse.Namespace) -> None:
    """Steps per CPU second of random play: ours, and Gymnasium's vectors beside them, in turn in one process."""
    import gymnasium as gym

    from everymodel.environments import ARRAYS, make

    def paced(step: Callable[[Any], Any], draw: list[Any], lanes: int, seconds: float = 0.1) -> float:
        count, began, spent = 0, time.process_time(), 0.0
        while spent < seconds:
            for actions in draw:
                step(actions)
            count += len(draw) * lanes
            spent = time.process_time() - began
        return count / spent

    print(f"\n{'environment':<26} {'lanes':>5} {'ours':>9} {'Gymnasium arrays':>17} {'Gymnasium objects':>18}  M/CPU s")
    for name in ARRAYS:
        if name not in gym.registry:
            continue
        for lanes in (64, 1024):
            ours, rng = make(name, lanes), np.random.default_rng(0)
            ours.reset(0)
            if ours.action.discrete:
                draw: list[Any] = [rng.integers(0, ours.action.n, lanes) for _ in range(32)]
            else:
                low, high = ours.action.bounds()
                draw = [rng.uniform(low, high, (lanes, *ours.action.shape)).astype(np.float32) for _ in range(32)]
            sides: dict[str, list[float]] = {"ours": [], "vector_entry_point": [], "sync": []}
            others: dict[str, Any] = {}
            for mode in ("vector_entry_point", "sync")[: 2 if lanes == 64 else 1]:
                try:
                    others[mode] = gym.make_vec(name, lanes, vectorization_mode=mode)
                    others[mode].reset(seed=0)
                except (gym.error.Error, ValueError):
                    continue
            for _ in range(8):  # in turn; the best of each, since other work of the machine only slows
                sides["ours"].append(paced(ours.step, draw, lanes))
                for mode, vector in others.items():
                    sides[mode].append(paced(vector.step, draw[:2] if mode == "sync" else draw, lanes))
            told = [f"{max(v) / 1e6:.3f}" if v else "-" for v in sides.values()]
            print(f"{name:<26} {lanes:>5} {told[0]:>9} {told[1]:>17} {told[2]:>18}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="+", choices=[*ROWS, "all"])
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(5)))
    parser.add_argument("--sb3", action="store_true", help="Stable-Baselines3 beside ours, where there is a comparison")
    parser.add_argument("--curve", action="store_true", help="print the looks of each seed")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings instead of the defaults")
    given = parser.parse_args()
    given.set = {name: _value(value) for name, _, value in (pair.partition("=") for pair in given.set)}
    for name in ROWS if "all" in given.rows else given.rows:
        ROWS[name](given)


def _value(told: str) -> Any:
    for kind in (int, float):
        try:
            return kind(told)
        except ValueError:
            continue
    return {"None": None, "True": True, "False": False}.get(told, told)


if __name__ == "__main__":
    sys.exit(main())
