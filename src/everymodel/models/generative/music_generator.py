"""Music written frame by frame, and in each frame note by note, by a recurrent network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from everymodel.core.errors import DataError, ParameterError
from everymodel.core.seeds import derive
from everymodel.models.generative._base import Generative, fit
from everymodel.models.generative._music import ComposerNet, Frames, NextNote, quality
from everymodel.scoring.midi import Piece, as_pieces
from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.composing import MOST, Composer, Keys
from everymodel.training.device import quick
from everymodel.training.estimator import set_aside
from everymodel.training.optimizers import Optimizer

__all__ = ["CARD", "MusicGenerator", "evaluate", "fit", "pack"]

CARD = {
    "name": "music_generator",
    "title": "Music generator",
    "summary": "Writes music in the manner of pieces it was given: MIDI in, MIDI out, from a beginning if you like.",
    "choose": "MIDI files or chords of one style, from some twenty pieces on.",
    "avoid": "Sound recordings: it reads and writes notes.",
    "gives": ["samples"],
    "needs": {"package": "torch", "inputs": "music"},
    "cost": {"scale": 0.02, "rows_power": 0.3, "columns_power": 0.5},
    "references": [
        "Boulanger-Lewandowski, Bengio and Vincent (2012), Modeling temporal dependencies in high-dimensional "
        "sequences.",
        "Cho et al. (2014), Learning phrase representations using RNN encoder-decoder.",
    ],
    "advice": ["slow"],
    "priority": 10,
    "parameters": {
        "grid": {
            "type": "int",
            "default": 4,
            "low": 1,
            "high": 96,
            "tune": False,
            "text": "Frames of a quarter note; 4: semiquavers.",
        },
        "width": {"type": "int", "default": 256, "low": 8, "high": 8192, "log": True, "text": "Numbers in the memory."},
        "context": {
            "type": "int",
            "default": 64,
            "low": 4,
            "high": 4096,
            "log": True,
            "text": "Frames of a window that is learnt from at once.",
        },
        "transpose": {
            "type": "int",
            "default": 6,
            "low": 0,
            "high": 12,
            "text": "Most semitones up or down by which pieces are moved while learning.",
        },
        "dropout": {"default": 0.3},
        "steps": {"text": "Steps of training; none: 1,500, or as many as the budget allows."},
        "batch_size": {"default": 32, "text": "Windows in a step."},
        "learning_rate": {"default": 0.003},
        "weight_decay": {"default": 0.01},
        "optimizer": {"default": "adamw"},
        "validation_fraction": {"default": 0.1},
        "device": {},
    },
    "tiny": [
        {"width": 24, "context": 16, "steps": 80, "batch_size": 8, "grid": 1, "random_state": 0},
    ],
    "presets": [{}],
    "classes": {
        "generator": {"class": "everymodel.models.generative.music_generator:MusicGenerator", "tasks": ["generate"]},
    },
}  # fmt: skip

LONGEST = 20_000  # frames of a sample where no length is asked for


class MusicGenerator(Generative):
    """p(piece) = Π_t Π_k p(note_tk | lower notes of frame t, frames before t): chords as one, note by note.

    `fit` takes a folder of MIDI files, paths, piano rolls (T, 88), or lists of frames, each a list of pitches. `sample`
    gives pieces (`.frames`, `.save("tune.mid")`, `bytes(piece)`) that may go on from a beginning. A recurrent network
    reads the frames; each note also sees those below it, the voice that stood in its place, and how the lower voices
    moved; scores by steps in semitones are shared by all keys.

    Parameters
    ----------
    grid : frames of a quarter note to which MIDI files are brought; what frames that are given last.
    width : numbers in the memory. context : frames of a window that is learnt from at once.
    transpose : most semitones by which pieces are moved up or down while learning.
    steps : steps of training; None: 1,500, or as many as the budget allows. batch_size : windows in a step.
    dropout, learning_rate, weight_decay, optimizer : as for all networks.
    validation_fraction : share of the pieces that chooses the best weights; none of fewer than five pieces.
    budget, device, checkpoint, random_state, verbose : as for all networks.

    Attributes
    ----------
    step_, net_ (torch.nn.Module), history_, keys_ (pitches that it knows)

    Raises
    ------
    DataError
        when no piece can be read, or a frame has more than 24 notes.

    Examples
    --------
    >>> tune = [[48, 60, 64], [48, 60, 67], [43, 59, 62], [43, 55, 62]] * 6
    >>> model = MusicGenerator(width=32, context=16, steps=120, batch_size=8, grid=1, random_state=0).fit([tune] * 4)
    >>> piece = model.sample(1, [[48, 60, 64]], seed=0, length=7, temperature=0.5)[0]
    >>> len(piece.frames), piece.frames[0]
    (8, (48, 60, 64))
    """

    default_steps = 1_500

    def __init__(
        self,
        grid: int = 4,
        width: int = 256,
        context: int = 64,
        transpose: int = 6,
        dropout: float = 0.3,
        steps: int | None = None,
        batch_size: int = 32,
        learning_rate: float = 0.003,
        weight_decay: float = 0.01,
        optimizer: str = "adamw",
        validation_fraction: float = 0.1,
        budget: float | str | None = None,
        device: str = "auto",
        checkpoint: str | None = None,
        random_state: int | None = None,
        verbose: int = 0,
    ):
        self.grid = grid
        self.width = width
        self.context = context
        self.transpose = transpose
        self.dropout = dropout
        self.steps = steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.optimizer = optimizer
        self.validation_fraction = validation_fraction
        self.budget = budget
        self.device = device
        self.checkpoint = checkpoint
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None, *, valid: Any = None) -> MusicGenerator:
        """Learn from pieces: a folder, paths, rolls, or lists of frames. valid : pieces that choose the best weights,
        in place of a share of the others.
        """
        seed = self._seed()
        for name, least in (("grid", 1), ("width", 8), ("context", 4), ("transpose", 0), ("batch_size", 1)):
            if getattr(self, name) < least:
                raise ParameterError(f"{name}={getattr(self, name)!r} came; it must be {least} or more.")
        pieces, notes = as_pieces(X, self.grid)
        pieces, more = _usable(pieces)
        kept, held = list(pieces), [] if valid is None else _usable(as_pieces(valid, self.grid)[0])[0]
        if valid is None and self.validation_fraction and len(pieces) >= 5:
            rows, aside = set_aside(
                len(pieces), self.validation_fraction, np.random.default_rng(derive(seed, "validation"))
            )
            kept, held = [pieces[i] for i in rows], [pieces[i] for i in aside]
        self.keys_ = _keys([*pieces, *held], self.grid)
        context = min(self.context, max(map(len, kept)) + 1)
        with self._initial():
            net = ComposerNet(self.keys_, self.width, self.dropout)
        epochs = self._length(self.default_steps)
        shift = self.transpose
        self._train(
            NextNote(net),
            Frames(kept, self.keys_, context, self.batch_size, self.epoch_, shift),
            valid=Frames(held, self.keys_, context, 16, 1, 0) if held else None,
            stop=getattr(self, "_stop", None),
            threads=getattr(self, "_threads", None),
            epochs=epochs,
            schedule="warm_cosine",
            clip=1.0,
            precision=quick(self.device) if self.width >= 128 else "float32",
            half_life=0.01,
            optimizers=Optimizer(self.optimizer, self.learning_rate, self.weight_decay, betas=(0.9, 0.98)),
        )
        self.history_.notes[:0] = [*notes, *more]
        self.net_ = net.cpu()
        lengths = sorted(map(len, pieces))
        keys = self.keys_
        self.step_ = Composer(
            *net.parts().values(), net.table.detach().numpy().copy(), net.chosen.detach().numpy().copy(),
            keys.low, keys.count, keys.states, keys.bar, self.grid,
            float(np.median([piece.tempo for piece in pieces])),
            int(min(2 * lengths[int(0.99 * (len(lengths) - 1))], LONGEST)),
        )  # fmt: skip
        self.step_.check()
        return self

    # --- verbs ---

    def sample(
        self,
        n: int = 1,
        condition: Any = None,
        *,
        seed: int | None = None,
        truncation: float | None = None,
        **options: Any,
    ) -> list[Piece]:
        """`n` pieces; condition= how they begin (frames, a Piece, a path of a MIDI file); length=, temperature=,
        top_k=, top_p=. See `everymodel.scoring.steps.composing.Composer.draw`.
        """
        path = isinstance(condition, str) and not condition.startswith("data:")
        return super().sample(n, Path(condition) if path else condition, seed=seed, truncation=truncation, **options)

    def score_samples(self, pieces: Any) -> np.ndarray:
        """(n,) log-likelihood of each piece per frame, in nats."""
        return self._step().score_samples(self._cells(pieces))  # type: ignore[attr-defined]

    def _cells(self, X: Any) -> Any:
        return as_pieces(X, self.grid)[0]

    def evaluate(
        self, X: Any, y: Any = None, *, train: Any = None, n: int | None = None, seed: int = 0, **ignored: Any
    ) -> dict[str, float]:
        """How well held-out pieces are foretold, and how alike and how new samples are.

        Parameters
        ----------
        X : held-out pieces. train : those of the fit, to say what is copied. n : samples (as many as held out, 50).

        Returns
        -------
        nats_per_frame, nats_per_note : -log p of the held-out pieces, all frames together; and what `_music.quality`
        says of samples.
        """
        held, known = self._cells(X), None if train is None else self._cells(train)
        return evaluate(self._step(), held, seed, train=known, n=n)


def evaluate(
    step: Any, held: Any, seed: int = 0, *, train: list[Piece] | None = None, n: int | None = None
) -> dict[str, float]:
    """Figures of a step on held-out pieces."""
    pieces = as_pieces(held, step.grid)[0]
    told = [step.likelihood(piece) for piece in pieces]
    total, frames, notes = (sum(column) for column in zip(*told, strict=True))
    made = step.sample(n or min(max(len(pieces), 4), 50), seed=seed)
    figures = {"nats_per_frame": -total / max(frames, 1), "nats_per_note": -total / max(notes, 1)}
    return figures | quality(made, pieces, train)


def _usable(pieces: list[Piece]) -> tuple[list[Piece], list[str]]:
    full = [piece for piece in pieces if max(map(len, piece.frames)) <= MOST]
    if not full:
        raise DataError(f"All pieces have frames of more than {MOST} notes: give music with fewer at once.")
    if len({frame for piece in full for frame in piece.frames}) == 1:
        raise DataError("All frames are the same chord, so there is nothing to learn: give pieces that move.")
    lost = len(pieces) - len(full)
    return full, [f"{lost} pieces have frames of more than {MOST} notes and were left out."] if lost else []


def _keys(pieces: list[Piece], grid: int) -> Keys:
    """The keys of a piano, or all, where notes lie beyond; held notes are told apart where some piece does."""
    pitches = [p for piece in pieces for frame in piece.frames for p in frame]
    low, count = (21, 88) if min(pitches) >= 21 and max(pitches) <= 108 else (0, 128)
    states = 2 if any(piece.held is not None for piece in pieces) else 1
    return Keys(low, count, states, min(8 * grid, 128))


def pack(model: Any, n_classes: int | None = None) -> Step:
    """The numpy step that writes."""
    return model._step()
