"""Regression with honest intervals: how far can the answer be off?"""

# %%
# 442 patients; the target is the progression of diabetes one year later. The data are noisy, so a bare number would
# promise too much.
import everymodel as em

table = em.read("sample:diabetes").frame
train, new = table.iloc[:400], table.iloc[400:]
run = em.fit(train, target="progression", budget="15s", seed=0)
print(run.headline)

# %%
# Intervals are conformal: half-widths are quantiles of out-of-fold residuals, so that about 90 % of new rows fall
# inside a 90 % interval whatever the model is.
answers = run.model.predict_interval(new, level=0.9)
answers.assign(truth=new["progression"]).head(8)

# %%
# On the 42 rows that we kept out ourselves:
low, high = answers.iloc[:, -2], answers.iloc[:, -1]
inside = (new["progression"] >= low) & (new["progression"] <= high)
print(f"{inside.mean():.0%} of {len(new)} new rows lie inside their interval")
