"""Larger images

A super-resolution model learns from large images what small ones lack. Two networks come of it: a faithful one with the
least error, and a vivid one that draws likely detail; `fidelity` blends them.
"""

# %%
import matplotlib.pyplot as plt
from sklearn.datasets import load_sample_image

import everymodel as em

china = load_sample_image("china.jpg")  # (427, 640, 3)
parts = [china[:200, :320], china[:200, 320:], china[200:400, :320]]
model = em.SRGAN(factor=2, width=16, blocks=2, steps=200, batch_size=8, random_state=0).fit(parts)
held = china[200:400, 320:]
for name, value in model.evaluate([held]).items():
    print(f"{name:<15} {value:.2f}")

# %%
small = held[60:110:1, 100:180]
figure, axes = plt.subplots(1, 3, figsize=(10, 2.6))
for ax, (title, image) in zip(
    axes, (("small", small), ("faithful", model.upscale(small, 1.0)), ("vivid", model.upscale(small, 0.0)))
):
    ax.imshow(image)
    ax.set_title(title)
    ax.set_axis_off()
plt.show()

# %%
# One file; `everymodel enhance photos.em small.png -o large.png` and POST /v1/enhance answer from it.
em.wrap(model, parts).save("photos.em")
em.load("photos.em").upscale(small).shape
