"""Language models of others, from a folder as Hugging Face writes it: config.json, tokenizer.json, model.safetensors.

Nothing is downloaded and nothing in the folder is run: weights in pickles are refused.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from everymodel.core.errors import CapabilityError, DataError
from everymodel.core.optional import require
from everymodel.models.generative._text import byte_pairs
from everymodel.scoring.layers.alphabet import BytePairs
from everymodel.training.blocks.transformer import Block, LanguageNet, norm

KINDS = ("gpt2", "llama", "mistral", "qwen2")
_HEADER = 100_000_000  # bytes of the list of weights of a file, at most
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".msgpack", ".h5")
_ACTIVATIONS = {"gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "gelu": "gelu", "relu": "relu"}
# Forms of conversations that are known by the signs that stand in a checkpoint's template.
_TEMPLATES = {
    "<|im_start|>": "<|im_start|>{role}\n{text}<|im_end|>\n",
    "<|start_header_id|>": "<|start_header_id|>{role}<|end_header_id|>\n\n{text}<|eot_id|>",
}


@dataclass
class Checkpoint:
    """A model of others, ready to learn on: its network, its vocabulary, the form of its chats where that is known."""

    net: LanguageNet
    alphabet: BytePairs
    limit: int
    template: dict[str, str] | None
    needs: str = ""


def opened(folder: Any, adapt: str = "none", tokens: int = 0, free: float | None = None) -> Checkpoint:
    """The model in a folder; what it needs is compared with what is free first, see `room`.

    Raises
    ------
    DataError
        for folders without weights, with weights in pickles, of other architectures, or whose parts do not fit.
    CapabilityError
        where clearly more memory is needed than is free.
    NotInstalledError
        without the package safetensors.
    """
    path = Path(folder)
    if not path.is_dir():
        raise DataError(f"base={str(folder)!r} is no folder. Give the folder of a checkpoint on this machine.")
    config = _json(path / "config.json")
    kind = config.get("model_type")
    if kind not in KINDS:
        raise DataError(f"{path} holds a model of type {kind!r}; expected one of {', '.join(KINDS)}.")
    needs = room(path, adapt, tokens, free)
    weights = _weights(path)
    try:
        net, limit = (_gpt2 if kind == "gpt2" else _llama)(config, weights)
    except KeyError as error:
        raise DataError(f"{path} lacks {error.args[0]!r}: the checkpoint is incomplete.") from error
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"The parts of {path} do not fit one another: {error}") from error
    told = _json(path / "tokenizer_config.json") if (path / "tokenizer_config.json").is_file() else {}
    alphabet = _alphabet(path, config, told)
    if alphabet.size > len(net.table):
        raise DataError(f"{path}: the vocabulary has {alphabet.size} ids, the network {len(net.table)}.")
    return Checkpoint(net, alphabet, limit, _template(told.get("chat_template")), needs)


def room(folder: Any, adapt: str, tokens: int, free: float | None) -> str:
    """One sentence on the memory that a checkpoint takes, from the shapes in its files alone.

    Parameters
    ----------
    adapt : "none", "lora" or "full". tokens : of a step, batch_size times context. free : bytes, None: not known.

    Raises
    ------
    CapabilityError
        where clearly more is needed than is free.
    """
    config, files = _json(Path(folder) / "config.json"), _files(Path(folder))
    numbers, raw, narrow = _shapes(files)

    def told_as(*names: str) -> int:  # settings that make no sense are refused where the network is built
        return next((config[name] for name in names if type(config.get(name)) is int), 0)

    width, depth = told_as("hidden_size", "n_embd"), told_as("num_hidden_layers", "n_layer")
    inner, words = told_as("intermediate_size", "n_inner") or 4 * width, told_as("vocab_size")
    # Read: the files, all as float32, and the network. Learn: weights, the best of them, for those that learn slopes,
    # two averages and what a step moves; what each block keeps for the way back; scores of all words, three times.
    opening = max(raw * narrow + 4.0 * numbers, 8.0 * numbers)
    beside = 4.0 * tokens * (depth * (10 * width + 3 * inner) + 3 * words)
    learning = {"none": 0.0, "lora": 10.0, "full": 28.0}[adapt] * numbers + beside * (adapt != "none")
    needed = max(opening, learning)
    does = {"none": "Opening it", "lora": "Teaching it in small matrices", "full": "Teaching all of it"}[adapt]
    told = f"{does} takes about {_size(needed)} of memory ({numbers:,} numbers)"
    if free is None:
        return f"{told}."
    if needed <= free:
        return f"{told}; {_size(free)} were free."
    ways = []
    if learning > opening and 8.0 * numbers < free:
        most = int(max(free - (learning - beside), 0.0) / max(beside / tokens, 1.0))
        ways += [f"batch_size times context of {most:,} or fewer (now {tokens:,})"] if most >= 8 else []
    ways += ['adapt="lora"'] if adapt == "full" else []
    raise CapabilityError(
        f"{told}, and {_size(free)} are free. {'Take ' + ' or '.join(ways) + ', or a' if ways else 'Take a'} smaller "
        "checkpoint, or a machine with more memory."
    )


def _shapes(files: list[Path]) -> tuple[int, int, bool]:
    """(numbers, bytes, whether some are of 16 bits) in files of safetensors, from their headers."""
    numbers = raw = 0
    narrow = False
    for file in files:
        with file.open("rb") as stream:
            size = int.from_bytes(stream.read(8), "little")
            if not 2 <= size <= min(_HEADER, file.stat().st_size):
                raise DataError(f"{file} cannot be read: it does not begin as such files do.")
            try:
                told = json.loads(stream.read(size))
                tensors = [t for name, t in told.items() if name != "__metadata__"]
                numbers += sum(math.prod(t["shape"]) for t in tensors)
                narrow |= any(t["dtype"] not in ("F32", "F64") for t in tensors)
            except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
                raise DataError(f"{file} cannot be read: its list of weights is damaged.") from error
        raw += file.stat().st_size
    return numbers, raw, narrow


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise DataError(f"{path.parent} has no {path.name}: it is no folder of a checkpoint.")
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON: {error}.") from error
    if not isinstance(told, dict):
        raise DataError(f"{path} holds no settings.")
    return told


def _files(path: Path) -> list[Path]:
    """The file of weights, or the parts that an index names; all are there."""
    index = path / "model.safetensors.index.json"
    if index.is_file():
        names = sorted({str(name) for name in (_json(index).get("weight_map") or {}).values()})
        if any(Path(name).name != name for name in names):
            raise DataError(f"{index} names files outside its folder.")
        files = [path / name for name in names]
    else:
        files = [path / "model.safetensors"]
    absent = [file.name for file in files if not file.is_file()]
    if absent or not files:
        pickles = sorted(file.name for file in path.iterdir() if file.suffix in _PICKLES)
        if pickles:
            raise DataError(
                f"{path} has its weights in {pickles[0]}. Such files can run code when they are read, so they are not: "
                "save the model again with save_pretrained(..., safe_serialization=True), which writes "
                "model.safetensors."
            )
        raise DataError(f"{path} has no weights: {', '.join(absent[:3]) or 'model.safetensors'} is not there.")
    return files


def _weights(path: Path) -> dict[str, torch.Tensor]:
    """All tensors by name, as float32."""
    files = _files(path)
    library = require("safetensors.torch", "Reading the weights of a checkpoint")
    made: dict[str, torch.Tensor] = {}
    for file in files:
        try:
            made |= library.load_file(file)
        except Exception as error:  # the package has an error class of its own for damaged files
            raise DataError(f"{file} cannot be read: {error}.") from error
    return {name: t.float() for name, t in made.items() if t.is_floating_point()}


def _part(weights: dict[str, torch.Tensor], *prefixes: str) -> Callable[[str], torch.Tensor]:
    """Tensors by name below the first prefix under which there are any."""
    prefix = next((p for p in prefixes if any(name.startswith(p) for name in weights)), prefixes[-1])
    return lambda name: weights[prefix + name]


def _fill(parameter: torch.Tensor | None, value: torch.Tensor) -> None:
    if parameter is None or parameter.shape != value.shape:
        shape = None if parameter is None else tuple(parameter.shape)
        raise ValueError(f"a weight of shape {tuple(value.shape)} came where {shape} was expected.")
    with torch.no_grad():
        parameter.copy_(value)


def _gpt2(config: dict[str, Any], weights: dict[str, torch.Tensor]) -> tuple[LanguageNet, int]:
    size, limit, eps = config["n_embd"], config["n_positions"], config.get("layer_norm_epsilon", 1e-5)
    kind = _ACTIVATIONS.get(config.get("activation_function", "gelu_new"))
    if kind is None or config.get("scale_attn_by_inverse_layer_idx") or not config.get("scale_attn_weights", True):
        raise DataError(f"GPT-2 with activation {config.get('activation_function')!r} or scaled layers is not read.")
    of = _part(weights, "transformer.", "")
    inner = config.get("n_inner") or 4 * size
    shape: dict[str, Any] = {"kind": kind, "turned": 0.0, "even": False, "norms": "layer", "eps": eps, "bias": "all"}
    blocks = [Block(size, config["n_head"], inner, **shape) for _ in range(config["n_layer"])]
    tied = config.get("tie_word_embeddings", True)
    last = norm(size, "layer", eps)
    net = LanguageNet(config["vocab_size"], size, blocks, last, size, tied=tied, places=limit, limit=limit)
    _fill(net.table, of("wte.weight"))
    _fill(net.positions, of("wpe.weight"))
    if net.head is not None:
        _fill(net.head.weight, weights["lm_head.weight"])
    pairs = [(last, "ln_f", False)]
    for i, block in enumerate(blocks):
        names = {"before": "ln_1", "after": "ln_2"}
        pairs += [(getattr(block, own), f"h.{i}.{theirs}", False) for own, theirs in names.items()]
        names = {"mix": "attn.c_attn", "out": "attn.c_proj", "up": "mlp.c_fc", "down": "mlp.c_proj"}
        pairs += [(getattr(block, own), f"h.{i}.{theirs}", True) for own, theirs in names.items()]
    for module, name, turned in pairs:  # its weighted sums are written the other way round
        weight = of(f"{name}.weight")
        _fill(module.weight, weight.T if turned else weight)
        _fill(module.bias, of(f"{name}.bias"))
    return net, limit


def _llama(config: dict[str, Any], weights: dict[str, torch.Tensor]) -> tuple[LanguageNet, int]:
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if rope.get("rope_type", rope.get("type", "default")) != "default" or config.get("hidden_act", "silu") != "silu":
        raise DataError("Rotary places that are scaled, or an activation other than silu, are not read.")
    size, heads = config["hidden_size"], config["num_attention_heads"]
    limit = config.get("max_position_embeddings", 2048)
    window = config.get("sliding_window") if config.get("use_sliding_window", True) else None
    limit = min(limit, window) if window else limit
    shape: dict[str, Any] = {
        "groups": config.get("num_key_value_heads") or heads,
        "head_size": config.get("head_dim") or size // heads,
        "gated": True,
        "kind": "silu",
        "turned": float(rope.get("rope_theta", config.get("rope_theta", 10_000.0))),
        "even": False,
        "norms": "scaled",
        "eps": config.get("rms_norm_eps", 1e-6),
        "bias": "mix" if config.get("attention_bias", config["model_type"] == "qwen2") else "none",
    }
    blocks = [Block(size, heads, config["intermediate_size"], **shape) for _ in range(config["num_hidden_layers"])]
    last = norm(size, "scaled", shape["eps"])
    tied = bool(config.get("tie_word_embeddings", False))
    net = LanguageNet(config["vocab_size"], size, blocks, last, size, tied=tied, limit=limit)
    of = _part(weights, "model.", "")
    _fill(net.table, of("embed_tokens.weight"))
    _fill(last.weight, of("norm.weight"))
    if net.head is not None:
        _fill(net.head.weight, weights["lm_head.weight"])
    for i, block in enumerate(blocks):
        at = f"layers.{i}."
        _fill(block.before.weight, of(f"{at}input_layernorm.weight"))
        _fill(block.after.weight, of(f"{at}post_attention_layernorm.weight"))
        three = [f"{at}self_attn.{letter}_proj." for letter in "qkv"]
        _fill(block.mix.weight, torch.cat([of(f"{name}weight") for name in three]))
        if block.mix.bias is not None:
            _fill(block.mix.bias, torch.cat([of(f"{name}bias") for name in three]))
        _fill(block.out.weight, of(f"{at}self_attn.o_proj.weight"))
        for name in ("gate", "up", "down"):
            _fill(getattr(block, name).weight, of(f"{at}mlp.{name}_proj.weight"))
    return net, limit


def _alphabet(path: Path, config: dict[str, Any], told: dict[str, Any]) -> BytePairs:
    """The vocabulary, from tokenizer.json, or from vocab.json and merges.txt as GPT-2 has them."""
    end = told.get("eos_token")
    end = end.get("content") if isinstance(end, dict) else end
    if (path / "tokenizer.json").is_file():
        file = _json(path / "tokenizer.json")
    elif (path / "vocab.json").is_file() and (path / "merges.txt").is_file():
        lines = (path / "merges.txt").read_text(encoding="utf-8").splitlines()
        merges = [line for line in lines if line and not line.startswith("#version")]
        model = {"type": "BPE", "vocab": _json(path / "vocab.json"), "merges": merges}
        file = {"model": model, "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False}, "added_tokens": []}
        if "<|endoftext|>" in model["vocab"]:
            file["added_tokens"] = [{"content": "<|endoftext|>", "id": model["vocab"]["<|endoftext|>"]}]
    else:
        raise DataError(f"{path} has no vocabulary: expected tokenizer.json, or vocab.json and merges.txt.")
    if end is None:
        number = config.get("eos_token_id")
        number = number[0] if isinstance(number, list) and number else number
        end = next((t["content"] for t in file.get("added_tokens") or [] if t.get("id") == number), None)
    try:
        return byte_pairs(file, end)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"The vocabulary in {path} is damaged: {error!r}.") from error


def _template(told: Any) -> dict[str, str] | None:
    form = next((form for sign, form in _TEMPLATES.items() if isinstance(told, str) and sign in told), None)
    return None if form is None else {role: form.replace("{role}", role) for role in ("system", "user", "assistant")}


def frozen(net: nn.Module) -> float:
    """The share of the numbers of a network that learn."""
    every = sum(p.numel() for p in net.parameters())
    return sum(p.numel() for p in net.parameters() if p.requires_grad) / max(every, 1)
