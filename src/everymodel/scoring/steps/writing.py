"""What writes texts: token after token, each drawn by what a network says comes next."""

from __future__ import annotations

import codecs
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from everymodel.core.errors import CapabilityError, DataError, ParameterError
from everymodel.core.schema import Column
from everymodel.scoring.layers import base
from everymodel.scoring.layers.alphabet import Alphabet
from everymodel.scoring.layers.base import Layer
from everymodel.scoring.layers.transformer import LanguageModel, Reading
from everymodel.scoring.steps.base import Step, need, step
from everymodel.scoring.steps.generating import PROOF, Sampler

LONGEST = 100_000  # tokens of one sample
_TOGETHER = 64  # texts that are written side by side
_STEPS = 512  # tokens of a prompt or a text that are read at once
_SEEN = 24  # tokens that a file is checked with
PLAIN = {"system": "{text}\n\n", "user": "User: {text}\n", "assistant": "Assistant: {text}\n"}
ROLES = tuple(PLAIN)


@step("text_generator", output="samples")
class TextWriter(Sampler):
    """p(text) = Π p(token | tokens before it), by a network over an alphabet.

    documents : whether it learnt texts with a beginning and an end, rather than parts of one long text.
    begin : id before the first token. usual : tokens of a sample where no length is asked for.
    template : what is put around what is said in a chat, by role; {} for plain lines.
    """

    network: Layer
    alphabet: Layer
    begin: int
    documents: bool = False
    usual: int = 300
    template: Mapping[str, str] | None = None
    makes: ClassVar[str] = "texts"

    @property
    def tolerance(self) -> float:  # type: ignore[override]
        return 1e-3

    def columns(self) -> tuple[Column, ...]:
        return (Column("text", "text"),)

    @property
    def context(self) -> int:
        """Tokens that are seen at once; 0: all."""
        return self.net.limit

    @property
    def net(self) -> LanguageModel:
        assert isinstance(self.network, LanguageModel)
        return self.network

    @property
    def letters(self) -> Alphabet:
        assert isinstance(self.alphabet, Alphabet)
        return self.alphabet

    # --- writing ---

    def draw(
        self, n: int, rng: np.random.Generator, condition: Any, truncation: float | None, **options: Any
    ) -> list[str]:
        """`n` texts; a prompt, or one for each, comes first and is part of what is given back.

        Options
        -------
        length : most tokens to write. temperature : below 1 the likely becomes likelier, 0 takes the likeliest.
        top_k, top_p : draws among the k likeliest, or the likeliest that together have probability p.
        stop : text, or texts, before which a sample ends.
        """
        if truncation is not None:
            raise CapabilityError("Texts have no truncation: give temperature, top_k or top_p.")
        how = Draw.of(options, self.usual)
        several = isinstance(condition, list | tuple | np.ndarray)
        prompts = list(condition) if several else [condition] * n
        if len(prompts) != n or not all(p is None or isinstance(p, str) for p in prompts):
            raise ParameterError(f"A prompt is a text, or {n} texts for {n} samples; {condition!r:.80} came.")
        places: dict[str, list[int]] = {}
        for i, prompt in enumerate(prompts):
            places.setdefault(prompt or "", []).append(i)
        made = [""] * n
        self._warn("".join(places))
        for prompt, rows in places.items():
            for low in range(0, len(rows), _TOGETHER):
                some = rows[low : low + _TOGETHER]
                for row, text in zip(some, self._write(prompt, len(some), rng, how)):
                    made[row] = text
        return made

    def _write(self, prompt: str, n: int, rng: np.random.Generator, how: Draw) -> list[str]:
        threads = [Thread(self.letters, how.stop) for _ in range(n)]
        for tokens in self.tokens(prompt, n, rng, how):
            for thread, token in zip(threads, tokens):
                thread.add(token)
            if all(thread.over for thread in threads):
                break
        return [prompt + thread.close() for thread in threads]

    def stream(self, prompt: str = "", *, seed: int | None = None, **options: Any) -> Iterator[str]:
        """What is written after the prompt, piece by piece; the options are those of `sample`. A `Stream` also says how
        it ended.
        """
        made = Stream(self, prompt, seed, options)
        self._warn(prompt)
        return iter(made)

    def _warn(self, prompt: str) -> None:
        strange = self.letters.strange(prompt)
        if strange:
            told = ", ".join(map(repr, strange[:8]))
            warnings.warn(f"Characters that were never seen are read as unknown: {told}.", stacklevel=4)

    def tokens(self, prompt: str, n: int, rng: np.random.Generator, how: Draw) -> Iterator[list[int]]:
        """The next ids of `n` texts, step by step; -1 for a text that has ended."""
        net, letters = self.net, self.letters
        ids = self.ids(prompt)
        reading, scores = self._read(ids)
        reading, scores = reading.repeat(n), np.repeat(scores, n, axis=0)
        silent = list(letters.silent)
        if not self.documents and letters.end >= 0:
            silent.append(letters.end)
        tail = np.repeat(ids[None], n, axis=0)
        alive = np.ones(n, dtype=bool)
        for i in range(how.length):
            scores = scores.astype(np.float64)
            scores[:, silent] = -np.inf
            new = how.choose(scores, rng.random(n))
            if self.documents:
                alive &= new != letters.end
            yield np.where(alive, new, -1).tolist()
            if not alive.any() or i + 1 == how.length:
                return
            tail = np.concatenate([tail, new[:, None]], axis=1)
            if self.context and reading.places + 1 > self.context:  # half of what was seen is read anew
                reading = net.start()
                scores = net.advance(tail[:, -max(self.context // 2, 1) :], reading)
            else:
                scores = net.advance(new[:, None], reading)

    def ids(self, prompt: str) -> np.ndarray:
        """(t,) ids of a prompt, after what every text begins with; a prompt that is too long loses its beginning."""
        ids = self.letters.read(prompt)
        if self.begin >= 0 and (self.documents or not len(ids)):
            ids = np.concatenate([[self.begin], ids])
        return ids

    def _read(self, ids: np.ndarray) -> tuple[Reading, np.ndarray]:
        """Where the network is after these ids, and its scores (1, v) of what comes next."""
        room = self.context
        if room and len(ids) > room:
            ids = ids[-max(room // 2, 1) :]
        reading = self.net.start()
        rest = (len(ids) - 1) // _STEPS * _STEPS
        for low in range(0, rest, _STEPS):
            self.net.advance(ids[None, low : low + _STEPS], reading)
        return reading, self.net.advance(ids[None, rest:], reading)

    # --- likelihood ---

    def score_samples(self, texts: Any) -> np.ndarray:
        """(n,) log-likelihood of each text per character, in nats; its end counts as a character where texts end."""
        return np.array([total / max(signs, 1) for total, signs, _ in self.likelihoods(texts)])

    def likelihoods(self, texts: Any) -> list[tuple[float, int, int]]:
        """(log-likelihood in nats, characters, tokens) of each text.

        Long texts are read in windows of the context that overlap by half, so that each token is judged with at least
        half a context before it.
        """
        texts = [texts] if isinstance(texts, str) else list(texts)
        made = []
        for text in texts:
            if not isinstance(text, str):
                raise DataError(f"{text!r:.80} is no text.")
            ids = self.letters.read(text)
            ends = self.documents and self.letters.end >= 0
            whole = np.concatenate([[self.begin] if self.begin >= 0 else [], ids, [self.letters.end] if ends else []])
            whole = whole.astype(np.int64)
            total = self._judge(whole)
            made.append((total, len(text) + ends, len(whole) - (self.begin >= 0)))
        return made

    def _judge(self, ids: np.ndarray) -> float:
        """Log-likelihood of ids (t,) but the first."""
        n = len(ids) - 1
        if n < 1:
            return 0.0
        net, window = self.net, self.context
        if not window:  # read on and on, with a memory
            reading, total = net.start(), 0.0
            for low in range(0, n, _STEPS):
                scores = net.advance(ids[None, low : min(low + _STEPS, n)], reading, last=False)
                total += _found(scores, ids[None, low + 1 : low + 1 + scores.shape[1]])
            return total
        total = _found(net(ids[None, : min(window, n)]), ids[None, 1 : min(window, n) + 1])
        half = max(window // 2, 1)
        starts = np.arange(window - half, n - window + 1, half)  # of windows of which the last `half` are new
        for low in range(0, len(starts), 16):
            places = starts[low : low + 16, None] + np.arange(window)
            new = window - half
            total += _found(net(ids[places])[:, new:], ids[places[:, new:] + 1])
        judged = min(window, n) if not len(starts) else int(starts[-1]) + window
        if judged < n:
            low = max(n - window, 0)
            total += _found(net(ids[None, low:n])[:, judged - low :], ids[None, judged + 1 : n + 1])
        return total

    def proof(self, seed: int) -> np.ndarray:
        ids = np.random.default_rng(seed).integers(self.net.size, size=min(_SEEN, self.context or _SEEN))
        scores = self.net(ids[None])[0, -1].astype(np.float64)  # (v,)
        return scores[:: max(len(scores) // PROOF, 1)][:PROOF]

    # --- chats ---

    def chat(self, messages: Sequence[Mapping[str, str]]) -> tuple[str, list[str]]:
        """(prompt, texts at which the answer ends) of what was said so far: {"role": ..., "content": ...}, ..."""
        form = self.template or PLAIN
        parts = []
        for message in messages:
            role, said = message.get("role"), message.get("content")
            if role not in ROLES or not isinstance(said, str):
                raise ParameterError(f"A message has a role ({', '.join(ROLES)}) and a content; {message!r:.80} came.")
            before, _, after = form[role].partition("{text}")
            parts.append(before + said.strip() + after)
        before, _, after = form["assistant"].partition("{text}")
        start = before.rstrip(" ") if after.startswith("\n") else before
        turn = form["user"].partition("{text}")[0].strip()
        stop = after.strip() or ("\n" + turn if turn else "")
        return "".join(parts) + start, [stop] if stop else []

    # --- the file ---

    _layers: ClassVar[tuple[str, ...]] = ("network", "alphabet")

    def spec(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        settings, arrays = Step.spec(replace(self, **dict.fromkeys(self._layers)))
        for name in self._layers:
            told, own = base.write(getattr(self, name))
            settings[name] = told
            arrays |= {f"{name}:{key}": array for key, array in own.items()}
        return settings, arrays

    @classmethod
    def build(cls, settings: dict[str, Any], arrays: dict[str, np.ndarray]) -> Step:
        settings = dict(settings)
        used: set[str] = set()
        for name in cls._layers:
            need(name in settings, "a text generator is described wrongly")
            own = {k.partition(":")[2]: a for k, a in arrays.items() if k.startswith(f"{name}:")}
            used |= {f"{name}:{k}" for k in own}
            settings[name] = base.read(settings[name], own)
        need(used == set(arrays), "a text generator has arrays that nothing uses")
        return super().build(settings, {})

    def check(self) -> None:
        need(isinstance(self.network, LanguageModel), "a text generator has no network")
        need(isinstance(self.alphabet, Alphabet), "a text generator has no alphabet")
        need(self.letters.size <= self.net.size, "the alphabet does not fit the network")
        need(type(self.documents) is bool, "a text generator is described wrongly")
        need(type(self.begin) is int and -1 <= self.begin < self.net.size, "a text generator's beginning is wrong")
        need(type(self.usual) is int and 0 < self.usual <= LONGEST, "a text generator's length is wrong")
        form = self.template
        if form is not None:
            good = isinstance(form, dict) and set(form) == set(ROLES)
            need(
                good and all(isinstance(v, str) and v.count("{text}") == 1 for v in form.values()),
                "a template is wrong",
            )


class Draw:
    """How tokens are drawn; made by `Draw.of` from the options of a sample, all of them checked."""

    def __init__(self, length: int, temperature: float, top_k: int | None, top_p: float | None, stop: list[str]):
        self.length, self.temperature, self.top_k, self.top_p, self.stop = length, temperature, top_k, top_p, stop

    @classmethod
    def of(cls, options: Mapping[str, Any], usual: int) -> Draw:
        known = ("length", "temperature", "top_k", "top_p", "stop")
        strange = sorted(set(options) - set(known))
        if strange:
            raise ParameterError(f"{strange[0]} is no option of texts: expected {', '.join(known)}.")
        length = _whole("length", options.get("length"), 1, LONGEST)
        temperature = _number("temperature", options.get("temperature"), 0.0, 100.0)
        stop = options.get("stop")
        stops = [stop] if isinstance(stop, str) else list(stop or [])
        if len(stops) > 64 or not all(isinstance(s, str) and s for s in stops):
            raise ParameterError(f"stop={stop!r:.80} came; expected a text, or up to 64 texts, none of them empty.")
        return cls(
            usual if length is None else int(length),
            1.0 if temperature is None else temperature,
            _whole("top_k", options.get("top_k"), 1, 1 << 31),
            _number("top_p", options.get("top_p"), 0.0, 1.0),
            stops,
        )

    def choose(self, scores: np.ndarray, draws: np.ndarray) -> np.ndarray:
        """(n,) ids by scores (n, v), each by a number from 0 to 1."""
        if self.temperature == 0:
            return scores.argmax(axis=1)
        scores = scores / self.temperature
        if self.top_k is not None and self.top_k < scores.shape[1]:
            least = np.partition(scores, -self.top_k, axis=1)[:, -self.top_k]
            scores = np.where(scores < least[:, None], -np.inf, scores)
        share = np.exp(scores - scores.max(axis=1, keepdims=True))
        share /= share.sum(axis=1, keepdims=True)
        if self.top_p is not None and self.top_p < 1:
            order = np.argsort(-share, axis=1, kind="stable")
            sums = np.cumsum(np.take_along_axis(share, order, axis=1), axis=1)
            out = np.concatenate([np.zeros((len(sums), 1), dtype=bool), sums[:, :-1] >= self.top_p], axis=1)
            np.put_along_axis(share, order, np.where(out, 0.0, np.take_along_axis(share, order, axis=1)), axis=1)
        sums = np.cumsum(share, axis=1)
        return np.minimum((sums < draws[:, None] * sums[:, -1:]).sum(axis=1), scores.shape[1] - 1)


class Thread:
    """One text while it is written: bytes become characters when they are whole, and stops are looked for."""

    def __init__(self, letters: Alphabet, stop: Sequence[str]):
        self.letters, self.stop = letters, stop
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.written, self.told, self.tokens = "", 0, 0
        self.over = False
        self.ended = "length"  # "stop" where it came to an end by itself or at a stop
        self.wait = max((len(s) for s in stop), default=1) - 1

    def add(self, token: int) -> str:
        """What can be told after one more token: text that no stop can begin in any more."""
        if self.over:
            return ""
        if token < 0:
            self.over, self.ended = True, "stop"
            return self._rest()
        self.tokens += 1
        return self._take(self.decoder.decode(self.letters.piece(token)))

    def _take(self, new: str) -> str:
        start = max(len(self.written) - self.wait, 0)
        self.written += new
        found = [at for s in self.stop if (at := self.written.find(s, start)) >= 0]
        if found:
            self.written = self.written[: min(found)]
            self.over, self.ended = True, "stop"
            return self._tell(len(self.written))
        held = max((k for s in self.stop for k in range(1, len(s)) if self.written.endswith(s[:k])), default=0)
        return self._tell(len(self.written) - held)

    def _tell(self, until: int) -> str:
        told, self.told = self.written[self.told : until], max(until, self.told)
        return told

    def _rest(self) -> str:
        self.written += self.decoder.decode(b"", final=True)
        return self._tell(len(self.written))

    def rest(self) -> str:
        """What is left to tell when no more tokens come."""
        return "" if self.over else self._rest()

    def close(self) -> str:
        """All that was written."""
        self.rest()
        return self.written


class Stream:
    """What is written after a prompt, piece by piece, and then how it ended.

    Attributes
    ----------
    prompt_tokens, tokens : how many were read and written. unseen : how many of the prompt, at its beginning, were
        left out because the prompt is longer than the context. strange : characters of the prompt that were never seen.
    ended : "stop" or "length".
    """

    def __init__(self, writer: TextWriter, prompt: str, seed: int | None, options: Mapping[str, Any]):
        if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int) or seed < 0):
            raise ParameterError(f"seed={seed!r} came; expected a whole number from 0, or None.")
        how = Draw.of(options, writer.usual)
        if not isinstance(prompt, str):
            raise ParameterError(f"The prompt {prompt!r:.80} is no text.")
        self.prompt_tokens, self.strange = len(writer.letters.read(prompt)), writer.letters.strange(prompt)
        room = writer.context
        self.unseen = max(self.prompt_tokens - max(room // 2, 1), 0) if room and self.prompt_tokens > room else 0
        self._thread = Thread(writer.letters, how.stop)
        self._steps = writer.tokens(prompt, 1, np.random.default_rng(seed), how)

    @property
    def tokens(self) -> int:
        return self._thread.tokens

    @property
    def ended(self) -> str:
        return self._thread.ended

    def __iter__(self) -> Iterator[str]:
        for tokens in self._steps:
            piece = self._thread.add(tokens[0])
            if piece:
                yield piece
            if self._thread.over:
                return
        piece = self._thread.rest()
        if piece:
            yield piece


def _found(scores: np.ndarray, wanted: np.ndarray) -> float:
    """Sum of the log-probabilities of what came (b, t), by scores (b, t, v)."""
    scores = scores.astype(np.float64)
    scores -= scores.max(axis=-1, keepdims=True)
    sums = np.log(np.exp(scores).sum(axis=-1))
    return float((np.take_along_axis(scores, wanted[..., None], axis=-1)[..., 0] - sums).sum())


def _whole(name: str, value: Any, low: int, high: int) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not low <= value <= high:
        raise ParameterError(f"{name}={value!r:.40} came; expected a whole number from {low} to {high:,}.")
    return int(value)


def _number(name: str, value: Any, low: float, high: float) -> float | None:
    if value is None:
        return None
    good = isinstance(value, int | float | np.number) and not isinstance(value, bool) and math.isfinite(value)
    if not good or not low <= value <= high or (name == "top_p" and value == 0):
        raise ParameterError(f"{name}={value!r:.40} came; expected a number from {low:g} to {high:g}.")
    return float(value)
