"""Tunes from tunes

A model of music learns from pieces (here made by a small program; a folder of MIDI files does as well), goes on from a
beginning, and says which pieces are usual. A piece is a list of frames, each with the pitches that sound.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np

import everymodel as em

CHORDS = {"C": (48, 64, 67), "F": (53, 65, 69), "G": (55, 62, 71), "Am": (45, 60, 64)}
AFTER = {"C": ["F", "G", "Am"], "F": ["G", "C"], "G": ["C", "Am"], "Am": ["F", "G"]}


def tune(seed: int) -> list[list[int]]:
    """Twelve chords of two frames, above them a melody of their notes that moves by small steps."""
    rng = np.random.default_rng(seed)
    chord, top, frames = "C", 72, []
    for _ in range(12):
        for _ in range(2):
            notes = [p + 12 * k for p in CHORDS[chord] for k in (0, 1) if abs(p + 12 * k - top) < 6]
            top = int(rng.choice(notes)) if notes else top
            frames.append(sorted({*CHORDS[chord], top}))
        chord = str(rng.choice(AFTER[chord]))
    return frames


tunes = [tune(seed) for seed in range(80)]
model = em.MusicGenerator(grid=2, width=48, context=24, steps=150, learning_rate=0.01, random_state=0)
model.fit(tunes[:60])
piece = model.sample(1, tunes[70][:6], seed=1, length=18, temperature=0.8)[0]
print(piece)

# %%
# Bright: struck notes. The first six frames were given.
plt.figure(figsize=(8, 3))
plt.imshow(piece.roll(40, 84).T, origin="lower", aspect="auto", extent=(0, len(piece), 40, 84))
plt.axvline(6, color="white", linestyle="--")
plt.xlabel("frame")
plt.ylabel("pitch")
plt.show()

# %%
# Pieces it has not seen, in nats for each frame; overlaps of histograms, beside those of real pieces; the longest run
# of frames that was copied.
for name, value in model.evaluate(tunes[60:], train=tunes[:60]).items():
    print(f"{name:<20} {value:.2f}")

# %%
# A tune backwards is less usual than the tune.
print(model.score_samples([tunes[70], tunes[70][::-1]]).round(2))

# %%
# MIDI out, and one file that answers in numpy alone: `everymodel sample tunes.em -c begin.mid -o on.mid`.
piece.save("piece.mid")
em.wrap(model, tunes).save("tunes.em")
print(len(em.load("tunes.em").sample(1, seed=3)[0]), "frames")
