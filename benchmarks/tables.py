"""Synthetic tables on Adult: the models of tables side by side, every seed shown.

    python benchmarks/tables.py --folder DATA/adult                       all models, seeds 0 1 2, the time of the bar
    python benchmarks/tables.py --folder DATA/adult --models table_diffusion --seeds 0 --steps 1000

The folder holds adult.csv.gz (32,561 rows). Of them 80 % are learnt from, 20 % held (drawn by the seed). Each model
makes as many rows as it has learnt from. Figures are those of `everymodel.models.generative._table_quality.quality`:

utility, f1   a gradient booster learns the income from made rows, answers held ones (ROC AUC, macro F1); beside it the
              same booster on the real rows ("real rows")
shapes, pairs likeness of single columns and of pairs of columns, 1 is best; "real rows" shows what another sample of
              real rows reaches
c2st          ROC AUC of a booster that tells made from held rows, 0.5 is best
copied        share of made rows nearer to a row learnt from than to a held one, 0.5 where nothing is copied
member        ROC AUC of telling rows learnt from by their distance to made rows, 0.5 is best

Bars for the diffusion model: utility >= .905, pairs >= .93, copied .47 to .53, fit and sample in 300 s on two cores.
`--budget` is the most wall seconds for the fit of a network (the diffusion model ends by itself after 30 passes);
`--steps` a number of steps instead (on a busy machine).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

import everymodel as em
from everymodel.models.generative._table_quality import quality

TARGET = "income"
SHOWN = ("utility", "utility_f1", "shapes", "pairs", "c2st", "copied", "membership", "equal")
HEAD = ("utility", "f1", "shapes", "pairs", "c2st", "copied", "member", "equal")


def split(frame: pd.DataFrame, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    order = np.random.default_rng(seed).permutation(len(frame))
    cut = round(0.8 * len(frame))
    return frame.iloc[order[:cut]].reset_index(drop=True), frame.iloc[order[cut:]].reset_index(drop=True)


def models(names: list[str], seed: int, **given: Any) -> dict[str, Any]:
    every = {
        "gaussian_copula": lambda: em.GaussianCopula(random_state=seed),
        "smote": lambda: em.SMOTE(random_state=seed),
        "table_gan": lambda: em.TableGAN(random_state=seed, **given),
        "table_vae": lambda: em.TableVAE(random_state=seed, **given),
        "table_diffusion": lambda: em.TableDiffusion(random_state=seed, **given),
    }
    return {name: every[name]() for name in names or every}


def line(name: str, seed: int, figures: dict[str, float], steps: Any = "", seconds: tuple[float, ...] = ()) -> None:
    told = " ".join(f"{figures.get(key, float('nan')):8.4f}" for key in SHOWN)
    spent = " ".join(f"{s:7.1f}" for s in seconds)
    print(f"{name:16} {seed:4} {told} {steps!s:>6} {spent}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--models", nargs="*", default=[])
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--budget", default="240s")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    frame = pd.read_csv(args.folder / "adult.csv.gz", skipinitialspace=True)
    given = {"steps": args.steps} if args.steps else {"budget": args.budget}
    print(f"{'model':16} seed " + " ".join(f"{h:>8}" for h in HEAD) + "  steps   fit_s sample_s  cpu_s", flush=True)
    for seed in args.seeds:
        train, held = split(frame, seed)
        for i, (name, model) in enumerate(models(args.models, seed, **given).items()):
            wall, cpu = time.perf_counter(), time.process_time()
            x, y = train.drop(columns=TARGET), train[TARGET]
            model.fit(x, y)
            fitted = time.perf_counter()
            made = model.sample(len(train), seed=seed)
            seconds = (fitted - wall, time.perf_counter() - fitted, time.process_time() - cpu)
            figures = quality(model, held, train=train[made.columns], target=TARGET, made=made, seed=seed)
            if i == 0:
                real = {k.removesuffix("_real"): v for k, v in figures.items() if k.endswith("_real")}
                line("real rows", seed, real)
            steps = model.history_.steps if hasattr(model, "history_") else ""
            line(name, seed, figures, steps, seconds)


if __name__ == "__main__":
    main()
