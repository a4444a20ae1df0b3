"""Odd card payments: which rows are unlike the others, and which cells make them so?"""

# %%
# The payments are made up, and so are the frauds in them: one in a hundred, of three kinds. An amount that does not go
# with the shop, a dollar payment in Germany, a payment in the middle of the night minutes after the last one. Real
# frauds are cleverer, and a payment may be odd without being a fraud: what is found here is what to look at first.
import numpy as np
import pandas as pd

import everymodel as em
from everymodel.scoring.tails import beyond

random = np.random.default_rng(0)
n = 2000
shop = random.choice(["groceries", "fuel", "restaurant", "electronics"], n, p=[0.45, 0.25, 0.2, 0.1])
usual = pd.Series(shop).map({"groceries": 35, "fuel": 60, "restaurant": 40, "electronics": 220}).to_numpy()
abroad = random.random(n) < 0.1
payments = pd.DataFrame(
    {
        "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(random.integers(0, 365, n), unit="D"),
        "hour": np.clip(random.normal(14, 3, n), 6, 23).round(1),
        "shop": shop,
        "amount": (usual * random.lognormal(0, 0.35, n)).round(2),
        "country": np.where(abroad, "US", "Germany"),
        "currency": np.where(abroad, "USD", "EUR"),
        "minutes_since_last": random.gamma(2.0, 900.0, n).round(),
    }
)
fraud = np.arange(60, n, 100)
payments.loc[fraud[0::3], "amount"] *= 20
payments.loc[fraud[1::3], ["country", "currency"]] = ["Germany", "USD"]
payments.loc[fraud[2::3], ["hour", "minutes_since_last"]] = [3.2, 2.0]
payments["fraud"] = np.where(np.isin(np.arange(n), fraud), "yes", "no")
payments.head()

# %%
# Nothing is learnt from the column "fraud": it is only compared with, to see how good the order of the rows is.
run = em.fit(payments, target="fraud", task="anomaly", budget="60s", seed=0)
print(run.headline)
for metric in run.evaluation.metrics:
    print(f"{metric.name:18} {metric.value:.3f} ({metric.low:.3f} to {metric.high:.3f})")

# %%
# The oddest rows, and why. A reason names the cell which, put to what similar rows have, would make the row ordinary.
pd.set_option("display.max_colwidth", None)
run.tables["anomalies"].head(12)

# %%
# No labels were needed for the threshold: it comes from the tail of the scores, aiming at one false alarm in a
# thousand ordinary rows. Frauds below it are not lost; they are the next in the order. If you know how many rows to
# expect, say so with contamination=0.01. The detectors that were asked, what each says alone, and how far it agrees
# with the blend:
run.leaderboard

# %%
# New payments get a score (higher is odder), and the share of ordinary payments that score as high.
new = pd.DataFrame(
    {
        "day": ["2024-07-01", "2024-07-02"],
        "hour": [13.0, 13.0],
        "shop": ["groceries", "groceries"],
        "amount": [38.0, 3800.0],
        "country": ["Germany", "Germany"],
        "currency": ["EUR", "EUR"],
        "minutes_since_last": [900, 1100],
    }
)
score = -run.model.score_samples(new)
pd.DataFrame(
    {"answer": run.model.predict(new), "score": score, "share beyond": beyond(run.model.manifest["tail"], score)}
)
