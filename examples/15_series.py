"""Series: which movement, which speed"""

# %%
# Each row is one series: a slow or a fast wave in noise, that begins anywhere and is as long as it happens to be. No
# single step says which it is, so models of columns see nothing; kernels that slide over the series see its shape.
import numpy as np

import everymodel as em

random = np.random.default_rng(0)


def wave(speed):
    steps = random.integers(80, 120)
    return np.sin(np.arange(steps) * speed + random.uniform(0, 6)) + 0.8 * random.normal(size=steps)


speeds = random.permutation(np.repeat([0.20, 0.24, 0.28], 60))
series = [wave(speed) for speed in speeds]
names = np.array([{0.20: "slow", 0.24: "usual", 0.28: "fast"}[s] for s in speeds])

# %%
# The model by itself: MultiRocket's and Hydra's kernels and a ridge on what they say.
model = em.HydraMultiRocketClassifier(random_state=0).fit(series[:90], names[:90])
print(f"{model.score(series[90:], names[90:]):.2f} right, {model.step_.weights.shape[0]:,} features")

# %%
# Its probabilities come from scores of rows that were left out one by one, so they can be believed:
chances = model.predict_proba(series[90:])
sure = chances.max(axis=1)
right = model.predict(series[90:]) == names[90:]
for low, high in ((0.0, 0.7), (0.7, 0.9), (0.9, 1.0)):
    here = (sure > low) & (sure <= high)
    if here.any():
        print(f"{low:.0%} to {high:.0%} sure: {here.sum():3} series, {right[here].mean():.0%} right")

# %%
# The speed itself, as a number, learnt from the same series:
values = em.HydraMultiRocketRegressor(random_state=0).fit(series[:90], speeds[:90])
print(f"R² {values.score(series[90:], speeds[90:]):.2f}")

# %%
# Several signals per step are arrays (steps, signals); gaps may be NaN.
both = [np.stack([s, random.normal(size=len(s))], axis=1) for s in series]
both[0][10:20, 0] = np.nan
model = em.HydraMultiRocketClassifier(random_state=0).fit(both[:90], names[:90])
print(f"with a second signal that says nothing: {model.score(both[90:], names[90:]):.2f}")

# %%
# In a table, series are the cells of a column. `em.fit` compares this model with all others; here with a guess alone.
run = em.fit({"wave": series, "speed": names}, target="speed", models=["hydra_multirocket"], trials=1)
print(run.headline)
run.leaderboard[["model", "score", "weight"]]
