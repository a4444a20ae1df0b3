"""Customers without a label: which groups are there, are they real, what are they?"""

# %%
# The customers are made up, so that we know what is in the table: three kinds of people, an income with a long tail, a
# country, a date, a column with gaps, and a column that means nothing. No column says who is who.
import numpy as np
import pandas as pd

import everymodel as em

random = np.random.default_rng(0)
kind = random.choice(3, 900, p=[0.5, 0.3, 0.2])
days = random.integers(0, 1200, 900) + np.where(kind == 2, 1100, 0)
customers = pd.DataFrame(
    {
        "age": np.array([42, 67, 28])[kind] + random.normal(0, 5, 900).round(),
        "income": (np.exp(random.normal(10.2, 0.35, 900)) * np.where(kind == 1, 2.6, 1.0)).round(-2),
        "orders_per_year": random.poisson(np.array([4, 5, 22])[kind]),
        "country": np.where(
            (kind == 0) & (random.random(900) < 0.8), "Germany", random.choice(["France", "Italy"], 900)
        ),
        "signup": pd.Timestamp("2019-01-01") + pd.to_timedelta(days, unit="D"),
        "newsletter": np.where(random.random(900) < np.array([0.3, 0.1, 0.9])[kind], "yes", "no"),
        "phone_minutes": np.where((kind == 2) & (random.random(900) < 0.8), np.nan, random.normal(90, 20, 900)),
        "shoe_size": random.normal(42, 2, 900).round(),
    }
)
customers.head()

# %%
# No target is named, so groups are looked for: several methods, several numbers of groups, each judged by how clear the
# groups are and by whether other rows would have given the same ones.
run = em.fit(customers, budget="30s", seed=0)
print(run.headline)

# %%
# What the groups are. Names come from what sets a group apart from everybody else; the figures are the table's own.
pd.set_option("display.max_colwidth", None)
run.tables["segments"][["number", "name", "rows", "share", "sentence"]]

# %%
# The shortest rule that finds each group again, measured on rows that it was not made from:
for segment in run.model.segments:
    rule = segment["rule"]
    print(f"group {segment['number']}: {rule['text']}")
    print(f"    precision {rule['precision']:.2f}, recall {rule['recall']:.2f}, F1 {rule['f1']:.2f}")

# %%
# We know who is who, so we may look, this once, whether the groups are the planted ones. Nothing was learnt from it.
agreement = run.model.evaluate(customers.assign(kind=kind), target="kind")
print(agreement.headline)

# %%
# The file places new customers, says how sure it is, and why.
run.model.save("segments.em")
model = em.load("segments.em")
new = {
    "age": 26,
    "income": 21_000,
    "orders_per_year": 19,
    "country": "Italy",
    "signup": "2023-11-02",
    "newsletter": "yes",
    "phone_minutes": None,
    "shoe_size": 41,
}
group = model.predict(new)
print(group, model.segments[group]["name"], f"{model.predict_proba(new)[group]:.2f}")
pd.DataFrame(model.explain(new, top=4)[0]["contributions"])

# %%
# Where there is nothing, it says so:
crowd = pd.DataFrame(random.normal(size=(500, 4)), columns=["a", "b", "c", "d"])
print(em.fit(crowd, budget="20s", seed=0).headline)

# %%
# And a report for people who were not here:
path = run.report("segments.html")
print(path, round(path.stat().st_size / 1e6, 2), "MB, one file, no network")
