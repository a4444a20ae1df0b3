"""The neuron in the open: every number of a network

What happens inside a network when it answers, and when it learns? Nothing but weighted sums, a bend in each, and the
chain rule on the way back. Here all of it can be seen, first for one layer, then for a network trained on real data.
"""

# %%
# One layer of two neurons: `z = W x + b`, `a = φ(z)`.
import numpy as np

import everymodel as em

layer = em.neuron([2, 3], [[0.5, -1.2], [0.8, 0.7]], [0.1, -0.3], "sigmoid")
print("z =", layer["z"], " a =", layer["a"].round(6))

# %%
# With a target there is a loss, and with a loss there are gradients: delta is the slope of the loss by z, and the
# gradient of each weight is delta times the input that it weighs. A step against the gradient makes the loss smaller.
step = em.neuron([2, 3], [[0.5, -1.2], [0.8, 0.7]], [0.1, -0.3], "sigmoid", target=[0, 1], lr=0.5)
print("loss ", step["loss"])
print("delta", step["delta"])
print("new W\n", step["new_W"])
after = em.neuron([2, 3], step["new_W"], step["new_b"], "sigmoid", target=[0, 1])
print("loss after the step", after["loss"])

# %%
# A network is layers of layers. `grad_x` of the output layer is where the hidden layer's way back begins, and that is
# all of backpropagation. Two layers learn what one cannot: exclusive or.
random = np.random.default_rng(0)
X, t = np.array([[0, 0], [0, 1], [1, 0], [1, 1]]), np.array([[0], [1], [1], [0]])
W, b, V, c = random.normal(size=(4, 2)), np.zeros(4), random.normal(size=(1, 4)), np.zeros(1)
for step in range(401):
    hidden = em.neuron(X, W, b, "tanh")
    out = em.neuron(hidden["a"], V, c, "sigmoid", target=t, lr=1.0)
    delta = out["grad_x"] * (1 - hidden["a"] ** 2)  # through the bend: tanh'(z) = 1 - a²
    W, b = W - 1.0 * delta.T @ X, b - 1.0 * delta.sum(axis=0)
    V, c = out["new_W"], out["new_b"]
    if step % 100 == 0:
        print(f"step {step:3}: loss {out['loss']:.4f}, answers {out['a'].ravel().round(2)}")

# %%
# The same for a network that was searched for and trained: the wine that it is least sure of, from its cells to the
# weights after one step.
table = em.read("sample:wine").frame
run = em.fit(table, target="cultivar", models=["multilayer_perceptron"], budget="20s", trials=1, seed=0, progress=False)
unsure = run.model.predict_proba(table).max(axis=1).to_numpy().argmin()
trace = run.model.trace(table.iloc[[unsure]], lr=0.01)
print(trace.text(neurons=3))

# %%
# All numbers as a table, to compute with: which neurons of the first layer does this row train most?
numbers = trace.frame()
first = numbers[(numbers["layer"] == 1) & (numbers["quantity"] == "delta")]
print(first.reindex(first["value"].abs().sort_values(ascending=False).index).head(3))

# %%
# `everymodel trace wine.em rows.csv --row 100 --html row.html` writes the same as a page. And the loss around the
# trained weights, along two random directions, with the network in the middle:
figure = em.landscape(run.model, table)
