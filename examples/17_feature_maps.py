"""What a convolutional network sees

The maps of one image after each convolution, activation and pooling, and where in the image the network looked for its
answer (Grad-CAM). The same from a saved model: `everymodel layers MODEL.em image.png -o maps.png`.
"""

# %%
import numpy as np
from sklearn.datasets import load_digits

import everymodel as em
from everymodel.models.neural.convolutional import pack
from everymodel.workflow.evaluate.feature_maps import of_network

digits = load_digits()
images = np.rint(digits.images * 15.9).astype(np.uint8)
model = em.ConvolutionalClassifier(width=16, epochs=15, random_state=0).fit(images[:1500], digits.target[:1500])
print(f"accuracy on the others: {model.score(images[1500:], digits.target[1500:]):.1%}")

# %%
# All of it is computed in numpy, from what a model file holds.
maps = of_network(pack(model), images[1500:1501], labels=[str(c) for c in model.classes_])
for layer in maps:
    print(f"{layer.title:<45} mean {layer.values.mean():6.2f}")

# %%
maps.figure(channels=10)

# %%
# Where would it look for another digit?
other = of_network(pack(model), images[1500:1501], labels=[str(c) for c in model.classes_], target=8)
print(np.round(other.heat, 1))
