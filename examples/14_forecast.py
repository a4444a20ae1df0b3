"""What comes next: monthly visitors of three museums, twelve months ahead, with bounds."""

import numpy as np
import pandas as pd

import everymodel as em

rng = np.random.default_rng(0)
months = pd.date_range("2016-01-01", periods=96, freq="MS")
parts = []
for museum, size, growth in (("sea", 200, 0.004), ("rail", 90, 0.001), ("art", 400, -0.002)):
    t = np.arange(96)
    visits = size * np.exp(growth * t + 0.35 * np.sin(2 * np.pi * (t - 3) / 12)) * rng.lognormal(0, 0.05, 96)
    parts.append(pd.DataFrame({"museum": museum, "month": months, "visits": visits.round()}))
table = pd.concat(parts).drop(index=[7])  # a month that nobody wrote down

# A table of time, target and the name of each series: forecast by itself, and said so.
run = em.fit(table, target="visits", time="month", horizon=12, budget="30s", models=[
    "seasonal_naive", "exponential_smoothing", "lagged_regression",
])  # fmt: skip
print(run.headline)
for finding in run.findings:
    print(f"  {finding.severity}: {finding.message}")
print(run.leaderboard[["model", "score", "smape"]].head(4).round(3).to_string(index=False))

print(run.model.predict(horizon=2).to_string(index=False, float_format="%.1f"))  # goes on from the end of the data
newer = pd.DataFrame(
    {"museum": "new", "month": months[:30], "visits": 50 + 20 * np.sin(2 * np.pi * np.arange(30) / 12)}
)
print(run.model.predict(newer, horizon=2, level=0.95).to_string(index=False, float_format="%.1f"))  # any other history

# One model by itself: arrays in, arrays out.
smooth = em.ExponentialSmoothing(horizon=3, season=12).fit(parts[0]["visits"].to_numpy())
print(smooth.predict().round(1))

run.model.save("visits.em")
print(em.load("visits.em").predict(horizon=1).to_string(index=False, float_format="%.1f"))
