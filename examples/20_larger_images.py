"""Larger images

A super-resolution model learns from large images what small ones lack. Two networks come of it: a faithful one with the
least error, and a vivid one that draws likely detail; `fidelity` blends them.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_image

import everymodel as em

photo = load_sample_image("flower.jpg")  # (427, 640, 3)
parts = [photo[:200, :320], photo[:200, 320:], photo[200:400, :320]]
model = em.SRGAN(factor=4, width=16, blocks=3, steps=600, batch_size=8, random_state=0).fit(parts)
held = photo[200:400, 320:]
for name, value in model.evaluate([held]).items():
    print(f"{name:<15} {value:.2f}")

# %%
small = np.asarray(Image.fromarray(held).resize((80, 50), Image.Resampling.BICUBIC))
large = Image.fromarray(small).resize((320, 200), Image.Resampling.BICUBIC)
shown = {
    "bicubic": np.asarray(large),
    "faithful": model.upscale(small, 1.0),
    "vivid": model.upscale(small, 0.0),
    "true": held,
}
figure, axes = plt.subplots(1, 4, figsize=(12, 2.4))
for ax, (title, image) in zip(axes, shown.items()):
    ax.imshow(image[20:120, :140])
    ax.set_title(title)
    ax.set_axis_off()
plt.show()

# %%
# One file; `everymodel enhance photos.em small.png -o large.png` and POST /v1/enhance answer from it.
em.wrap(model, parts).save("photos.em")
em.load("photos.em").upscale(small).shape
