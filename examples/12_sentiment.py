"""What customers think: a recurrent network that reads sentences"""

# %%
# Reviews are made here from a small grammar in which a word such as "not" turns the meaning round, so that counting
# words is not enough: "not good" and "not bad" hold the same words as their opposites.
import numpy as np

import everymodel as em

rng = np.random.default_rng(0)
good, bad = ["good", "great", "tasty", "quick", "friendly"], ["bad", "awful", "stale", "slow", "rude"]
things = ["food", "service", "soup", "waiter", "coffee", "evening"]


def review() -> tuple[str, str]:
    praise, turned = rng.random() < 0.5, rng.random() < 0.4
    word = rng.choice(good if praise else bad)
    start = rng.choice(["The", "I think the", "Honestly, the", "We say: the"])
    middle = rng.choice(["was", "is", "had always been"])
    text = f"{start} {rng.choice(things)} {middle} {'not ' if turned else ''}{word}{rng.choice(['.', '!', '...'])}"
    return text, "likes it" if praise != turned else "does not"


texts, opinions = zip(*(review() for _ in range(600)))
print(texts[0], "->", opinions[0])

# %%
# The network reads each sentence from both ends. Words it has never met are known by their runs of characters.
model = em.RecurrentClassifier(hidden=24, epochs=10, learning_rate=0.01, dropout=0.1, device="cpu", random_state=0)
model.fit(list(texts[:450]), opinions[:450])
print(f"right on 150 new sentences: {model.score(list(texts[450:]), opinions[450:]):.1%}")
model.history_.frame().tail(3)

# %%
# Odd cells get an answer too: nothing, other letters, very long texts.
for text in ("The soup was not awful.", "The soup was not great.", "", "スープ 🍜"):
    print(f"{text!r:28} {model.predict([text])[0]:10} {model.predict_proba([text]).max():.2f}")

# %%
# The fitted model becomes one file that holds its vocabulary and weights, and answers from raw text with numpy alone.
em.wrap(model, list(texts), target="opinion").save("opinion.em")
print(em.load("opinion.em").predict({"text": "Honestly, the waiter was not rude."}))

# %%
# Series of numbers are read in the same way: here, whether a bump comes early or late; lengths differ.
late = rng.integers(0, 2, 300)
series = [rng.normal(size=(int(rng.integers(15, 25)), 1)) * 0.3 for _ in late]
for x, end in zip(series, late):
    x[-4 if end else 3] += 3
bumps = em.RecurrentClassifier(cell="gru", hidden=8, epochs=8, learning_rate=0.03, device="cpu", random_state=0)
bumps.fit(series[:200], late[:200])
print(f"right on 100 new series: {bumps.score(series[200:], late[200:]):.0%}")
