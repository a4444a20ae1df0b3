"""A variational autoencoder: data to latent variables and back, samples, and how likely data are."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from everymodel.core.errors import CapabilityError, DataError
from everymodel.scoring.layers.base import Layer
from everymodel.scoring.steps.base import need, step
from everymodel.scoring.steps.generating import LatentGenerator

LIKELIHOODS = ("gaussian", "bernoulli", "categorical")
DRAWS = 16  # of the latent variable for a score
_ROWS = 1 << 16  # rows times draws at once
_WIDE = 10.0  # largest log variance, either way


@step("variational", output="samples")
class Variational(LatentGenerator):
    """q(z | x) = N(mu, sigma^2) by `encoder` and `head`, p(x | z) by `network`, p(z) = N(0, I) or a mixture.

    encoder : from data to features (n, m); head : from [features, class] to [mu, log sigma^2] (n, 2 d).
    likelihood : what the network's outputs mean: means, logits of 0 or 1, or logits of the levels of each column.
    noise : (p,) or (1,) log variances of a Gaussian likelihood, of standardised data.
    counts : levels of each column of a categorical likelihood; levels (sum,) : their values.
    flat : whether images are given pixel by pixel.
    means, spreads, weights : (k, d), (k, d), (k,) of a mixture that latent variables are drawn from, or None.
    """

    encoder: Layer | None = None
    head: Layer | None = None
    likelihood: str = "gaussian"
    noise: np.ndarray | None = None
    counts: tuple[int, ...] = ()
    levels: np.ndarray | None = None
    flat: bool = True
    means: np.ndarray | None = None
    spreads: np.ndarray | None = None
    weights: np.ndarray | None = None

    _layers: ClassVar[tuple[str, ...]] = ("network", "encoder", "head")

    # --- from data to latent variables ---

    def given(self, x: Any) -> np.ndarray:
        """Data as the networks know them: standardised, or 0 to 1, or one column for each level."""
        x = np.asarray(x, dtype=np.float64)
        wanted = tuple(self.shape) if self.shape else (len(self.counts) or len(self.shift),)
        if x.shape[1:] != wanted:
            raise DataError(f"Data of shape {x.shape} came; expected (n, {', '.join(map(str, wanted))}).")
        if not np.isfinite(x).all():
            raise DataError("The data hold NaN or infinite numbers: fill these cells or drop their rows.")
        if self.likelihood == "categorical":
            return np.concatenate([x[:, i : i + 1] == own for i, own in enumerate(self._own())], axis=1).astype(
                np.float32
            )
        x = ((x - self.shift) / self.spread).astype(np.float32)
        return x.reshape(len(x), -1) if self.flat else x

    def _own(self) -> list[np.ndarray]:
        """The levels of each column."""
        assert self.levels is not None
        return np.split(self.levels, np.cumsum(self.counts)[:-1])

    def _label(self, n: int, condition: Any) -> np.ndarray:
        """(n, c) vectors of the classes of data, (n, 0) without classes."""
        if self.labels is None:
            if condition is not None:
                raise CapabilityError("This model learnt no condition: leave the condition out.")
            return np.zeros((n, 0), dtype=np.float32)
        if condition is None:
            raise DataError("This model learnt with classes: say the class of each row (condition=...).")
        return self.labels[self.asked(n, np.random.default_rng(0), condition, np.asarray(self.shares))]

    def posterior(self, given: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(mu (n, d), log sigma^2 (n, d))."""
        assert self.encoder is not None and self.head is not None
        features = self.encoder(given)
        out = self.head(np.concatenate([features, label.astype(features.dtype)], axis=1)).astype(np.float64)
        return out[:, : self.size], np.clip(out[:, self.size :], -_WIDE, _WIDE)

    def encode(self, x: np.ndarray, condition: Any = None) -> np.ndarray:
        """(n, d) means of the latent variables, and behind them the vector of the class where there is one."""
        given = self.given(x)
        label = self._label(len(given), condition)
        return np.concatenate([self.posterior(given, label)[0], label], axis=1)

    # --- how likely data are ---

    def log_likelihood(self, given: np.ndarray, out: np.ndarray) -> np.ndarray:
        """(n,) log p(x | z) for the network's outputs (n, ...)."""
        given, out = given.reshape(len(given), -1).astype(np.float64), out.reshape(len(out), -1).astype(np.float64)
        if self.likelihood == "bernoulli":
            return (given * out - np.logaddexp(0.0, out)).sum(axis=1)
        if self.likelihood == "categorical":
            return sum((g * (o - _log_sum(o))).sum(axis=1) for g, o in zip(self._parts(given), self._parts(out)))
        assert self.noise is not None
        return -0.5 * ((given - out) ** 2 / np.exp(self.noise) + self.noise + math.log(2 * math.pi)).sum(axis=1)

    def _parts(self, x: np.ndarray) -> list[np.ndarray]:
        return np.split(x, np.cumsum(self.counts)[:-1], axis=1)

    def score_samples(
        self, x: np.ndarray, condition: Any = None, draws: int = DRAWS, weighted: bool = False
    ) -> np.ndarray:
        """(n,) the evidence lower bound in nats, of what the networks are given; higher is more usual.

        weighted: the importance-weighted bound log 1/k sum p(x, z_k) / q(z_k | x) (Burda et al. 2016), which rises to
        log p(x) with the number of draws. Equal data get equal scores: the draws are always the same ones.
        """
        given = self.given(x)
        label = self._label(len(given), condition)
        size = max(_ROWS // draws, 1)
        parts = [
            self._bound(given[i : i + size], label[i : i + size], draws, weighted) for i in range(0, len(given), size)
        ]
        return np.concatenate(parts) if parts else np.zeros(0)

    def _bound(self, given: np.ndarray, label: np.ndarray, draws: int, weighted: bool) -> np.ndarray:
        mu, log = self.posterior(given, label)
        sigma = np.exp(0.5 * log)
        noise = _noise(draws, self.size, weighted)
        terms = np.empty((draws, len(given)))
        for k, eps in enumerate(noise):
            z = mu + sigma * eps
            out = self.network(np.concatenate([z, label], axis=1).astype(np.float32))
            terms[k] = self.log_likelihood(given, out)
            if weighted:
                terms[k] += 0.5 * (eps**2 + log - z**2).sum(axis=1)  # log p(z) - log q(z | x)
        if weighted:
            return np.logaddexp.reduce(terms, axis=0) - math.log(draws)
        return terms.mean(axis=0) - 0.5 * (mu**2 + np.exp(log) - log - 1).sum(axis=1)

    # --- samples ---

    def latents(
        self, n: int, rng: np.random.Generator, condition: Any = None, truncation: float | None = None
    ) -> np.ndarray:
        made = super().latents(n, rng, condition, truncation)
        if self.means is None:
            return made
        assert self.weights is not None and self.spreads is not None
        k = rng.choice(len(self.weights), n, p=self.weights / self.weights.sum())
        made[:, : self.size] = self.means[k] + self.spreads[k] * made[:, : self.size]
        return made

    def raw(self, latents: np.ndarray) -> np.ndarray:
        return self._said(answers(self, latents), None)

    def _said(self, out: np.ndarray, rng: np.random.Generator | None) -> np.ndarray:
        """The network's outputs in the units of the data: means, or with `rng` draws."""
        n = len(out)
        if self.likelihood == "categorical":
            columns = []
            for o, own in zip(self._parts(out.reshape(n, -1)), self._own()):
                pick = o if rng is None else o - np.log(-np.log(rng.random(o.shape)))  # Gumbel
                columns.append(own[pick.argmax(axis=1)])
            return np.stack(columns, axis=1)
        out = out.astype(np.float64)
        if self.likelihood == "bernoulli":
            out = 0.5 * (1 + np.tanh(0.5 * out))
            out = out if rng is None else (rng.random(out.shape) < out).astype(np.float64)
        elif rng is not None:
            assert self.noise is not None
            noise = np.exp(0.5 * self.noise)
            out = out + rng.standard_normal(out.shape) * (
                noise.reshape(self.shape) if len(noise) > 1 and self.shape else noise
            )
        out = out.reshape(n, *self.shape) if self.shape else out
        return np.clip(out * self.spread + self.shift, self.low, self.high)

    def draw(
        self, n: int, rng: np.random.Generator, condition: Any, truncation: float | None, **options: Any
    ) -> np.ndarray:
        """noise : whether samples are drawn from p(x | z), as rows are by default; images are its means by default."""
        noise = options.pop("noise", None)
        latents = self.latents(n, rng, condition, truncation)
        if options or noise not in (None, True, False):
            return super().draw(n, rng, condition, truncation, **(options or {"noise": noise}))
        if not (noise if noise is not None else not self.shape):
            return self.decode(latents)
        made = self._said(answers(self, latents), rng)
        return self.rounded(made)

    def check(self) -> None:
        LatentGenerator.check(self)
        need(isinstance(self.encoder, Layer) and isinstance(self.head, Layer), "an autoencoder has no encoder")
        need(self.likelihood in LIKELIHOODS and type(self.flat) is bool, "an autoencoder is described wrongly")
        if self.likelihood == "gaussian":
            ok = self.noise is not None and self.noise.ndim == 1 and bool(np.isfinite(self.noise).all())
            need(ok, "an autoencoder's noise is wrong")
        if self.likelihood == "categorical":
            counts = self.counts
            ok = bool(counts) and all(type(c) is int and c > 0 for c in counts) and self.levels is not None
            need(ok and self.levels.shape == (sum(counts),) and not self.shape, "an autoencoder's levels are wrong")
        given = [a is not None for a in (self.means, self.spreads, self.weights)]
        need(all(given) or not any(given), "an autoencoder's mixture is wrong")
        if self.means is not None and self.spreads is not None and self.weights is not None:
            k = len(self.means)
            ok = self.means.shape == self.spreads.shape == (k, self.size) and self.weights.shape == (k,)
            need(ok and bool((self.weights >= 0).all()) and self.weights.sum() > 0, "an autoencoder's mixture is wrong")


def answers(made: LatentGenerator, latents: np.ndarray) -> np.ndarray:
    """What the network says to latent variables, a few at a time."""
    size = max((1 << 22) // (64 * max(len(made.shift), int(np.prod(made.shape or (1,))))), 256)
    parts = [made.network(latents[i : i + size]) for i in range(0, len(latents), size)]
    return np.concatenate(parts)


def _noise(draws: int, size: int, independent: bool) -> np.ndarray:
    """(draws, size) normal numbers, the same ones for all rows, so that equal rows get equal scores.

    They come in pairs of opposite signs. Unless they must be independent they are brought to unit variance, so that
    means over few of them are close.
    """
    half = np.random.default_rng(0).standard_normal(((draws + 1) // 2, size))
    made = np.stack([half, -half], axis=1).reshape(-1, size)[:draws]
    return made if independent or draws < 4 else made / np.sqrt((made**2).mean(axis=0))


def _log_sum(x: np.ndarray) -> np.ndarray:
    return np.logaddexp.reduce(x, axis=1, keepdims=True)
