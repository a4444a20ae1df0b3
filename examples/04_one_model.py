"""One model by itself: which measurements matter?"""

# %%
# Every model of the catalogue can be used by itself, with scikit-learn's interface. The lasso sets the weights of
# columns that add nothing to zero.
from sklearn.datasets import load_diabetes
from sklearn.preprocessing import StandardScaler

from everymodel import Lasso

X, y = load_diabetes(return_X_y=True, as_frame=True)
model = Lasso(alpha=2.0).fit(StandardScaler().fit_transform(X), y)
kept = {name: round(float(w), 2) for name, w in zip(X.columns, model.coef_) if w}
print(f"{len(kept)} of {X.shape[1]} columns kept: {kept}")

# %%
# Drawn:
from matplotlib.figure import Figure

figure = Figure(figsize=(6, 3))
axes = figure.add_subplot()
axes.barh(list(X.columns), model.coef_)
axes.set_xlabel("weight on the standardised column")
figure
