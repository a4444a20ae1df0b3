"""What writes music: frame after frame, and in each frame note after note from the lowest to the highest."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from everymodel.core.errors import CapabilityError, DataError, ParameterError
from everymodel.scoring.layers import base
from everymodel.scoring.layers.base import Layer
from everymodel.scoring.layers.feed import Dense, Sequential
from everymodel.scoring.layers.recurrence import Recurrent
from everymodel.scoring.midi import FRAMES, GRID, Piece, as_piece
from everymodel.scoring.steps.base import Step, need, step
from everymodel.scoring.steps.generating import PROOF, Sampler
from everymodel.scoring.steps.writing import Draw

PREVIOUS, ABOVE, LEAP = 16, 28, 24  # semitones around the note before, above the note below, and of features
MOST = 24  # notes in a frame
_TOGETHER = 64  # pieces that are written side by side
_ROOM = 1 << 18  # frames that are written side by side
_SEEN = 12  # frames that a file is checked with
_TOKENS = 4096  # notes that are judged at once
_DATA = "data:audio/midi;base64,"


@dataclass(frozen=True)
class Keys:
    """The numbers of notes: `count` pitches from `low` on, each struck or, where there are `states` = 2, held.

    A note is state * count + pitch - low, the end of a frame `end`. bar : frames after which places repeat.
    """

    low: int
    count: int
    states: int
    bar: int

    @property
    def notes(self) -> int:
        return self.count * self.states

    @property
    def end(self) -> int:
        return self.notes

    @property
    def features(self) -> tuple[int, ...]:
        """Values of each feature of `look`; they lie one after the other in the table of vectors."""
        p, leap = self.count + 1, 2 * LEAP + 2
        return (self.notes + 1, MOST + 1, p, p, p, leap, leap, leap, leap)

    def widths(self) -> tuple[int, int, int]:
        """Scores by pitch and end, by step from the note before, and by step from the note below."""
        return self.notes + 1, self.states * (2 * PREVIOUS + 1), self.states * ABOVE

    def read(self, piece: Piece, shift: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """(T, MOST) pitches from 0 on, ascending, -1 where there is none; (T, MOST) states.

        Raises
        ------
        DataError
            for pitches beyond the keys, and more than `MOST` notes in a frame.
        """
        pitches = np.full((len(piece), MOST), -1, dtype=np.int64)
        states = np.zeros((len(piece), MOST), dtype=np.int64)
        for t, frame in enumerate(piece.frames):
            if len(frame) > MOST:
                raise DataError(f"Frame {t} has {len(frame)} notes; at most {MOST} sound at once.")
            pitches[t, : len(frame)] = frame
            if self.states > 1 and piece.held is not None and t:
                states[t, : len(frame)] = [p in piece.held[t] and p in piece.frames[t - 1] for p in frame]
        known = pitches >= 0
        pitches[known] += shift - self.low
        if (pitches[known] < 0).any() or (pitches[known] >= self.count).any():
            raise DataError(f"A pitch lies beyond {self.low} to {self.low + self.count - 1}, which this model knows.")
        return pitches, states

    def roll(self, pitches: np.ndarray, states: np.ndarray) -> np.ndarray:
        """(..., notes) float32 zeros and ones of notes (..., k)."""
        where = np.where(pitches < 0, self.notes, states * self.count + pitches)
        made = np.zeros((*pitches.shape[:-1], self.notes + 1), dtype=np.float32)
        np.put_along_axis(made, where, 1.0, axis=-1)
        return made[..., :-1]

    @property
    def inputs(self) -> int:
        """Numbers of a frame: its notes, the place in the bar, and whether the piece is in its own key."""
        return self.notes + self.bar + 1

    def places(self, first: int, count: int) -> np.ndarray:
        """(count, bar + 1) float32: the place in the bar of each frame from number `first` on; its own key."""
        made = np.zeros((count, self.bar + 1), dtype=np.float32)
        made[np.arange(count), (first + np.arange(count)) % self.bar] = 1.0
        made[:, -1] = 1.0
        return made

    def look(
        self, k: np.ndarray, now: np.ndarray, last_state: np.ndarray, before: np.ndarray, earlier: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """What note number k (n,) of a frame depends on beside the state of the network.

        now, before, earlier : (n, MOST) pitches of this frame, the one before and the one before that, -1 for none.
        last_state : (n,) of the last note.

        Returns
        -------
        ids (n, features) rows of the table; chosen (n, count) ones for pitches chosen so far; anchor (n,) the note of
        the frame before that stands at this place, -1 for none; last (n,) the note below, -1 for none.
        """
        rows = np.arange(len(k))

        def at(frame: np.ndarray, place: np.ndarray) -> np.ndarray:
            inside = (place >= 0) & (place < MOST)
            return np.where(inside, frame[rows, np.clip(place, 0, MOST - 1)], -1)

        def leap(to: np.ndarray, of: np.ndarray) -> np.ndarray:
            none = (to < 0) | (of < 0)
            return np.where(none, 2 * LEAP + 1, np.clip(to - of, -LEAP, LEAP) + LEAP)

        last, anchor, bass = at(now, k - 1), at(before, k), np.where(k > 0, now[:, 0], -1)
        above = np.where(before > last[:, None], before, 1 << 20).min(axis=1)
        above = np.where(above < 1 << 20, above, -1)
        none = self.count
        told = (
            np.where(last < 0, self.notes, last_state * self.count + last),
            np.minimum(k, MOST),
            *(np.where(a < 0, none, a) for a in (anchor, at(before, k + 1), at(earlier, k))),
            leap(at(before, k - 1), last),  # how the voice below moved
            leap(anchor, last),
            leap(above, last),
            leap(last, bass),
        )
        offsets = np.concatenate([[0], np.cumsum(self.features)[:-1]])
        mine = np.where(np.arange(MOST) < k[:, None], now, -1)
        chosen = np.zeros((len(k), self.count + 1), dtype=np.float32)
        chosen[rows[:, None], np.where(mine < 0, self.count, mine)] = 1.0
        return np.stack(told, axis=1) + offsets, chosen[:, :-1], anchor, last

    def steps(self, anchor: np.ndarray, last: np.ndarray) -> np.ndarray:
        """(n, scores by step) the note that each score by step from the note before, and from the note below, is for.

        The number behind the end stands for none.
        """

        def of(first: np.ndarray, known: np.ndarray, many: int) -> list[np.ndarray]:
            pitch = first[:, None] + np.arange(many)
            good = (pitch >= 0) & (pitch < self.count) & known[:, None]
            return [np.where(good, pitch + s * self.count, self.end + 1) for s in range(self.states)]

        around = of(anchor - PREVIOUS, anchor >= 0, 2 * PREVIOUS + 1)
        return np.concatenate([*around, *of(last + 1, last >= 0, ABOVE)], axis=1)

    def allowed(self, last: np.ndarray, before: np.ndarray) -> np.ndarray:
        """(n, notes) whether a note may follow: above the note below, and held only where it sounded before."""
        free = np.arange(self.count) > last[:, None]
        if self.states == 1:
            return free
        sounded = np.zeros((len(last), self.count + 1), dtype=bool)
        sounded[np.arange(len(last))[:, None], np.where(before < 0, self.count, before)] = True
        return np.concatenate([free, free & sounded[:, :-1]], axis=1)


@step("music_generator", output="samples")
class Composer(Sampler):
    """p(piece) = Π_t Π_k p(note_tk | notes below it, frames before it), ascending notes, then the end of the frame.

    cell : recurrent layer over frames, from notes, the place in the bar and a one. join : from its state and the
        frame before to vectors. table (features, d) : vectors of what `Keys.look` finds. chosen (count, d) : vectors
        of the notes below. network : from the sum of these to scores. stop : from the state to the log-odds of the end.
    low, count, states, bar : of `Keys`. grid, tempo : of pieces. usual : most frames of a sample where no length is
        asked for. bias (1,) : of the end of a piece.
    """

    cell: Layer
    join: Layer
    network: Layer
    stop: Layer
    table: np.ndarray
    chosen: np.ndarray
    low: int
    count: int
    states: int
    bar: int
    grid: int = GRID
    tempo: float = 120.0
    usual: int = 200
    makes: ClassVar[str] = "pieces"

    @property
    def tolerance(self) -> float:  # type: ignore[override]
        return 1e-3

    @property
    def keys(self) -> Keys:
        return Keys(self.low, self.count, self.states, self.bar)

    # --- the network ---

    def _frames(self, x: np.ndarray, held: Any = None) -> tuple[np.ndarray, np.ndarray, Any]:
        """Vectors (b, T, d) of frames by inputs (b, T, inputs), log-odds of the end (b, T), and the state."""
        assert isinstance(self.cell, Recurrent)
        state, held = self.cell.advance(x, held)
        return self.join(np.concatenate([state, x], axis=-1)), self.stop(state)[..., 0], held

    def _scores(
        self, vector: np.ndarray, k: np.ndarray, now: np.ndarray, state: np.ndarray, before: np.ndarray,
        earlier: np.ndarray,
    ) -> np.ndarray:  # fmt: skip
        """(n, notes + 1) log-probabilities of the next note of frames with these vectors (n, d); see `Keys.look`."""
        keys = self.keys
        ids, chosen, anchor, last = keys.look(k, now, state, before, earlier)
        z = vector + self.table[ids].sum(axis=1) + chosen @ self.chosen
        made = self.network(z).astype(np.float64)
        plain, wide, _ = keys.widths()
        scores, places = made[:, :plain], keys.steps(anchor, last)
        for some, values in (
            (places[:, :wide], made[:, plain : plain + wide]),
            (places[:, wide:], made[:, plain + wide :]),
        ):
            more = np.zeros((len(made), plain + 1))
            np.put_along_axis(more, some, values, axis=1)
            scores += more[:, :-1]
        scores[:, :-1][~keys.allowed(last, before)] = -np.inf
        scores[k >= MOST, :-1] = -np.inf
        top = scores.max(axis=1, keepdims=True)
        return scores - top - np.log(np.exp(scores - top).sum(axis=1, keepdims=True))

    # --- writing ---

    def draw(
        self, n: int, rng: np.random.Generator, condition: Any, truncation: float | None, **options: Any
    ) -> list[Piece]:
        """`n` pieces.

        Parameters
        ----------
        condition : how they begin: frames (lists of pitches), a Piece, the bytes of a MIDI file (or these in base64
            after "data:audio/midi;base64,"), or its path (pathlib.Path). It is part of what is given back.

        Options
        -------
        length : frames to write after the beginning; by default the piece ends by itself. temperature : below 1 the
            likely becomes likelier, 0 takes the likeliest. top_k, top_p : draws among the k likeliest notes, or the
            likeliest that together have probability p.
        """
        if truncation is not None:
            raise CapabilityError("Music has no truncation: give temperature, top_k or top_p.")
        if "stop" in options:
            raise ParameterError("stop is no option of music: expected length, temperature, top_k, top_p.")
        how, ends = Draw.of(options, self.usual), options.get("length") is None
        begin = self.beginning(condition)
        made: list[Piece] = []
        together = max(min(_TOGETHER, _ROOM // (how.length + len(begin))), 1)
        for low in range(0, n, together):
            made += self._write(min(together, n - low), rng, begin, how, ends)
        return made

    def beginning(self, condition: Any) -> Piece:
        """What pieces begin with; an empty piece for None."""
        if condition is None:
            return Piece((), None, self.grid, self.tempo)
        if isinstance(condition, str):
            if not condition.startswith(_DATA):
                raise ParameterError(
                    f"condition={condition!r:.60} came; expected frames such as [[48, 60], [50]], the bytes of a MIDI "
                    f"file, its path (pathlib.Path), or {_DATA}..."
                )
            try:
                condition = base64.b64decode(condition[len(_DATA) :], validate=True)
            except (binascii.Error, ValueError):
                raise ParameterError(f"What stands behind {_DATA} is no base64.") from None
        return as_piece(condition, self.grid)

    def _write(self, n: int, rng: np.random.Generator, begin: Piece, how: Draw, ends: bool) -> list[Piece]:
        keys, first = self.keys, len(begin)
        length = first + how.length
        pitches = np.full((n, length + 2, MOST), -1, dtype=np.int64)  # two silent frames stand before the first
        states = np.zeros((n, length + 2, MOST), dtype=np.int64)
        pitches[:, 2 : first + 2], states[:, 2 : first + 2] = keys.read(begin)
        x = self._inputs(pitches[:, 1 : first + 2], states[:, 1 : first + 2], 0)  # (n, first + 1, inputs)
        vectors, stops, held = self._frames(x)
        over = np.full(n, length)
        for t in range(first, length):
            if t > first:
                x = self._inputs(pitches[:, t + 1 : t + 2], states[:, t + 1 : t + 2], t)
                vectors, stops, held = self._frames(x, held)
            if ends and t > max(first, 0):
                odds = stops[:, -1].astype(np.float64)
                over = np.where((over == length) & (rng.random(n) < 1 / (1 + np.exp(-odds))), t, over)
                if (over <= t).all():
                    break
            self._frame(t, pitches, states, vectors[:, -1], rng, how)
        return [self._piece(pitches[i, 2 : over[i] + 2], states[i, 2 : over[i] + 2], begin) for i in range(n)]

    def _inputs(self, pitches: np.ndarray, states: np.ndarray, first: int) -> np.ndarray:
        places = np.broadcast_to(self.keys.places(first, pitches.shape[1]), (*pitches.shape[:2], self.bar + 1))
        return np.concatenate([self.keys.roll(pitches, states), places], axis=2)

    def _frame(
        self, t: int, pitches: np.ndarray, states: np.ndarray, vectors: np.ndarray, rng: np.random.Generator, how: Draw
    ) -> None:
        """Draw the notes of frame t of each piece."""
        rows = np.arange(len(pitches))  # pieces whose frame goes on
        last = np.zeros(len(pitches), dtype=np.int64)
        for k in range(MOST + 1):
            now, before, earlier = (pitches[rows, t + i] for i in (2, 1, 0))
            scores = self._scores(vectors[rows], np.full(len(rows), k), now, last[rows], before, earlier)
            with np.errstate(invalid="ignore"):
                note = how.choose(scores, rng.random(len(pitches))[rows])
            on = note != self.keys.end
            rows, note = rows[on], note[on]
            if not len(rows):
                return
            last[rows] = note // self.count
            pitches[rows, t + 2, k], states[rows, t + 2, k] = note % self.count, last[rows]

    def _piece(self, pitches: np.ndarray, states: np.ndarray, begin: Piece) -> Piece:
        known = pitches >= 0
        frames = tuple(tuple((row[k] + self.low).tolist()) for row, k in zip(pitches, known))
        held = None
        if self.states > 1:
            held = tuple(tuple((row[k & (s > 0)] + self.low).tolist()) for row, k, s in zip(pitches, known, states))
        return Piece(frames, held, self.grid, begin.tempo if len(begin) else self.tempo)

    # --- likelihood ---

    def score_samples(self, pieces: Any) -> np.ndarray:
        """(n,) log-likelihood of each piece per frame, in nats; that it ends where it does is not counted."""
        told = [self.likelihood(as_piece(piece, self.grid)) for piece in pieces]
        return np.array([total / max(frames, 1) for total, frames, _ in told])

    def likelihood(self, piece: Piece) -> tuple[float, int, int]:
        """(log-likelihood of the frames in nats, frames, notes with the ends of frames) of a piece."""
        if not len(piece):
            return 0.0, 0, 0
        keys = self.keys
        pitches, states = keys.read(piece)
        quiet = np.full((2, MOST), -1, dtype=np.int64)
        pitches, states = np.concatenate([quiet, pitches]), np.concatenate([np.zeros_like(quiet), states])
        vectors = self._frames(self._inputs(pitches[None, 1:-1], states[None, 1:-1], 0))[0][0]  # (T, d)
        t, k = tokens(pitches[2:])
        wanted = wants(pitches[2:], states[2:], t, k, keys)
        total = 0.0
        for low in range(0, len(t), _TOKENS):
            a, b = t[low : low + _TOKENS], k[low : low + _TOKENS]
            last = np.where(b > 0, states[a + 2, np.maximum(b - 1, 0)], 0)
            scores = self._scores(vectors[a], b, pitches[a + 2], last, pitches[a + 1], pitches[a])
            total += float(scores[np.arange(len(a)), wanted[low : low + _TOKENS]].sum())
        return total, len(piece), len(t)

    def proof(self, seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        count = rng.integers(0, min(5, self.count) + 1, _SEEN)
        frames = tuple(tuple(sorted((rng.permutation(self.count)[:c] + self.low).tolist())) for c in count)
        pitches, states = self.keys.read(Piece(frames, None, self.grid))
        vectors, stops, _ = self._frames(self._inputs(pitches[None], states[None], 0))
        n = len(pitches)
        zeros, quiet = np.zeros(n, dtype=np.int64), np.full_like(pitches, -1)
        scores = self._scores(vectors[0], zeros, quiet, zeros, pitches, np.roll(pitches, 1, axis=0))[-1]
        told = np.concatenate([stops[0, -1:], scores[np.isfinite(scores)]])
        return np.resize(told[:: max(len(told) // PROOF, 1)], PROOF)

    # --- the file ---

    _layers: ClassVar[tuple[str, ...]] = ("cell", "join", "network", "stop")

    def spec(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        settings, arrays = Step.spec(replace(self, **dict.fromkeys(self._layers)))
        for name in self._layers:
            told, own = base.write(getattr(self, name))
            settings[name] = told
            arrays |= {f"{name}:{key}": array for key, array in own.items()}
        return settings, arrays

    @classmethod
    def build(cls, settings: dict[str, Any], arrays: dict[str, np.ndarray]) -> Step:
        settings, plain = dict(settings), {k: a for k, a in arrays.items() if ":" not in k}
        used = set(plain)
        for name in cls._layers:
            need(isinstance(settings, Mapping) and name in settings, "a composer is described wrongly")
            own = {k.partition(":")[2]: a for k, a in arrays.items() if k.startswith(f"{name}:")}
            used |= {f"{name}:{k}" for k in own}
            settings[name] = base.read(settings[name], own)
        need(used == set(arrays), "a composer has arrays that nothing uses")
        return super().build(settings, plain)

    def check(self) -> None:
        whole = (self.low, self.count, self.states, self.bar, self.grid, self.usual)
        need(all(type(v) is int for v in whole), "a composer is described wrongly")
        need(self.low >= 0 and self.count > 0 and self.low + self.count <= 128, "a composer's keys are wrong")
        need(self.states in (1, 2) and 0 < self.bar <= 4096, "a composer's keys are wrong")
        need(0 < self.grid <= 96 and 0 < self.usual <= FRAMES, "a composer's grid is wrong")
        need(isinstance(self.tempo, float | int) and 1 <= self.tempo <= 10_000, "a composer's tempo is wrong")
        cell, join, stop, network, keys = self.cell, self.join, self.stop, self.network, self.keys
        need(isinstance(cell, Recurrent) and not cell.reverse, "a composer has no memory")
        assert isinstance(cell, Recurrent)
        wide, h = keys.inputs, len(cell.state)
        need(cell.weight.shape[0] == wide, "a composer's memory does not fit")
        need(isinstance(join, Dense) and join.weight.shape[:-1] == (h + wide,), "a composer's vectors do not fit")
        need(isinstance(stop, Dense) and stop.weight.shape == (h, 1), "a composer's end does not fit")
        need(isinstance(network, Sequential), "a composer has no network")
        assert isinstance(join, Dense)
        d = join.weight.shape[1]
        for name, rows in (("table", sum(keys.features)), ("chosen", keys.count)):
            array = getattr(self, name)
            good = isinstance(array, np.ndarray) and array.dtype.kind == "f" and array.shape == (rows, d)
            need(good and bool(np.isfinite(array).all()), "a composer's vectors do not fit")
        try:
            made = network(np.zeros((1, d), dtype=self.table.dtype))
        except (ValueError, TypeError, IndexError, AttributeError) as error:
            need(False, f"a composer's network does not fit ({error})")
        else:
            need(made.shape == (1, sum(keys.widths())), "a composer's network does not fit")


def tokens(pitches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(frame, number in the frame), each (n,), of all notes of frames (T, MOST) and of the end of each frame."""
    sizes = (pitches >= 0).sum(axis=1) + 1
    t = np.repeat(np.arange(len(pitches)), sizes)
    return t, np.arange(len(t)) - np.repeat(np.cumsum(sizes) - sizes, sizes)


def wants(pitches: np.ndarray, states: np.ndarray, t: np.ndarray, k: np.ndarray, keys: Keys) -> np.ndarray:
    """(n,) the note that stands at each of these places, or the end of the frame."""
    place = np.minimum(k, MOST - 1)
    found = np.where(k < MOST, pitches[t, place], -1)
    return np.where(found < 0, keys.end, states[t, place] * keys.count + found)
