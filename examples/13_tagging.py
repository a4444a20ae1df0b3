"""Names and places: a tag for every word of a sentence"""

# %%
# Sentences with people and towns in them, and a tag for every word: B- begins a span, I- goes on with it, O is none.
import numpy as np
import pandas as pd

import everymodel as em

rng = np.random.default_rng(0)
first, last = ["Ann", "Bob", "Carla", "Dev", "Eva", "Finn"], ["Adams", "Brown", "Costa", "Diaz", "Evans"]
towns = ["Rome", "Oslo", "Lima", "New York", "Cape Town", "Tokyo"]


def sentence() -> list[tuple[str, str]]:
    person = [rng.choice(first)] + ([rng.choice(last)] if rng.random() < 0.6 else [])
    town = rng.choice(towns).split()
    named = [(w, "B-PER" if i == 0 else "I-PER") for i, w in enumerate(person)]
    placed = [(w, "B-LOC" if i == 0 else "I-LOC") for i, w in enumerate(town)]
    verb = [(w, "O") for w in rng.choice(["flew to", "comes from", "lives in", "does not know"]).split()]
    more = [(w, "O") for w in rng.choice(["last May", "with the children", "again", ""]).split()]
    return [*named, *verb, *placed, *more, (".", "O")]


rows = [(i, word, tag) for i in range(300) for word, tag in sentence()]
table = pd.DataFrame(rows, columns=["sentence", "word", "tag"])
table.head(6)

# %%
# Such tables are long: a row for each word. `sentences` groups them.
X, y = em.SequenceTagger.sentences(table)
model = em.SequenceTagger(hidden=16, epochs=5, learning_rate=0.02, device="cpu", random_state=0).fit(X[:240], y[:240])

# %%
# A span counts where both its ends and its type are right.
told = model.evaluate(X[240:], y[240:])
print(f"F1 of spans on 60 new sentences: {told['f1']:.1%}, right tags: {told['accuracy']:.1%}")
pd.DataFrame(told["types"]).T

# %%
# Texts are cut into words; neighbouring tags always fit together.
words = "Carla Brown lives in Cape Town again ."
for word, tag in zip(words.split(" "), model.predict([words])[0]):
    print(f"{word:8} {tag}")
