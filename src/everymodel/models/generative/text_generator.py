"""Text written character by character or piece by piece, by a small transformer or a recurrent network."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from everymodel.core.errors import DataError, ParameterError
from everymodel.core.memory import free_memory
from everymodel.models.generative._base import Generative, fit
from everymodel.models.generative._checkpoint import frozen, opened
from everymodel.models.generative._text import Corpus, NextToken, Windows, chunks, read, temperature
from everymodel.models.generative._text_quality import by_frequency, quality
from everymodel.scoring.layers.alphabet import Alphabet
from everymodel.scoring.steps.base import Step
from everymodel.scoring.steps.writing import PLAIN, ROLES, TextWriter
from everymodel.training.blocks.transformer import Block, LanguageNet, RecurrentBlock, adapt, merge, norm
from everymodel.training.blocks.written import written
from everymodel.training.device import choose, quick
from everymodel.training.loop import History
from everymodel.training.optimizers import Optimizer
from everymodel.training.source import Arrays

__all__ = ["CARD", "TextGenerator", "fit", "pack"]

CARD = {
    "name": "text_generator",
    "title": "Text generator",
    "summary": "Writes text in the manner of texts it was given, from scratch or by teaching a checkpoint you have.",
    "choose": "One long text or many short ones whose manner, names or form new texts shall have.",
    "avoid": "Facts and instructions: a model of a megabyte of text knows letters, words and forms, not the world.",
    "gives": ["samples"],
    "needs": {"package": "torch", "inputs": "text"},
    "cost": {"scale": 0.01, "rows_power": 0.2, "columns_power": 0.5},
    "references": [
        "Vaswani et al. (2017), Attention is all you need.",
        "Radford et al. (2019), Language models are unsupervised multitask learners.",
        "Hochreiter and Schmidhuber (1997), Long short-term memory.",
        "Guo, Pleiss, Sun and Weinberger (2017), On calibration of modern neural networks.",
    ],
    "advice": ["slow"],
    "priority": 10,
    "parameters": {
        "architecture": {
            "type": "choice",
            "default": "gpt",
            "choices": ["gpt", "lstm"],
            "text": "Blocks of attention, or a recurrent network.",
        },
        "tokens": {
            "type": "choice",
            "default": "characters",
            "choices": ["characters", "bytes", "bpe"],
            "text": "What is written one after the other: characters, bytes, or pieces of words.",
        },
        "vocabulary": {
            "type": "int",
            "default": 1024,
            "low": 257,
            "high": 200000,
            "log": True,
            "text": "Pieces of words, where tokens is bpe.",
        },
        "context": {
            "type": "int",
            "default": 128,
            "low": 8,
            "high": 65536,
            "log": True,
            "text": "Tokens that are seen at once.",
        },
        "width": {"type": "int", "default": 128, "low": 8, "high": 8192, "log": True, "text": "Numbers by token."},
        "depth": {"type": "int", "default": 4, "low": 1, "high": 64, "text": "Blocks one after the other."},
        "heads": {"type": "int", "default": None, "low": 1, "high": 256, "text": "Of attention; none: by width."},
        "dropout": {"default": 0.1},
        "steps": {"text": "Steps of training; none: 2,000, or as many as the budget allows."},
        "batch_size": {"default": 64, "text": "Windows of text in a step."},
        "learning_rate": {"default": None, "text": "Length of the longest step; none: usual for the optimizer."},
        "weight_decay": {"default": 0.0},
        "optimizer": {"default": "muon"},
        "validation_fraction": {"default": 0.05},
        "device": {},
    },
    "tiny": [
        {"width": 16, "depth": 1, "context": 16, "steps": 60, "batch_size": 8, "random_state": 0},
        {"architecture": "lstm", "width": 16, "depth": 1, "context": 16, "steps": 100, "batch_size": 8,
         "tokens": "bytes", "random_state": 1},
    ],
    "presets": [{}],
    "classes": {
        "generator": {"class": "everymodel.models.generative.text_generator:TextGenerator", "tasks": ["generate"]},
    },
}  # fmt: skip

_RATES = {"adamw": 2e-3, "adam": 2e-3}
_MUON = {"gpt": (0.02, 0.3), "lstm": (0.05, 0.15)}  # rate, and its factor for vectors of tokens and scores
_UNHEARD = 0.5  # share of the vectors of runs that are left out while learning
_RUNS = {"characters": (2, 3, 4, 5, 6), "bytes": (2, 3, 4, 5, 6), "bpe": (2,)}
_BUCKETS = (8, 16)  # least and most bits of the number of vectors for runs; one for 16 tokens of text in between


class TextGenerator(Generative):
    """p(text) = Π p(token | tokens before it): texts written token by token.

    `fit` takes one long text, many texts (names, verses, mails), or the path (`pathlib.Path`) of a file. `sample` gives
    texts that go on from a prompt; `stream` tells one piece by piece; `score_samples` says how likely texts are.

    Parameters
    ----------
    architecture : "gpt", blocks of causal attention with rotary places; or "lstm".
    tokens : "characters"; "bytes", for any file of any size; "bpe", pieces of words (needs the package tokenizers).
    vocabulary : pieces of words. context : tokens that are seen at once.
    width, depth, heads : numbers by token, blocks, heads of attention (None: of 32 to 64 numbers each).
    dropout : share of numbers left out while learning; the more, the more often the text is read. Where it is not 0,
        half of the vectors of runs of tokens are left out too.
    steps : steps of training; None: 2,000, or as many as the budget allows. batch_size : windows of `context` tokens.
    learning_rate, weight_decay, optimizer : see `everymodel.training.optimizers`.
    base : folder of a checkpoint in Hugging Face's form (GPT-2, Llama, Mistral, Qwen 2; weights in safetensors) that
        goes on learning; its vocabulary and shape then count. adapt : "lora", small matrices of `rank` rows beside its
        own (Hu et al. 2021), put into them at the end; "full", everything; "none", nothing: it answers as it is.
    validation_fraction : share of the text (its end, or some of the texts) that chooses the best weights.
    template : how a chat is written: {"system": ..., "user": ..., "assistant": ...}, each with {text}; None: lines
        "User: ..." and "Assistant: ...".
    budget, device, checkpoint, random_state, verbose : as for all networks.

    Attributes
    ----------
    step_, net_ (torch.nn.Module), history_, share_ (of the numbers, those that learnt)

    Raises
    ------
    DataError, ParameterError, NotInstalledError

    Examples
    --------
    >>> text = "the cat sat on the mat. the dog sat on the log. " * 40
    >>> model = TextGenerator(width=32, depth=1, context=32, steps=150, random_state=0).fit(text)
    >>> model.sample(1, "the cat", seed=0, length=8, temperature=0)[0]
    'the cat sat on '
    """

    default_steps = 2_000

    def __init__(
        self,
        architecture: str = "gpt",
        tokens: str = "characters",
        vocabulary: int = 1024,
        context: int = 128,
        width: int = 128,
        depth: int = 4,
        heads: int | None = None,
        dropout: float = 0.1,
        steps: int | None = None,
        batch_size: int = 64,
        learning_rate: float | None = None,
        weight_decay: float = 0.0,
        optimizer: str = "muon",
        base: str | None = None,
        adapt: str = "lora",
        rank: int = 8,
        validation_fraction: float = 0.05,
        template: Mapping[str, str] | None = None,
        budget: float | str | None = None,
        device: str = "auto",
        checkpoint: str | None = None,
        random_state: int | None = None,
        verbose: int = 0,
    ):
        self.architecture = architecture
        self.tokens = tokens
        self.vocabulary = vocabulary
        self.context = context
        self.width = width
        self.depth = depth
        self.heads = heads
        self.dropout = dropout
        self.steps = steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.optimizer = optimizer
        self.base = base
        self.adapt = adapt
        self.rank = rank
        self.validation_fraction = validation_fraction
        self.template = template
        self.budget = budget
        self.device = device
        self.checkpoint = checkpoint
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> TextGenerator:
        """Learn from a text, several texts, or the path of a file."""
        seed = self._seed()
        self._checked()
        base = None
        if self.base is not None:
            free = free_memory() if choose(self.device).type == "cpu" else None
            base = opened(self.base, self.adapt, self.batch_size * self.context, free)
        if base is not None and self.adapt == "none":
            self.history_, self.share_, self.net_ = History(), 0.0, base.net.eval()
            self._finish(base.alphabet, base.alphabet.end >= 0, base.alphabet.end, base.template)
            return self
        alphabet = None if base is None else base.alphabet
        corpus = read(X, self.tokens, self.vocabulary, self.validation_fraction, seed, alphabet)
        most = self.context if base is None else min(self.context, base.limit)
        context = min(most, max(len(corpus.ids) // 2, 4))
        corpus.notes += [base.needs] if base is not None else []
        if context < self.context:
            why = f"text has {len(corpus.ids)} tokens to learn from" if context < most else "checkpoint sees no more"
            corpus.notes.append(f"The {why}: {context} are seen at once, not {self.context}.")
        with self._initial():
            net = self._build(corpus, context) if base is None else base.net
            if base is not None:
                net.border, net.apart = (corpus.alphabet.end, True) if corpus.documents else (-1, False)
                if self.adapt == "lora":
                    adapt(net, self.rank)
        self.share_ = frozen(net)
        self._learn(net, corpus, context, base is not None)
        merge(net)
        self.net_ = net.cpu()
        if base is None:
            self._calibrate(chunks(corpus.held, context))
        letters = corpus.alphabet
        newline = letters.read("\n")
        first = int(newline[0]) if len(newline) else 0
        begin = letters.end if corpus.documents else first or int(np.bincount(corpus.ids[:100_000]).argmax())
        self._finish(letters, corpus.documents, begin, None if base is None else base.template, corpus.usual)
        return self

    def _learn(self, net: LanguageNet, corpus: Corpus, context: int, known: bool) -> None:
        epochs = self._length(self.default_steps)
        held = chunks(corpus.held, context)
        optimizer = "adamw" if known and self.optimizer == "muon" else self.optimizer
        rate, aside = _MUON[self.architecture] if optimizer == "muon" else (_RATES.get(optimizer, 0.1), 1.0)
        rate = self.learning_rate or (_LATER[self.adapt] if known else rate)
        before = None if held is None or not known else _judged(net, held)
        self._train(
            NextToken(net, corpus.signs),
            Windows(corpus.ids, context, self.batch_size, self.epoch_),
            valid=None if held is None else Arrays(held, batch=32, shuffle=False),
            stop=getattr(self, "_stop", None),
            threads=getattr(self, "_threads", None),
            epochs=epochs,
            schedule=_trapezoid,
            clip=1.0,
            precision=quick(self.device),
            optimizers=Optimizer(optimizer, rate, self.weight_decay, momentum=0.95, betas=(0.9, 0.95), aside=aside),
        )
        if before is not None and isinstance(self.history_.best_loss, float):
            told = f"Held-out text cost {before:.3f} nats a token before, {self.history_.best_loss:.3f} after."
            self.history_.notes.append(told)
        self.history_.notes[:0] = corpus.notes

    def _calibrate(self, held: torch.Tensor | None) -> None:
        """Divide the scores by the number for which held-back text costs least (Guo et al. 2017)."""
        found = temperature(self.net_, held)
        if found is None:
            return
        with torch.no_grad():
            self.net_.head.weight.div_(found)
        self.history_.notes.append(f"Scores are divided by {found:.2f}, for which held-back text costs least.")

    def _finish(
        self, letters: Alphabet, documents: bool, begin: int, template: Mapping[str, str] | None, usual: int = 300
    ) -> None:
        """The step that answers."""
        form = self.template or template
        kept = None if form is None else dict(form)
        self.step_ = TextWriter(written(self.net_), letters, begin, documents, usual, kept)
        self.step_.check()

    def _build(self, corpus: Corpus, context: int) -> LanguageNet:
        size, heads = self.width, self.heads or max(round(self.width / 48), 1)
        while size % (2 * heads) and self.heads is None and heads > 1:
            heads -= 1
        if size % (2 * heads):
            raise ParameterError(f"width={size} cannot be shared by {heads} heads of an even number each.")
        shared: dict[str, Any] = {
            "orders": _RUNS[self.tokens],
            "buckets": 1 << min(max((len(corpus.ids) // 16).bit_length(), _BUCKETS[0]), _BUCKETS[1]),
            "border": corpus.alphabet.end if corpus.documents else -1,
            "dropout": self.dropout,
            "unheard": _UNHEARD if self.dropout else 0.0,
        }
        tokens = corpus.alphabet.size
        if self.architecture == "lstm":
            blocks: list[nn.Module] = [RecurrentBlock("lstm", size, size, self.dropout) for _ in range(self.depth)]
            return LanguageNet(tokens, size, blocks, None, size, **shared)
        blocks = [Block(size, heads, 4 * size, dropout=self.dropout) for _ in range(self.depth)]
        last = norm(size, "rms", 1e-6)
        return LanguageNet(tokens, size, blocks, last, size, apart=corpus.documents, limit=context, **shared)

    def _checked(self) -> None:
        if self.architecture not in ("gpt", "lstm"):
            raise ParameterError(f"architecture={self.architecture!r} is unknown: expected gpt or lstm.")
        for name, least in (("width", 8), ("depth", 1), ("context", 8), ("batch_size", 1)):
            if getattr(self, name) < least:
                raise ParameterError(f"{name}={getattr(self, name)!r} came; it must be {least} or more.")
        if self.adapt not in _LATER:
            raise ParameterError(f"adapt={self.adapt!r} is unknown: expected one of {', '.join(_LATER)}.")
        form = self.template
        good = form is None or (isinstance(form, Mapping) and set(form) == set(ROLES))
        if not good or (form and any(str(v).count("{text}") != 1 for v in form.values())):
            raise ParameterError(f"template={form!r:.80} came; expected such a form as {PLAIN!r}.")

    # --- verbs ---

    def stream(self, prompt: str = "", *, seed: int | None = None, **options: Any) -> Iterator[str]:
        """What is written after the prompt, piece by piece; the options are those of `sample`."""
        return self._step().stream(prompt, seed=seed, **options)

    def score_samples(self, texts: Any) -> np.ndarray:
        """(n,) log-likelihood of each text per character, in nats."""
        return self._step().score_samples(texts)

    def _cells(self, X: Any) -> Any:
        return [X] if isinstance(X, str) else list(X)

    def evaluate(
        self, X: Any, y: Any = None, *, train: Any = None, n: int | None = None, seed: int = 0, **ignored: Any
    ) -> dict[str, float]:
        """How well held-out texts are foretold, and how varied and how new samples are.

        Parameters
        ----------
        X : held-out text or texts. train : the texts of the fit, to say what is copied. n : samples (200, of one
            long text 32).

        Returns
        -------
        nats_per_character, bits_per_character : -log p(character | before it) of the held-out texts (the end of a text
        counts as one); nats_per_token, where these are no characters; nats_by_frequency, where each character is
        foretold by its share in the texts of the fit; and what `_text_quality.quality` says of samples.
        """
        return evaluate(self._step(), X, train=train, n=n, seed=seed)


def evaluate(step: Any, X: Any, *, train: Any = None, n: int | None = None, seed: int = 0) -> dict[str, float]:
    """`TextGenerator.evaluate`, of the step that writes."""
    texts = [X] if isinstance(X, str) else list(X)
    if not texts or not any(texts):
        raise DataError("There is no held-out text: give a text, or several.")
    total, signs, tokens = (sum(column) for column in zip(*step.likelihoods(texts), strict=True))
    told = {
        "nats_per_character": -total / max(signs, 1),
        "bits_per_character": -total / max(signs, 1) / math.log(2),
        "nats_per_token": -total / max(tokens, 1),
    }
    if told["nats_per_token"] == told["nats_per_character"]:
        del told["nats_per_token"]
    if train is not None:
        told["nats_by_frequency"] = by_frequency(texts, [train] if isinstance(train, str) else list(train))
    made = step.sample(n or (200 if step.documents else 32), seed=seed)
    known = None if train is None else [train] if isinstance(train, str) else list(train)
    return told | quality(made, texts, known)


_LATER = {"lora": 1e-3, "full": 2e-4, "none": 0.0}  # rates for checkpoints that go on learning


def _trapezoid(p: float) -> float:
    """A short rise, a plain, and a straight fall in the second half."""
    return max(p / 0.02, 1e-3) if p < 0.02 else min(1.0, (1 - p) / 0.5)


@torch.no_grad()
def _judged(net: LanguageNet, held: torch.Tensor) -> float:
    """Nats a token of held-out text."""
    net.eval()
    losses = [F.cross_entropy(net(w[None, :-1])[0].float(), w[1:].long()).item() for w in held]
    return float(np.mean(losses))


def pack(model: Any, n_classes: int | None = None) -> Step:
    """The numpy step that writes."""
    return model._step()
