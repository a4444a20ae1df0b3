"""Learning from 50 labels: what the other rows are good for"""

# %%
# 1,200 pictures of digits, of which somebody has named 50. Leave the other cells of the target empty: rows without a
# label are then learnt from too, if that helps.
import numpy as np
import pandas as pd
from sklearn.datasets import load_digits

import everymodel as em

X, y = load_digits(return_X_y=True)
pictures = pd.DataFrame(X, columns=[f"pixel_{i // 8}_{i % 8}" for i in range(64)])
pictures["digit"] = [f"digit {v}" for v in y]
known, new = pictures.iloc[:1200].copy(), pictures.iloc[1200:]

random = np.random.default_rng(0)
named = np.concatenate([random.choice(np.flatnonzero(y[:1200] == d), 5, replace=False) for d in range(10)])
known.loc[np.setdiff1d(np.arange(1200), named), "digit"] = None
known["digit"].value_counts(dropna=False)

# %%
# The usual models learn from the 50 labelled rows; label spreading joins all rows to the most similar ones and lets the
# labels spread. Both are judged on labelled rows that they had not seen, and the run says what the others were worth.
run = em.fit(known, target="digit", models=["logistic", "label_spreading"], test_size=0, budget="30s", seed=0)
print(run.headline)
run.leaderboard[["model", "score", "weight"]]

# %%
# How right it is on pictures that were never part of it:
alone = em.LogisticRegression(max_iter=500).fit(X[named], y[named]).score(X[1200:], y[1200:])
answers = run.model.predict(new.drop(columns="digit"))
print(f"50 labels alone: {alone:.3f}   with 1,150 more pictures: {(answers == new['digit']).mean():.3f}")

# %%
# The same model by itself, as in scikit-learn: -1 stands for a row without a label.
few = np.where(np.isin(np.arange(1200), named), y[:1200], -1)
model = em.LabelSpreading(metric="learnt").fit(X[:1200], few)
print(f"{model.score(X[1200:], y[1200:]):.3f}, {model.reached_.mean():.0%} of the rows reached by a label")

# %%
# Where the other rows do not help, the run says so and keeps to the labels. How rows lie says nothing here.
noise = pd.DataFrame(random.normal(size=(400, 5)), columns=list("abcde"))
noise["answer"] = np.where(noise.a > noise.b, "yes", "no")
noise.loc[60:, "answer"] = None
run = em.fit(noise, target="answer", models=["logistic", "label_spreading"], test_size=0, budget="15s", seed=0)
print(run.headline)
