"""Text generators: torch and numpy agree, texts of all kinds are read, files are safe, checkpoints learn."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import clone

from everymodel import TextGenerator
from everymodel.core.errors import CapabilityError, DataError, ModelFileError, ParameterError
from everymodel.models.generative._checkpoint import room
from everymodel.models.generative._text import read, temperature
from everymodel.models.generative._text_quality import longest_runs
from everymodel.scoring.layers import base
from everymodel.scoring.layers.alphabet import Characters, plain_bytes, words
from everymodel.scoring.layers.transformer import run_places
from everymodel.scoring.model import open_bytes
from everymodel.scoring.steps.writing import Stream, TextWriter, Thread
from everymodel.testing.texts import tiny_names, tiny_text
from everymodel.training.blocks.transformer import Block, LanguageNet, RecurrentBlock, norm
from everymodel.training.blocks.written import written
from everymodel.workflow.wrap import wrap

torch.set_num_threads(1)


def _net(kind: str, **more) -> LanguageNet:
    torch.manual_seed(0)
    if kind == "gpt":
        blocks = [Block(24, 2, 48), Block(24, 2, 48)]
        net = LanguageNet(40, 24, blocks, norm(24, "rms", 1e-6), 24, orders=(2, 3, 6), buckets=97, limit=32, **more)
    elif kind == "old":  # as GPT-2 is
        blocks = [Block(24, 3, 96, kind="gelu_tanh", turned=0, even=False, norms="layer", eps=1e-5, bias="all")]
        net = LanguageNet(40, 24, blocks, norm(24, "layer", 1e-5), 24, tied=True, places=32, limit=32)
    elif kind == "llama":
        shape = {"gated": True, "kind": "silu", "norms": "scaled", "groups": 2, "bias": "mix", "even": False}
        net = LanguageNet(40, 24, [Block(24, 4, 30, head_size=8, **shape)], norm(24, "scaled", 1e-5), 24, limit=32)
    else:
        net = LanguageNet(40, 24, [RecurrentBlock("lstm", 24, 20)], None, 20, orders=(2,), buckets=97, **more)
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.2 * torch.randn_like(p))
    return net.eval()


@pytest.mark.parametrize("kind", ["gpt", "old", "llama", "lstm"])
def test_numpy_answers_as_torch_and_remembers(kind):
    net = _net(kind)
    ids = np.random.default_rng(0).integers(0, 40, (3, 30))
    with torch.no_grad():
        wanted = net(torch.from_numpy(ids)).numpy()
    layer = base.read(*base.write(written(net)))
    found = layer(ids)
    assert np.abs(found - wanted).max() < 2e-5 * np.abs(wanted).max()
    reading = layer.start()
    steps = [layer.advance(ids[:, :7], reading, last=False)]
    steps += [layer.advance(ids[:, i : i + 1], reading, last=False) for i in range(7, 30)]
    assert np.abs(np.concatenate(steps, axis=1) - found).max() < 2e-5 * np.abs(wanted).max()
    if layer.limit:
        with pytest.raises(DataError, match="32"):
            layer.advance(ids[:, :3], reading)


def test_several_texts_do_not_see_one_another():
    net = _net("gpt", border=1, apart=True)
    rng = np.random.default_rng(0)
    a, b = (np.concatenate([[1], rng.integers(2, 40, 10)]) for _ in range(2))
    with torch.no_grad():
        alone = net(torch.from_numpy(b)[None])[0]
        after = net(torch.from_numpy(np.concatenate([a, b]))[None])[0, 11:]
    assert torch.allclose(alone, after, atol=1e-5)
    assert np.allclose(written(net)(b[None])[0], alone.numpy(), atol=1e-5)


def test_nothing_sees_what_comes_after_it():
    ids = np.random.default_rng(1).integers(0, 40, (1, 20))
    other = ids.copy()
    other[:, 12:] = 3
    for kind in ("gpt", "old", "llama", "lstm"):
        with torch.no_grad():
            a, b = (_net(kind)(torch.from_numpy(x))[:, :12] for x in (ids, other))
        assert torch.equal(a, b), kind


def test_runs_end_at_borders():
    ids = np.array([[5, 6, 1, 5, 6]])
    two, three = run_places(ids, (2, 3), 10_007, 1)
    alone = run_places(np.array([[1, 5, 6]]), (2, 3), 10_007, 1)
    assert np.array_equal(two[:, 2:], alone[0]) and np.array_equal(three[:, 2:], alone[1])
    assert two[0, 1] == two[0, 4] and three[0, 0] == three[0, 3]
    assert np.array_equal(run_places(torch.from_numpy(ids), (2, 3), 10_007, 1)[1].numpy(), three)


def test_some_runs_are_unheard_while_learning():
    torch.manual_seed(0)
    net = LanguageNet(40, 24, [], None, 24, orders=(2,), buckets=97, unheard=0.5)
    with torch.no_grad():
        net.head.weight.copy_(torch.eye(40)[:, :24])  # the first scores are the vectors themselves
        net.table.zero_()
        net.grams.fill_(1.0)
    ids = torch.randint(0, 40, (50, 30))
    vectors = net.train()(ids)[..., :24]
    told = vectors.amax(dim=2)
    assert torch.equal(told, vectors.amin(dim=2)) and set(told.unique().tolist()) == {0.0, 2.0}  # whole, or not at all
    assert 0.45 < float((told > 0).float().mean()) < 0.55
    assert torch.equal(net.eval()(ids)[..., :24], torch.ones(50, 30, 24))


def test_scores_are_divided_until_they_are_as_sure_as_they_may_be():
    net, rng = _net("gpt"), np.random.default_rng(0)
    ids = rng.integers(0, 40, (40, 31))
    with torch.no_grad():
        for at in range(30):  # what follows is drawn by the network itself
            shares = net(torch.from_numpy(ids[:, : at + 1]))[:, -1].double().softmax(dim=1).numpy()
            ids[:, at + 1] = [rng.choice(40, p=p / p.sum()) for p in shares]
        held = torch.from_numpy(ids)
        few = torch.from_numpy(rng.integers(0, 40, (79, 31)))  # 2,370 tokens; then 1,980
        assert temperature(net, None) is None and temperature(net, few[:66]) is None and temperature(net, few) > 0
        held = held.repeat(2, 1)
        assert 0.9 < temperature(net, held) < 1.1
        net.head.weight.mul_(1.5)
        assert 1.35 < temperature(net, held) < 1.65
    fitted = TextGenerator(width=16, depth=1, context=16, steps=20, validation_fraction=0.5, random_state=0)
    fitted.fit(tiny_text(2_000))
    assert any("Scores are divided by" in note for note in fitted.history_.notes)


def test_texts_of_all_kinds_are_read(tmp_path: Path):
    text = tiny_text(100)
    path = tmp_path / "text.txt"
    path.write_text(text)
    for source in (text, path, text.encode()):
        corpus = read(source, "characters", 0, 0.1, 0)
        whole = np.concatenate([corpus.ids, corpus.held])
        assert corpus.alphabet.text(whole) == text and 0.05 < len(corpus.held) / len(whole) < 0.15
    several = read(tiny_names(), "bytes", 0, 0.1, 0)
    assert several.documents and several.ids[0] == 256 and (several.ids == 256).sum() > 100
    assert "ü" in read("größer über " * 20, "characters", 0, 0.0, 0).alphabet.symbols
    lone = read("ab\ud800cd " * 20, "characters", 0, 0.0, 0)
    assert "surrogates" in lone.notes[0]
    path.write_bytes(b"abc\xff\xfe def " * 20)
    with pytest.raises(DataError, match="Byte 3"):
        read(path, "characters", 0, 0.1, 0)
    assert len(read(path, "bytes", 0, 0.1, 0).ids) > 100
    for wrong, told in (
        (tmp_path / "none.txt", "no file"),
        ("", "empty"),
        (["", ""], "empty"),
        ("a" * 100, "again and again"),
        ("abc", "tokens to learn from"),
        ([1.0, None], "expected a text"),
        (7, "expected a text"),
    ):
        with pytest.raises(DataError, match=told):
            read(wrong, "characters", 0, 0.1, 0)
    with pytest.raises(ParameterError, match="tokens"):
        read("abc", "words", 0, 0.1, 0)


def test_two_gigabytes_stay_on_the_disk(tmp_path: Path):
    path = tmp_path / "large.txt"
    with path.open("wb") as file:
        file.write(tiny_text(2000).encode())
        file.seek((2 << 30) - 10_000)
        file.write(tiny_text(2000).encode())
    with pytest.raises(DataError, match="tokens='bytes'"):
        TextGenerator(steps=2).fit(path)
    model = TextGenerator(tokens="bytes", width=8, depth=1, context=16, steps=3, random_state=0).fit(path)
    assert model.history_.steps == 3 and len(model.sample(1, seed=0, length=5)[0]) > 0
    with path.open("wb") as file:
        file.truncate(2 << 30)
    with pytest.raises(DataError, match="again and again"):
        TextGenerator(tokens="bytes", steps=2).fit(path)


def test_a_small_model_learns_a_small_text():
    text = tiny_text(1500)
    model = TextGenerator(width=32, depth=1, context=32, steps=120, random_state=0).fit(text)
    told = model.evaluate(tiny_text(300, seed=5), train=text, n=20)
    # ten words alike likely are ln 10 nats for 3.7 characters; a table of single characters gives 2.6 nats
    assert told["nats_per_character"] < 0.95 and told["bits_per_character"] == told["nats_per_character"] / np.log(2)
    made = " ".join(model.sample(20, seed=1, length=100)).replace(".", "").split()
    known = set(text.replace(".", "").split())
    assert np.mean([w in known for w in made]) > 0.85
    assert "characters" in read(text, "characters", 0, 0, 0).alphabet.word


def test_short_texts_and_strange_prompts_are_told_of():
    model = TextGenerator(width=16, depth=1, steps=5, random_state=0).fit("to be or not to be, that is the question")
    assert "seen at once" in model.history_.notes[0] and model.step_.context < 128
    with pytest.warns(UserWarning, match="'ж'"):
        assert model.sample(1, "to ж", seed=0, length=3)[0].startswith("to ж")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(model.sample(1, "to be" * 200, seed=0, length=3)[0]) == 1003  # longer than the context
    assert np.isfinite(model.score_samples(["жжж", "to be", ""])).all()


def test_likelihoods_are_those_of_the_tokens_one_by_one():
    names = tiny_names()
    model = TextGenerator(width=16, depth=1, context=16, steps=30, random_state=0).fit(names)
    step, text = model.step_, "anna"
    ids = np.concatenate([[1], step.letters.read(text), [1]])
    total = 0.0
    for i in range(1, len(ids)):
        scores = step.network(ids[None, :i])[0, -1].astype(np.float64)
        total += scores[ids[i]] - np.log(np.exp(scores).sum())
    assert np.isclose(step.score_samples([text])[0], total / 5, rtol=1e-5)
    # The probabilities of all texts sum to one: of those that begin so, those that go on in each way
    shares = [np.exp(step.network(np.array([[1, step.letters.read(c)[0]]]))[0, 0]) for c in "aj"]
    assert np.allclose(shares[0], shares[1])


@pytest.mark.parametrize("n", [2, 9, 16, 17, 23, 24, 25, 40, 57])
def test_windows_judge_each_token_once_with_half_a_context_before_it(n):
    model = TextGenerator(width=16, depth=1, context=16, steps=3, random_state=0).fit(tiny_text(80))
    ids = np.random.default_rng(n).integers(2, 10, n)
    judged = {}
    for low in sorted({0, *range(8, max(n - 16, 0), 8), max(n - 1 - 16, 0)}):
        scores = model.step_.network(ids[None, low : min(low + 16, n - 1)])[0].astype(np.float64)
        scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
        for i, row in enumerate(scores):
            judged.setdefault(low + i + 1, row[ids[low + i + 1]])
    assert len(judged) == n - 1
    assert np.isclose(model.step_._judge(ids), sum(judged.values()), rtol=1e-6)


def test_stops_and_bytes_of_characters_are_held_until_they_are_sure():
    letters = plain_bytes()
    thread = Thread(letters, ["STOP"])
    told = [thread.add(b) for b in "aé ST".encode()]
    assert told == ["a", "", "é", " ", "", ""]
    assert [thread.add(b) for b in b"x STOP"] == ["STx", " ", "", "", "", ""] and thread.over
    assert thread.close() == "aé STx " and thread.ended == "stop" and thread.add(65) == ""
    cut = Thread(letters, [])
    cut.add("é".encode()[0])
    assert cut.close() == "\ufffd" and cut.ended == "length"


def test_draws_obey_their_options():
    from everymodel.scoring.steps.writing import Draw

    scores = np.log(np.array([[0.5, 0.3, 0.15, 0.05]])).repeat(4000, axis=0)
    draws = np.random.default_rng(0).random(4000)

    def shares(**options):
        return np.bincount(Draw.of(options, 1).choose(scores, draws), minlength=4) / 4000

    assert np.allclose(shares(), [0.5, 0.3, 0.15, 0.05], atol=0.03)
    assert np.allclose(shares(top_k=2), [0.625, 0.375, 0, 0], atol=0.03)
    assert np.allclose(shares(top_p=0.6), [0.625, 0.375, 0, 0], atol=0.03)
    assert np.allclose(shares(top_p=0.5), [1, 0, 0, 0])
    assert np.allclose(shares(temperature=0.5), np.array([25, 9, 2.25, 0.25]) / 36.5, atol=0.03)
    assert shares(temperature=0)[0] == 1


def test_chats_are_lines_or_what_the_template_says():
    step = TextGenerator(width=8, depth=1, steps=1, context=8, random_state=0).fit(tiny_text(60)).step_
    said = [
        {"role": "user", "content": "Hello "},
        {"role": "assistant", "content": "Hi"},
        {"role": "user", "content": "?"},
    ]
    assert step.chat(said) == ("User: Hello\nAssistant: Hi\nUser: ?\nAssistant:", ["\nUser:"])
    form = {"system": "<s>{text}</s>", "user": "<u>{text}</u>", "assistant": "<a>{text}</a>"}
    own = TextGenerator(width=8, depth=1, steps=1, context=8, template=form).fit(tiny_text(60)).step_
    assert own.chat(said[:1]) == ("<u>Hello</u><a>", ["</a>"])
    assert type(own).build(*own.spec()).chat(said[:1]) == own.chat(said[:1])
    with pytest.raises(ParameterError, match="role"):
        step.chat([{"role": "judge", "content": "x"}])
    with pytest.raises(ParameterError, match="template"):
        TextGenerator(template={"user": "{text}"}).fit(tiny_text(60))
    stream = Stream(step, "the ", 0, {"length": 5})
    assert len("".join(stream)) == 5 and (stream.prompt_tokens, stream.tokens, stream.ended) == (4, 5, "length")


def test_longest_runs_are_exact():
    whole = "abracadabra and the cat"
    assert longest_runs(["abrac!", "xyz", "the cat", "", "cadabra a"], whole) == [5, 0, 7, 0, 9]
    rng = np.random.default_rng(0)
    long, short = ("".join(rng.choice(list("ab"), n)) for n in (300, 40))
    best = max(j - i for i in range(40) for j in range(i, 41) if short[i:j] in long)
    assert longest_runs([short], long) == [best]


def test_damaged_files_are_refused():
    step = TextGenerator(width=16, depth=1, context=16, steps=2, random_state=0).fit(tiny_text(80)).step_
    settings, arrays = step.spec()
    rng = np.random.default_rng(0)
    refused = 0
    for trial in range(300):
        bad = {k: v.copy() for k, v in arrays.items()}
        key = sorted(bad)[rng.integers(len(bad))]
        if trial % 3 == 0:
            bad[key] = bad[key][..., :-1]
        elif trial % 3 == 1:
            del bad[key]
        else:
            bad[key] = bad[key].astype(np.int64) if bad[key].dtype.kind == "f" else np.full_like(bad[key], -5)
        try:
            made = TextWriter.build(settings, bad)
            made.sample(1, seed=0, length=3)
        except ModelFileError:
            refused += 1
    assert refused >= 200
    for name, value in (
        ("begin", 10_000),
        ("usual", 0),
        ("documents", 3),
        ("template", {"user": "x"}),
        ("alphabet", {}),
    ):
        with pytest.raises(ModelFileError):
            TextWriter.build({**settings, name: value}, arrays)


def test_words_are_cut_as_the_known_vocabularies_do():
    text = "I'll say: it's 1234 o'clock,\n\n  don't?  ümlaut x_y"
    gpt2 = ["I", "'ll", " say", ":", " it", "'s", " 1234", " o", "'", "clock", ",", "\n\n ", " don", "'t", "?", " ",
            " ümlaut", " x", "_", "y"]  # fmt: skip
    assert words(text, "gpt2") == gpt2
    assert "".join(words(text, "llama3")) == text and "123" in [w.strip() for w in words(text, "llama3")]
    assert words(text, "none") == [text]


def test_characters_that_were_never_seen_are_one():
    letters = Characters(("a", "b", "ß"))
    assert letters.read("abßc").tolist() == [2, 3, 4, 0] and letters.strange("abc🙂") == ["c", "🙂"]
    assert letters.text([2, 0, 4, 1]) == "aß"


# --- checkpoints ---


def _tokenizer(end: str = "<|endoftext|>") -> dict:
    """Bytes, three pairs of them, and an end, as a tokenizer.json."""
    from everymodel.models.generative._text import byte_letters

    letters = byte_letters()
    vocabulary = {letter: byte for byte, letter in letters.items()}
    merges = [("t", "h"), ("th", "e"), (letters[32], "the")]
    vocabulary |= {a + b: 256 + i for i, (a, b) in enumerate(merges)}
    return {
        "model": {"type": "BPE", "vocab": vocabulary | {end: 259}, "merges": [" ".join(m) for m in merges]},
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False},
        "added_tokens": [{"id": 259, "content": end, "special": True}],
    }


def _folder(path: Path, kind: str = "gpt2", size: int = 32, depth: int = 2) -> Path:
    """A checkpoint with random weights."""
    library = pytest.importorskip("safetensors.numpy")
    rng = np.random.default_rng(0)
    path.mkdir(exist_ok=True)
    weights: dict[str, np.ndarray] = {}

    def add(name: str, *shape: int, around: float = 0.0) -> None:
        weights[name] = (around + 0.1 * rng.standard_normal(shape)).astype(np.float32)

    if kind == "gpt2":
        config = {"n_embd": size, "n_head": 4, "n_layer": depth, "n_positions": 64, "vocab_size": 260}
        config["activation_function"] = "gelu_new"
        add("transformer.wte.weight", 260, size)
        add("transformer.wpe.weight", 64, size)
        for i in range(depth):
            for name, a, b in (("attn.c_attn", size, 3 * size), ("attn.c_proj", size, size),
                               ("mlp.c_fc", size, 4 * size), ("mlp.c_proj", 4 * size, size)):  # fmt: skip
                add(f"transformer.h.{i}.{name}.weight", a, b)
                add(f"transformer.h.{i}.{name}.bias", b)
            for name in ("ln_1", "ln_2"):
                add(f"transformer.h.{i}.{name}.weight", size, around=1.0)
                add(f"transformer.h.{i}.{name}.bias", size)
        add("transformer.ln_f.weight", size, around=1.0)
        add("transformer.ln_f.bias", size)
    else:
        config = {"hidden_size": size, "num_attention_heads": 4, "num_key_value_heads": 2, "num_hidden_layers": depth}
        config |= {"intermediate_size": 3 * size, "max_position_embeddings": 64, "vocab_size": 260, "rope_theta": 1e4}
        e = size // 4
        add("model.embed_tokens.weight", 260, size)
        add("lm_head.weight", 260, size)
        add("model.norm.weight", size, around=1.0)
        for i in range(depth):
            at = f"model.layers.{i}."
            for name, out in (("q", 4 * e), ("k", 2 * e), ("v", 2 * e)):
                add(f"{at}self_attn.{name}_proj.weight", out, size)
                if kind == "qwen2":
                    add(f"{at}self_attn.{name}_proj.bias", out)
            add(f"{at}self_attn.o_proj.weight", size, 4 * e)
            for name, shape in (("gate", (3 * size, size)), ("up", (3 * size, size)), ("down", (size, 3 * size))):
                add(f"{at}mlp.{name}_proj.weight", *shape)
            add(f"{at}input_layernorm.weight", size, around=1.0)
            add(f"{at}post_attention_layernorm.weight", size, around=1.0)
    config["model_type"] = kind
    (path / "config.json").write_text(json.dumps(config))
    (path / "tokenizer.json").write_text(json.dumps(_tokenizer()))
    (path / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|endoftext|>"}))
    library.save_file(weights, path / "model.safetensors")
    return path


def _gpt2_by_hand(path: Path, ids: np.ndarray) -> np.ndarray:
    """GPT-2 as its paper has it, one place after the other, for comparison."""
    from safetensors.numpy import load_file

    w = {k.removeprefix("transformer."): v.astype(np.float64) for k, v in load_file(path / "model.safetensors").items()}

    def norm(x, name):
        return (x - x.mean()) / np.sqrt(x.var() + 1e-5) * w[f"{name}.weight"] + w[f"{name}.bias"]

    xs = [w["wte.weight"][t] + w["wpe.weight"][i] for i, t in enumerate(ids)]
    for layer in range(2):
        at = f"h.{layer}."
        three = [norm(x, f"{at}ln_1") @ w[f"{at}attn.c_attn.weight"] + w[f"{at}attn.c_attn.bias"] for x in xs]
        q, k, v = (np.array([t.reshape(3, 4, -1)[j] for t in three]) for j in range(3))  # (t, heads, e)
        for i in range(len(xs)):
            seen = []
            for h in range(4):
                s = np.exp(k[: i + 1, h] @ q[i, h] / np.sqrt(q.shape[2]))
                seen.append(s / s.sum() @ v[: i + 1, h])
            xs[i] = xs[i] + np.concatenate(seen) @ w[f"{at}attn.c_proj.weight"] + w[f"{at}attn.c_proj.bias"]
        for i, x in enumerate(xs):
            z = norm(x, f"{at}ln_2") @ w[f"{at}mlp.c_fc.weight"] + w[f"{at}mlp.c_fc.bias"]
            z = 0.5 * z * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3)))
            xs[i] = x + z @ w[f"{at}mlp.c_proj.weight"] + w[f"{at}mlp.c_proj.bias"]
    return np.array([norm(x, "ln_f") @ w["wte.weight"].T for x in xs])


def test_a_checkpoint_answers_as_it_should(tmp_path: Path):
    path = _folder(tmp_path / "gpt2")
    model = TextGenerator(base=str(path), adapt="none").fit(None)
    ids = np.random.default_rng(0).integers(0, 259, 20)
    wanted = _gpt2_by_hand(path, ids)
    assert np.abs(model.step_.network(ids[None])[0] - wanted).max() < 1e-4 * np.abs(wanted).max()
    letters = model.step_.letters
    assert letters.read("the then<|endoftext|>ü the").tolist() == [257, 258, 110, 259, 195, 188, 258]
    assert letters.text(letters.read("the then ü")) == "the then ü" and letters.end == 259
    assert open_bytes(wrap(model, None).to_bytes()).sample(2, "the", seed=0, length=9) == model.sample(
        2, "the", seed=0, length=9
    )
    for kind in ("llama", "mistral", "qwen2"):
        other = TextGenerator(base=str(_folder(tmp_path / kind, kind)), adapt="none").fit(None)
        with torch.no_grad():
            assert np.allclose(
                other.net_(torch.from_numpy(ids)[None]).numpy(), other.step_.network(ids[None]), atol=1e-4
            )
        assert isinstance(other.sample(1, "the", seed=0, length=3)[0], str)


def test_a_checkpoint_goes_on_learning_in_small_matrices(tmp_path: Path):
    path, text = _folder(tmp_path / "gpt2", size=64), tiny_text(1200)
    before = TextGenerator(base=str(path), adapt="none").fit(None)
    model = TextGenerator(
        base=str(path), rank=2, context=32, steps=60, batch_size=8, learning_rate=0.01, random_state=0
    )
    model.fit(text)
    fresh = tiny_text(60, seed=9)
    assert model.score_samples([fresh])[0] > 0.8 * before.score_samples([fresh])[0]  # both are below 0
    assert 0 < model.share_ < 0.06 and "nats a token before" in model.history_.notes[-1]
    changed = (model.net_.table - before.net_.table).abs().max()
    assert changed == 0 and not torch.equal(model.net_.blocks[0].mix.weight, before.net_.blocks[0].mix.weight)
    ids = np.arange(20)[None]
    with torch.no_grad():
        assert np.allclose(model.net_(torch.from_numpy(ids)).numpy(), model.step_.network(ids), atol=1e-4)
    opened = open_bytes(wrap(model, text).to_bytes())
    assert np.array_equal(opened.step.network(ids), model.step_.network(ids))
    full = clone(model).set_params(adapt="full", steps=20).fit(["the cat", "the dog", "the mat"] * 20)
    assert full.share_ == 1 and full.step_.documents and not torch.equal(full.net_.table, before.net_.table)


def test_more_memory_than_there_is_is_said_before_anything_is_read(tmp_path: Path):
    path = _folder(tmp_path / "gpt2", size=64)
    numbers = sum(p.numel() for p in TextGenerator(base=str(path), adapt="none").fit(None).net_.parameters())
    assert f"({numbers:,} numbers)" in room(path, "none", 0, None)
    told = [room(path, adapt, 8 * 32, 1e9) for adapt in ("none", "lora", "full")]
    sizes = [float(t.partition("about ")[2].partition(" MB")[0]) for t in told]
    assert sizes[0] < sizes[1] < sizes[2] and all("1.0 GB were free" in t for t in told)
    for adapt, tokens, free, way in (
        ("full", 10**6, 2e7, "batch_size times context of"),
        ("full", 10, 12.0 * numbers, 'adapt="lora"'),
        ("none", 0, 4.0 * numbers, "Take a smaller checkpoint"),
    ):
        with pytest.raises(CapabilityError, match=way):
            room(path, adapt, tokens, free)
    with pytest.raises(CapabilityError) as caught:
        room(path, "full", 10**6, 2e7)
    most = int(str(caught.value).partition("context of ")[2].split()[0].replace(",", ""))
    assert "were free" in room(path, "full", most, 2e7)
    header = json.dumps({"a": {"dtype": "F32", "shape": "x"}}).encode()
    (path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(DataError, match="cannot be read"):
        room(path, "none", 0, None)
    (path / "model.safetensors").write_bytes(b"\xff" * 64)
    with pytest.raises(DataError, match="cannot be read"):
        room(path, "none", 0, None)


def test_merged_matrices_answer_as_those_beside(tmp_path: Path):
    from everymodel.training.blocks.transformer import adapt, merge

    net = _net("old")
    ids = torch.arange(20)[None]
    with torch.no_grad():
        before = net(ids)
        moved = adapt(net, 3)
        assert torch.allclose(net(ids), before, atol=1e-6) and moved == sum(
            p.numel() for p in net.parameters() if p.requires_grad
        )
        for p in net.parameters():
            if p.requires_grad:
                p.add_(0.1 * torch.randn_like(p))
        beside = net(ids)
        assert not torch.allclose(beside, before, atol=1e-3)
        assert np.allclose(written(net)(ids.numpy()), beside.numpy(), atol=1e-4)
        merge(net)
        assert torch.allclose(net(ids), beside, atol=1e-5)


def test_the_small_matrices_of_a_larger_network_are_a_small_share():
    from everymodel.models.generative._checkpoint import frozen
    from everymodel.training.blocks.transformer import adapt

    blocks = [Block(256, 8, 1024, kind="gelu_tanh", turned=0, even=False, norms="layer", bias="all") for _ in range(4)]
    net = LanguageNet(8000, 256, blocks, norm(256, "layer", 1e-5), 256, tied=True, places=64, limit=64)
    moved = adapt(net, 4)
    assert 0 < frozen(net) <= 0.02 and moved == 4 * 4 * (256 + 768 + 256 + 256 + 2 * (256 + 1024))


def test_wrong_folders_are_refused_with_the_reason(tmp_path: Path):
    def refused(folder, told):
        with pytest.raises(DataError, match=told):
            TextGenerator(base=str(folder), adapt="none").fit(None)

    refused(tmp_path / "none", "no folder")
    refused(tmp_path, "no config.json")
    path = _folder(tmp_path / "gpt2")
    weights = (path / "model.safetensors").read_bytes()
    (path / "model.safetensors").unlink()
    refused(path, "no weights")
    (path / "pytorch_model.bin").write_bytes(b"\x80\x04N.")
    refused(path, "run code")
    (path / "model.safetensors").write_bytes(weights[:-100])
    refused(path, "cannot be read")
    (path / "model.safetensors").write_bytes(weights)
    config = json.loads((path / "config.json").read_text())
    for change, told in (
        ({"model_type": "bert"}, "of type 'bert'"),
        ({"n_embd": 48}, "do not fit"),
        ({"n_layer": 3}, "lacks"),
        ({"activation_function": "mish"}, "mish"),
        ({"vocab_size": "many"}, "do not fit"),
    ):
        (path / "config.json").write_text(json.dumps(config | change))
        refused(path, told)
    (path / "config.json").write_text(json.dumps(config))
    (path / "tokenizer.json").write_text(json.dumps({"model": {"type": "Unigram", "vocab": []}}))
    refused(path, "not read here")
    (path / "tokenizer.json").write_text("{")
    refused(path, "not JSON")
    (path / "tokenizer.json").unlink()
    refused(path, "no vocabulary")
    index = {"weight_map": {"a": "../model.safetensors"}}
    (path / "model.safetensors.index.json").write_text(json.dumps(index))
    refused(path, "outside")


def test_pieces_of_words_are_learnt():
    pytest.importorskip("tokenizers")
    text = tiny_text(1500)
    model = TextGenerator(tokens="bpe", vocabulary=300, width=16, depth=1, context=16, steps=60, random_state=0).fit(
        text
    )
    letters = model.step_.letters
    assert (
        letters.size <= 300 and len(letters.read(text)) < 0.5 * len(text) and letters.text(letters.read(text)) == text
    )
    assert model.sample(1, "the ", seed=0, length=5)[0].startswith("the ")
