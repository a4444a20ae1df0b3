"""Which pixels, and which things: masks and boxes

Images with squares and round things on noise. One network says what each pixel is, another which things there are and
where; both are saved in files that answer with numpy alone.
"""

# %%
import json

import matplotlib.pyplot as plt
import numpy as np

import everymodel as em
from everymodel.testing.pixelwise import shapes

images, masks, things = shapes(64, side=24, seed=0)  # (64, 24, 24, 3), (64, 24, 24), boxes and labels of each
new, true_masks, true_things = shapes(24, side=24, seed=1)

segmentation = em.SegmentationNetwork(width=8, levels=2, epochs=10, random_state=0).fit(images, masks)
em.wrap(segmentation, images).save("areas.em")
detection = em.DetectionNetwork(width=12, levels=2, epochs=30, batch_size=16, random_state=0).fit(images, things)
em.wrap(detection, images).save("things.em")

# %%
# The files are held against images that no network saw. IoU: pixels that both call a class, over pixels that either
# does. The same from a table of paths: `everymodel evaluate areas.em truth.csv`, with columns `image` and `mask`.
areas, finder = em.load("areas.em"), em.load("things.em")
print({name: round(value, 3) for name, value in areas.evaluate(new, true_masks).items()})
print({name: round(value, 3) for name, value in finder.evaluate(new, true_things).items()})

# %%
# What they say of four of these images: the mask, what it should be, and the boxes with their scores.
figure, axes = plt.subplots(4, 4, figsize=(8, 8))
colours = {"square": "orange", "round": "deepskyblue"}
for row, (image, truth) in enumerate(zip(new[:4], true_masks)):
    axes[row, 0].imshow(image)
    axes[row, 1].imshow(areas.predict(image), vmin=0, vmax=2)
    axes[row, 2].imshow(truth, vmin=0, vmax=2)
    axes[row, 3].imshow(image)
    found = finder.predict(image)
    for (left, top, right, bottom), label, score in zip(found["boxes"], found["labels"], found["scores"]):
        box = plt.Rectangle((left, top), right - left, bottom - top, fill=False, color=colours[label])
        axes[row, 3].add_patch(box)
        axes[row, 3].text(left, top, f"{label} {score:.2f}", color="white", fontsize=7)
for ax, title in zip(axes[0], ("image", "mask", "truth", "things")):
    ax.set_title(title, fontsize=9)
for ax in axes.ravel():
    ax.set_axis_off()
plt.show()

# %%
# Images of another size are answered too.
wide = np.concatenate([new[0], new[1][:, :20]], axis=1)
print(areas.predict(wide).shape, json.dumps([str(label) for label in finder.predict(wide)["labels"]]))
