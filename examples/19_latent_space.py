"""A space behind the data

A variational autoencoder finds a few hidden numbers behind each image. They serve to compress, to walk from one image
to another, to make new ones, and to find odd ones.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import everymodel as em

digits = load_digits()
images = np.rint(digits.images * 15.9).astype(np.uint8)
model = em.VAE(latent_size=8, width=128, epochs=120, random_state=0).fit(images[:1500])
hidden = model.encode(images)  # 64 pixels in 8 numbers
print(hidden.shape, f"{model.history_.epochs[-1]['valid_active']} of 8 in use")

# %%
# From a 3 to an 8, and back from the hidden numbers to the images themselves.
three, eight = images[digits.target == 3][0], images[digits.target == 8][0]
way = model.interpolate(three, eight, steps=9)
figure, axes = plt.subplots(1, 9, figsize=(8, 1.2))
for ax, image in zip(axes, way):
    ax.imshow(image[:, :, 0], cmap="gray_r")
    ax.set_axis_off()
plt.show()

# %%
# Compressed eight to one, and new ones from draws.
back, made = model.reconstruct(images[1500:1508]), model.sample(8, seed=0)
figure, axes = plt.subplots(3, 8, figsize=(7, 2.8))
for row, batch in zip(axes, (images[1500:1508], back, made)):
    for ax, image in zip(row, batch):
        ax.imshow(image.reshape(8, 8), cmap="gray_r")
        ax.set_axis_off()
plt.show()

# %%
# How usual each image is: the evidence lower bound. Digits upside down should look odd.
scores, turned = model.score_samples(images[1500:]), model.score_samples(images[1500:, ::-1])
print(f"upright {scores.mean():.1f} nats, upside down {turned.mean():.1f}")
odd = images[1500:][np.argsort(scores)[:8]]
figure, axes = plt.subplots(1, 8, figsize=(7, 1.2))
for ax, image in zip(axes, odd):
    ax.imshow(image, cmap="gray_r")
    ax.set_axis_off()
plt.show()
