"""Digits that nobody wrote

A conditional GAN learns handwritten digits and makes new ones of the digit that is asked for. How near they come is
measured on digits that it never saw, without downloading a network: a small classifier learns the classes of the
training images, and images are compared in what it sees.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import everymodel as em

digits = load_digits()
images = np.rint(digits.images * 15.9).astype(np.uint8)  # (1797, 8, 8)
X, held, y, truth = train_test_split(images, digits.target, test_size=0.3, stratify=digits.target, random_state=0)
model = em.ConditionalGAN(width=16, steps=1500, random_state=0).fit(X, y)
made = model.sample(50, condition=np.repeat(np.arange(10), 5), seed=1)
figure, axes = plt.subplots(5, 10, figsize=(7, 3.6))
for i, ax in enumerate(axes.T.ravel()):
    ax.imshow(made[i, :, :, 0], cmap="gray_r")
    ax.set_axis_off()
plt.show()

# %%
# Names that end in _real are what real digits reach. agreement: samples that a classifier reads as asked; cas: what a
# classifier trained on samples alone gets right on real digits; copied: .5 where nothing was copied.
figures = model.evaluate(held, truth, train=X, train_labels=y, steps=300)
for name in ("coverage", "density", "frechet", "agreement", "cas", "copied"):
    real = f"   real {figures[f'{name}_real']:.3f}" if f"{name}_real" in figures else ""
    print(f"{name:<10} {figures[name]:.3f}{real}")

# %%
# The same draws at different times of the fit, and how the game went.
strip = model.film_[:: max(len(model.film_) // 6, 1)][:6]
figure, axes = plt.subplots(len(strip), 8, figsize=(5, 0.7 * len(strip)))
for row, (at, frame) in zip(axes, strip):
    for ax, image in zip(row, frame):
        ax.imshow(image[:, :, 0], cmap="gray_r")
        ax.set_axis_off()
    row[0].set_title(f"{at:.0%}", fontsize=7, loc="left")
plt.show()
model.history_.frame()[["epoch", "critic", "generator", "valid_loss", "valid_coverage"]].tail()
