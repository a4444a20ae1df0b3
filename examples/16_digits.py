"""Handwritten digits from pixels

A table whose first column holds images. The search tries a convolutional network beside models that read a description
of each image in numbers, tests the best once on images that it never saw, and saves it in one file.
"""

# %%
import numpy as np
from sklearn.datasets import load_digits

import everymodel as em

digits = load_digits()
images = np.rint(digits.images * 15.9).astype(np.uint8)  # (1797, 8, 8)
table = {"image": list(images), "digit": [f"{d}" for d in digits.target]}
run = em.fit(table, target="digit", budget="90s", metric="accuracy", progress=False)
print(run.headline)
run.leaderboard

# %%
# The network by itself is scikit-learn's usual estimator. Were mirror images used? A check on the training rows says.
from sklearn.model_selection import train_test_split

X, new, y, true = train_test_split(images, digits.target, test_size=0.25, stratify=digits.target, random_state=0)
model = em.ConvolutionalClassifier(epochs=30, random_state=0).fit(X, y)
print(f"accuracy {model.score(new, true):.1%}, mirrored: {model.mirrors_ or 'no'}")

# %%
# The images that it is least sure of.
import matplotlib.pyplot as plt

shares = model.predict_proba(new)
doubtful = np.argsort(shares.max(axis=1))[:12]
figure, axes = plt.subplots(2, 6, figsize=(9, 3.4))
for ax, row in zip(axes.ravel(), doubtful):
    ax.imshow(new[row], cmap="gray_r")
    ax.set_title(f"{shares[row].argmax()} ({shares[row].max():.0%}), is {true[row]}", fontsize=8)
    ax.set_axis_off()
plt.show()

# %%
# How its training went.
model.history_.frame()[["epoch", "net", "rate", "seconds"]].tail()
