"""A dirty table: what is found, what is repaired, what is left out"""

# %%
# Real tables come with currency signs, three ways to say "missing", an identifier, and a column that was filled in
# after the outcome was known. This one is made so that each is present.
import numpy as np
import pandas as pd

import everymodel as em

random = np.random.default_rng(0)
n = 600
income = random.lognormal(10, 0.5, n)
region = random.choice(["north", "south", "east", "west"], n)
late = (income < 20_000).astype(int) ^ (random.uniform(size=n) < 0.15)
table = pd.DataFrame(
    {
        "customer": [f"C{i:05d}" for i in range(n)],
        "income": [f"${v:,.0f}" if i % 9 else "n/a" for i, v in enumerate(income)],
        "region": region,
        "since": pd.date_range("2015-01-01", periods=n, freq="D").strftime("%d.%m.%Y"),
        "reminder_sent": np.where(late == 1, "yes", "no"),
        "late": late,
    }
)
table.head()

# %%
found = em.look(table, target="late")
for finding in found.findings:
    print(f"{finding.severity:8} {finding.code:22} {finding.message}")

# %%
# The column that gives the target away is left out and named. Other tools would report a perfect score here.
run = em.fit(table, target="late", budget="15s", seed=0)
print(run.headline)
