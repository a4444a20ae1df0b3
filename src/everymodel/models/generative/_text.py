"""Texts as long rows of ids, batches of windows from them, and what is learnt."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from everymodel.core.errors import DataError, ParameterError
from everymodel.core.optional import require
from everymodel.core.seeds import derive
from everymodel.scoring.layers.alphabet import Alphabet, BytePairs, Characters, plain_bytes
from everymodel.training.estimator import set_aside
from everymodel.training.objective import Losses, Objective
from everymodel.training.source import Source

KINDS = ("characters", "bytes", "bpe")
LARGEST = 400_000_000  # bytes of a text that is turned into ids in memory
LEAST = 16  # tokens
_SYMBOLS = 20_000  # characters that get an id of their own
_JUDGED = 60_000  # tokens of the validation part that are looked at
_CALIBRATED, _SCORES = 2_000, 1 << 24  # least tokens of held-back text that `temperature` takes, and most scores


@dataclass
class Corpus:
    """A text, or several, as ids one after the other.

    ids : (n,) uint8, uint16 or int32 array, on disk for files of bytes; each of several texts begins with the end of
        the one before it. documents : whether there are several texts. held : (m,) ids of the validation part.
    notes : what was done to the data, in sentences.
    """

    ids: np.ndarray
    held: np.ndarray
    alphabet: Alphabet
    documents: bool
    usual: int
    signs: float  # characters of a token, on average
    notes: list[str] = field(default_factory=list)


def read(X: Any, kind: str, size: int, share: float, seed: int, alphabet: Alphabet | None = None) -> Corpus:
    """A text, a file (a path), or several texts; `share` of them is held back.

    Raises
    ------
    DataError
        for no text, an empty one, one of a single character, one that is too short or too large, bytes that are no
        text.
    """
    if kind not in KINDS:
        raise ParameterError(f"tokens={kind!r} is unknown: expected one of {', '.join(KINDS)}.")
    notes: list[str] = []
    plain = kind == "bytes" and alphabet is None
    if isinstance(X, os.PathLike):
        path = Path(X)
        size_of = path.stat().st_size if path.is_file() else None
        if size_of is None:
            raise DataError(f"There is no file {path}: give the path of a text file, or a text, or a list of texts.")
        if plain:
            return _on_disk(path, share)
        if size_of > LARGEST:
            raise DataError(
                f"{path} has {size_of:,} bytes; up to {LARGEST:,} are turned into {kind}. With tokens='bytes' a file "
                "of any size is read from the disk as it is."
            )
        X = path.read_bytes()
    if isinstance(X, bytes):
        try:
            X = X.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(
                f"Byte {error.start:,} ({X[error.start : error.start + 1]!r}) is no UTF-8 text. Save the file as "
                "UTF-8, or learn from its bytes: TextGenerator(tokens='bytes').fit(Path(...))."
            ) from error
    texts = [X] if isinstance(X, str) else _several(X)
    total = sum(map(len, texts))
    if total > LARGEST:
        raise DataError(
            f"{total:,} characters came; up to {LARGEST:,} are taken. Write them into a file and give "
            "TextGenerator(tokens='bytes') its path: it is read from the disk piece by piece."
        )
    broken = sum(not _sound(t) for t in texts)
    if broken:
        texts = [t.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for t in texts]
        notes.append(f"{broken} texts held halves of characters (lone surrogates): these became U+FFFD.")
    seen = {c for text in texts for c in set(text)}
    if not seen:
        raise DataError("The text is empty: give a text, a list of texts, or a path (pathlib.Path) of a text file.")
    if len(seen) == 1 and len(texts) == 1:
        raise DataError(
            f"The text is the one character {next(iter(seen))!r} again and again: there is nothing to learn."
        )
    if alphabet is None:
        alphabet = _alphabet(texts, kind, size, seen, notes)
    documents = len(texts) > 1
    if documents:
        kept, aside = _parted(len(texts), share, seed)
        end = alphabet.end
        if end < 0:
            raise DataError("This vocabulary has no end of a text, so it learns from one long text: join the texts.")
        dtype = _narrow(alphabet.size)

        def joined(rows: Sequence[int]) -> np.ndarray:
            parts = [part for row in rows for part in ([end], alphabet.read(texts[row]))]
            return np.concatenate([*parts, [end]]).astype(dtype) if len(rows) else np.zeros(0, dtype=dtype)

        ids, held = joined(kept), joined(aside)
        longest = sorted(len(t) for t in texts)[int(0.99 * (len(texts) - 1))]
        usual = int(min(max(2 * longest, 16), 2000))
    else:
        whole = alphabet.read(texts[0]).astype(_narrow(alphabet.size))
        ids, held = _last(whole, share)
        usual = 300
    if len(ids) < LEAST:
        raise DataError(f"The text has {len(ids)} tokens to learn from; expected {LEAST} or more.")
    return Corpus(ids, held, alphabet, documents, usual, total / max(len(ids) + len(held), 1), notes)


def _on_disk(path: Path, share: float) -> Corpus:
    """A file as it is, byte by byte, left where it is."""
    if path.stat().st_size < LEAST:
        raise DataError(f"{path} has {path.stat().st_size} bytes; expected {LEAST} or more.")
    whole = np.memmap(path, dtype=np.uint8, mode="r")
    step = max(len(whole) // 1000, 1)
    few = [whole[: 1 << 20], whole[-(1 << 20) :], whole[::step]]
    if all((part == whole[0]).all() for part in few) and (len(whole) > 1 << 30 or (whole == whole[0]).all()):
        raise DataError(f"{path} is the one byte {int(whole[0])} again and again: there is nothing to learn.")
    ids, held = _last(whole, share)
    return Corpus(ids, held, plain_bytes(), False, 300, 1.0)


def _several(X: Any) -> list[str]:
    if hasattr(X, "columns"):
        if len(X.columns) != 1:
            raise DataError(f"A frame of {len(X.columns)} columns came; expected one column of texts.")
        X = X.iloc[:, 0] if hasattr(X, "iloc") else X[X.columns[0]]
    if not isinstance(X, Iterable):
        raise DataError(f"A {type(X).__name__} came; expected a text, a list of texts, or a path of a text file.")
    texts = list(X)
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise DataError(f"Text {i} is {text!r:.60}; expected a text. Leave missing ones out.")
    return [text for text in texts if text]


def _sound(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _narrow(size: int) -> Any:
    return np.uint8 if size <= 256 else np.uint16 if size <= 65_536 else np.int32


def _last(whole: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    cut = len(whole) - (max(round(len(whole) * share), 1) if share and len(whole) >= 4 * LEAST else 0)
    return whole[:cut], whole[cut:]


def _parted(n: int, share: float, seed: int) -> tuple[Any, Any]:
    if not share or n < 4:
        return np.random.default_rng(seed).permutation(n), np.zeros(0, dtype=np.int64)
    kept, aside = set_aside(n, share, np.random.default_rng(derive(seed, "validation")))
    return np.random.default_rng(derive(seed, "texts")).permutation(kept), aside


def _alphabet(texts: list[str], kind: str, size: int, seen: set[str], notes: list[str]) -> Alphabet:
    if kind == "bytes":
        return plain_bytes()
    if kind == "bpe":
        return _pairs(texts, size)
    if len(seen) > _SYMBOLS:
        counts = Counter(c for text in texts for c in text)
        rare = len(seen) - _SYMBOLS
        seen = {c for c, _ in counts.most_common(_SYMBOLS)}
        notes.append(f"The {rare:,} rarest characters are read as unknown; tokens='bytes' or 'bpe' knows all.")
    return Characters(tuple(sorted(seen)))


def _pairs(texts: list[str], size: int) -> Alphabet:
    """A vocabulary of pairs of bytes learnt from these texts."""
    library = require("tokenizers", "A vocabulary of byte pairs")
    if size < 257:
        raise ParameterError(f"vocabulary={size} came; pairs of bytes need 257 ids or more.")
    made = library.Tokenizer(library.models.BPE())
    made.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    first = library.pre_tokenizers.ByteLevel.alphabet()
    trainer = library.trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=first, special_tokens=["<|endoftext|>"], show_progress=False
    )
    made.train_from_iterator((t[i : i + 10_000] for t in texts for i in range(0, len(t), 10_000)), trainer)
    import json

    return byte_pairs(json.loads(made.to_str()), "<|endoftext|>")


def byte_pairs(told: dict[str, Any], end: str | None) -> BytePairs:
    """The vocabulary in a tokenizer.json of pairs of bytes.

    Raises
    ------
    DataError
        for vocabularies of another kind.
    """
    model, cut, prefix = told.get("model") or {}, _cut(told.get("pre_tokenizer")), False
    if model.get("type") != "BPE" or cut is None or model.get("byte_fallback"):
        raise DataError(
            "tokenizer.json holds a vocabulary that is not read here: expected pairs of bytes (BPE with a ByteLevel "
            "pre-tokenizer), as GPT-2, Llama 3 and Qwen have."
        )
    if _named(told.get("pre_tokenizer"), "ByteLevel"):
        prefix = bool(_named(told.get("pre_tokenizer"), "ByteLevel").get("add_prefix_space"))
    letters = {letter: byte for byte, letter in byte_letters().items()}
    vocabulary = dict(model["vocab"])
    special = {str(t["content"]): int(t["id"]) for t in told.get("added_tokens") or []}
    size = max([*vocabulary.values(), *special.values()]) + 1
    pieces = [b""] * size
    for text, number in vocabulary.items():
        if text not in special:
            pieces[number] = bytes(letters[c] for c in text) if all(c in letters for c in text) else text.encode()
    for text, number in special.items():
        pieces[number] = text.encode()
    merges = []
    for merge in model["merges"]:
        a, b = merge.split(" ") if isinstance(merge, str) else merge
        merges.append((vocabulary[a], vocabulary[b], vocabulary[a + b]))
    made = BytePairs(
        np.frombuffer(b"".join(pieces), dtype=np.uint8),
        np.array([len(p) for p in pieces], dtype=np.int32),
        np.array(merges, dtype=np.int32).reshape(-1, 3),
        cut,
        special.get(end, vocabulary.get(end, -1)) if end else -1,  # type: ignore[arg-type]
        tuple(sorted(special.items())),
        prefix,
    )
    made.check()
    return made


def _cut(told: Any) -> str | None:
    """Which of our ways to cut texts into words a pre-tokenizer is."""
    split = _named(told, "Split")
    if split:
        pattern = str((split.get("pattern") or {}).get("Regex", ""))
        return "llama3" if "{1,3}" in pattern else "qwen2" if r"\p{N}" in pattern else None
    level = _named(told, "ByteLevel")
    return None if not level else "gpt2" if level.get("use_regex", True) else "none"


def _named(told: Any, word: str) -> dict[str, Any]:
    if isinstance(told, dict):
        if told.get("type") == word:
            return told
        for inner in told.get("pretokenizers") or []:
            found = _named(inner, word)
            if found:
                return found
    return {}


def byte_letters() -> dict[int, str]:
    """The letter by which each byte is written in a tokenizer.json: printable ones stand for themselves."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    made = {byte: chr(byte) for byte in plain}
    for i, byte in enumerate(b for b in range(256) if b not in made):
        made[byte] = chr(256 + i)
    return made


class Windows(Source):
    """Windows (b, T + 1) from random places of one long row of ids, without end; an epoch is `count` steps."""

    def __init__(self, ids: np.ndarray, length: int, batch: int, count: int):
        self.ids, self.length, self.batch, self.count = ids, length, int(batch), int(count)
        self.place = torch.device("cpu")
        self.whole: torch.Tensor | None = None

    def move(self, device: torch.device) -> None:
        self.place = device
        if device.type != "cpu" and self.ids.nbytes < 1 << 31:
            self.whole = torch.from_numpy(self.ids.astype(np.int32)).to(device)

    def steps(self) -> int:
        return self.count

    def epoch(self, number: int, seed: int, start: int = 0) -> Iterator[torch.Tensor]:
        span = np.arange(self.length + 1)
        for i in range(start, self.count):
            rng = np.random.default_rng(derive(seed, "windows", number, i))
            places = rng.integers(0, len(self.ids) - self.length, self.batch)[:, None] + span
            if self.whole is not None:
                yield self.whole[torch.from_numpy(places).to(self.place)]
            else:
                yield torch.from_numpy(self.ids[places].astype(np.int32)).to(self.place)

    def ordered(self) -> Iterator[torch.Tensor]:
        return self.epoch(0, 0)


def chunks(ids: np.ndarray, length: int) -> torch.Tensor | None:
    """(m, T + 1) windows one after the other, of at most so many tokens as a validation looks at."""
    length = min(length, len(ids) - 1)
    if length < 2:
        return None
    count = (len(ids) - 1) // length
    starts = np.linspace(0, count - 1, min(count, max(_JUDGED // length, 1))).astype(np.int64) * length
    return torch.from_numpy(ids[starts[:, None] + np.arange(length + 1)].astype(np.int32))


class NextToken(Objective):
    """Mean of -log p(next token), in nats; validation also tells it by character."""

    falls = True

    def __init__(self, net: nn.Module, signs: float):
        super().__init__(net=net)
        self.signs = signs

    def step(self, nets: Any, batch: Any) -> Losses:
        ids = batch[0] if isinstance(batch, tuple | list) else batch
        scores = nets["net"](ids[:, :-1])
        return {"net": F.cross_entropy(scores.flatten(0, 1).float(), ids[:, 1:].reshape(-1).long())}

    def judge(self, nets: Any, batches: Iterable[Any]) -> dict[str, torch.Tensor | float]:
        told = super().judge(nets, batches)
        return {**told, "nats_per_character": told["loss"] / max(self.signs, 1e-9)}


@torch.no_grad()
def temperature(net: Any, held: torch.Tensor | None) -> float | None:
    """The number by which scores are divided so that windows (m, T + 1) cost least: networks that have read a text
    often are surer than they should be. None where the windows, or as many as memory is taken for, are too few to tell.
    """
    from scipy.optimize import minimize_scalar

    if held is None:
        return None
    span = held.shape[1] - 1
    count = min(len(held), _SCORES // (net.table.shape[0] * span))
    if count * span < _CALIBRATED:
        return None
    net.eval()
    some = held[np.linspace(0, len(held) - 1, count).astype(np.int64)]
    scores = torch.cat([net(part[:, :-1]).flatten(0, 1).float() for part in some.split(32)])
    wanted = some[:, 1:].reshape(-1).long()
    best = minimize_scalar(
        lambda t: F.cross_entropy(scores * math.exp(-t), wanted).item(), bounds=(-0.5, 0.7), method="bounded"
    )
    return math.exp(best.x)
