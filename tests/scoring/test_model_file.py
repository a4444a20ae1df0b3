"""The .em file: what was saved answers alike, and anything else is refused without harm."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import os
import resource
import signal
import struct
import subprocess
import sys
import textwrap
import time
import zipfile
import zlib
from pathlib import Path

import model_parts
import numpy as np
import pytest

from everymodel import scoring
from everymodel.core.errors import ModelFileError, PackError
from everymodel.core.schema import Column, Schema
from everymodel.scoring import container, probe, table, tensors
from everymodel.scoring.graph import Node, Pack
from everymodel.scoring.model import Model, open_bytes
from everymodel.scoring.steps.base import Step, step


@pytest.mark.parametrize("make", [model_parts.regression, model_parts.binary, model_parts.multiclass])
def test_a_saved_model_answers_bit_for_bit(make, tmp_path):
    model = make()
    model.save(tmp_path / "m.em")
    again = scoring.load(tmp_path / "m.em")
    batch, _ = model.read(model_parts.rows(300))
    assert np.array_equal(model.answers(batch), again.answers(batch))
    assert again.classes == model.classes and again.schema == model.schema
    assert [type(c) for c in again.classes] == [type(c) for c in model.classes]


def test_equal_models_give_equal_bytes():
    first, second = model_parts.regression(), model_parts.regression()
    for model in (first, second):
        model.manifest["created"] = "2026-01-01"
    assert first.to_bytes() == second.to_bytes()


def test_inspect_reads_the_manifest_alone(tmp_path):
    model = model_parts.regression()
    model.save(tmp_path / "m.em")
    told = scoring.inspect(tmp_path / "m.em")
    assert told["name"] == "price" and told["format"] == 1 and told["task"] == "regression"
    assert told["contains_training_rows"] is False
    assert [c["name"] for c in told["schema"]["columns"]] == ["size", "city", "built", "note", "price"]


def test_members_are_in_order_with_fixed_dates_and_deflated_where_that_helps():
    raw = model_parts.regression().to_bytes()
    with zipfile.ZipFile(io.BytesIO(raw)) as file:
        infos = file.infolist()
        assert file.testzip() is None
    assert [i.filename for i in infos] == list(container.MEMBERS)
    assert {i.compress_type for i in infos} <= {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
    assert infos[0].compress_size < 0.7 * infos[0].file_size
    assert {i.date_time for i in infos} == {(1980, 1, 1, 0, 0, 0)}


def test_stored_members_open_too():
    """As every member was at first, and as other programs may write them."""
    answers = open_bytes(rebuild(members(good()))).predict(model_parts.rows(5))
    assert answers == open_bytes(good()).predict(model_parts.rows(5))
    assert len(rebuild(members(good()))) > len(good())


def test_probe_rows_never_change():
    """A file says only how many there are: were they made otherwise, no file would open any more."""
    columns = (
        Column("n", "number", low=-2.0, high=3.5),
        Column("i", "number", low=0.0, high=9.0, integer=True),
        Column("c", "category", levels=("x", "y", "z")),
        Column("b", "boolean"),
        Column("d", "date", low=0.0, high=1e9),
        Column("t", "text"),
    )
    made = probe.rows(Schema(columns), 12)
    assert probe.rows(Schema(columns), 12) == made
    assert all(values[0] is None for values in made.values())
    assert [round(v, 9) for v in made["n"][2:6]] == [-2.0, 3.5, -7.5, 9.0]
    assert made["c"][1] == "never seen before" and set(made["c"]) <= {None, "x", "y", "z", "never seen before"}
    text = json.dumps(made, ensure_ascii=True)
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "256f36b0332506b1"
    batch, _ = table.parse(Schema(columns), made, unseen="ignore")
    direct = probe.batch(Schema(columns), 12)
    for name, values in direct.columns.items():
        np.testing.assert_array_equal(batch.columns[name], values)


# ---- hostile and damaged files ---------------------------------------------------------------------------------------


def members(raw: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(raw)) as file:
        return {name: file.read(name) for name in file.namelist()}


def rebuild(parts: dict[str, bytes], sums: bool = True, **how) -> bytes:
    """A zip of the parts; with right checksums unless told otherwise."""
    if sums:
        hashes = {n: hashlib.sha256(b).hexdigest() for n, b in parts.items() if n != "checksums.json"}
        parts = {**parts, "checksums.json": json.dumps(hashes).encode()}
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", how.get("compression", zipfile.ZIP_STORED)) as file:
        for name, content in parts.items():
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.create_system = 3
            info.external_attr = how.get("attributes", 0o600 << 16)
            info.compress_type = how.get("compression", zipfile.ZIP_STORED)
            if "extra" in how:
                info.extra = how["extra"]
            file.writestr(info, content)
        file.comment = how.get("comment", b"")
    return stream.getvalue()


@functools.cache
def good() -> bytes:
    return model_parts.regression().to_bytes()


def edited(member: str, change) -> bytes:
    parts = members(good())
    told = json.loads(parts[member])
    told = change(told) or told
    parts[member] = json.dumps(told).encode()
    return rebuild(parts)


def test_the_helper_that_rebuilds_files_makes_good_ones():
    open_bytes(rebuild(members(good())))
    open_bytes(edited("manifest.json", lambda m: None))


@functools.cache
def hostile() -> dict[str, bytes]:
    parts = members(good())
    deep = b"[" * 200_000 + b"]" * 200_000
    bomb = b"\0" * (50 << 20)
    spec = json.loads(parts["spec.json"])
    huge = json.loads(json.dumps(spec))
    name = next(iter(huge["arrays"]))
    huge["arrays"][name] = {"dtype": "<f8", "shape": [2**39, 2**39], "stored": "<f8"}
    inflating = json.loads(json.dumps(spec))
    inflating["arrays"][name] = {"dtype": "|u1", "shape": [2**33], "stored": "|u1", "zip": 2**33}
    halved = good()  # the first member is deflated; it claims to be smaller than it is
    size = struct.pack("<I", len(parts["manifest.json"]))
    halved = halved.replace(size, struct.pack("<I", len(parts["manifest.json"]) // 2))
    other_head = good().replace(b"PK\x03\x04\x14\x00\x00\x00", b"PK\x03\x04\x15\x00\x00\x00", 1)
    return {
        "empty": b"",
        "text": b"hello",
        "only a zip": rebuild({"a.txt": b"x"}, sums=False),
        "pickle inside": rebuild({**parts, "model.pkl": b"x"}),
        "a member short": rebuild({k: v for k, v in parts.items() if k != "probe.json"}),
        "other order": rebuild(dict(sorted(parts.items(), reverse=True)), sums=False),
        "path": rebuild({("../" + k if k == "probe.json" else k): v for k, v in parts.items()}),
        "compressed otherwise": rebuild(parts, compression=zipfile.ZIP_BZIP2),
        "a deflated bomb": rebuild({**parts, "probe.json": b" " * (60 << 20)}, compression=zipfile.ZIP_DEFLATED),
        "longer than it says": halved,
        "two headers": other_head,
        "symlink": rebuild(parts, attributes=(0o120777 << 16)),
        "extra field": rebuild(parts, extra=struct.pack("<HHI", 0x9999, 4, 1)),
        "comment": rebuild(parts, comment=b"hi"),
        "trailing": good() + b"x",
        "leading": b"x" + good(),
        "cut": good()[:-30],
        "half": good()[: len(good()) // 2],
        "gap": good()[:100] + b"\0" * 10 + good()[100:],
        "sums wrong": rebuild({**parts, "probe.json": parts["probe.json"] + b" "}, sums=False),
        "deep": rebuild({**parts, "spec.json": deep}),
        "deep objects": rebuild({**parts, "manifest.json": b'{"a":' * 2000 + b"1" + b"}" * 2000}),
        "not json": rebuild({**parts, "spec.json": b"import os"}),
        "nan json": rebuild({**parts, "probe.json": b'{"rows": NaN}'}),
        "twice": rebuild({**parts, "manifest.json": b'{"format": 1, "format": 1}'}),
        "huge number": rebuild({**parts, "manifest.json": b'{"format": 1, "x": ' + b"9" * 10000 + b"}"}),
        "not utf-8": rebuild({**parts, "manifest.json": b'{"format": "\xff"}'}),
        "a bomb of zeros": rebuild({**parts, "arrays.safetensors": bomb}),
        "huge shape": rebuild({**parts, "spec.json": json.dumps(huge).encode()}),
        "inflating": rebuild({**parts, "spec.json": json.dumps(inflating).encode()}),
        "no schema": edited("manifest.json", lambda m: m.pop("schema") and None),
        "odd schema": edited("manifest.json", lambda m: m["schema"].update(columns=[{"name": "x", "kind": "code"}])),
        "schema is a list": edited("manifest.json", lambda m: m.update(schema=[1])),
        "unknown step": edited("spec.json", lambda s: s["nodes"][0].update(step="os.system")),
        "unknown setting": edited("spec.json", lambda s: s["nodes"][1]["settings"].update(run="x")),
        "cycle": edited("spec.json", lambda s: s["nodes"][1].update(inputs=["answer"])),
        "no nodes": edited("spec.json", lambda s: s.update(nodes=[])),
        "answer is the table": edited("spec.json", lambda s: s.update(answer="table")),
        "wrong inputs": edited("spec.json", lambda s: s["nodes"][3].update(inputs=["forest"])),
        "array unused": edited("spec.json", lambda s: s["arrays"].pop(name) and None),
        "format 0": edited("manifest.json", lambda m: m.update(format=0)),
        "format true": edited("manifest.json", lambda m: m.update(format=True)),
        "a list": edited("manifest.json", lambda m: [m]),
        "other answers": edited("probe.json", lambda p: p["answers"][3].__setitem__(0, 1e6)),
        "fewer answers": edited("probe.json", lambda p: p["answers"].pop() and None),
        "no answers": edited("probe.json", lambda p: {"rows": {}}),
        "odd probe": edited("probe.json", lambda p: p.update(rows={"size": {"a": 1}})),
        "probe of later rows": edited("probe.json", lambda p: p.update(made=2)),
        "more rows than answers": edited("probe.json", lambda p: p.update(n=10_000_000)),
        "other leaves": edited("spec.json", lambda s: s["nodes"][2]["settings"].update(scale=1.5)),
    }


@pytest.mark.parametrize("case", list(hostile()))
def test_hostile_files_are_refused_in_words(case, tmp_path):
    path = tmp_path / "bad.em"
    path.write_bytes(hostile()[case])
    started = time.process_time()
    with pytest.raises(ModelFileError) as caught:
        scoring.load(path)
    assert len(str(caught.value)) < 600
    assert time.process_time() - started < 5  # refused, not chewed on
    assert not (tmp_path.parent / "probe.json").exists()


def test_a_later_format_is_named():
    raw = edited("manifest.json", lambda m: m.update(format=99, everymodel="9.9"))
    with pytest.raises(ModelFileError, match=r"format 99, written by everymodel 9\.9.*[Uu]pgrade"):
        open_bytes(raw)


def test_paths_that_are_no_files(tmp_path):
    for path in (tmp_path, tmp_path / "none.em", "/dev/null"):
        with pytest.raises(ModelFileError):
            scoring.load(path)


def test_deflated_arrays_are_bounded():
    stored, how = container.shrink({"a": np.tile(np.arange(100, dtype=np.int64), 50)})
    assert np.array_equal(container.expand(stored, how)["a"], np.tile(np.arange(100), 50))
    longer = {**stored, "a": np.frombuffer(zlib.compress(b"\0" * 100_000), dtype=np.uint8)}
    with pytest.raises(ModelFileError):
        container.expand(longer, how)
    with pytest.raises(ModelFileError):
        container.expand({**stored, "a": np.append(stored["a"], np.uint8(0))}, how)


def test_marks_of_zeros_are_checked():
    array = np.random.default_rng(0).normal(size=1001)
    array[::2] = 0.0
    stored, how = container.shrink({"a": array})
    assert how["a"]["zeros"] is True
    assert sum(part.nbytes for part in stored.values()) < 0.6 * array.nbytes
    marks = np.packbits(array != 0)
    how["a"].pop("zip", None)
    for bad in (np.roll(marks, 1) ^ 1, marks[:-1], marks | 1, marks ^ 0x80):
        with pytest.raises(ModelFileError):
            container.expand({**stored, "a": bad}, how)
    with pytest.raises(ModelFileError):
        container.expand(stored, {"a": {**how["a"], "values": {"stored": "<f8"}, "shape": [2000]}})


@pytest.mark.parametrize(
    "array",
    [
        np.array([]),
        np.zeros((0, 3)),
        np.zeros((3, 0)),
        np.array(5.0),
        np.array([np.nan, -0.0, np.inf, 1e-320] * 40),
        np.arange(-5, 1000),
        np.array([2**63 - 1, -(2**63)]),
        np.array([2**64 - 1], dtype=np.uint64),
        np.random.default_rng(0).normal(size=2000),
        np.random.default_rng(0).normal(size=2000).astype(np.float32).astype(np.float64),
        np.repeat(np.random.default_rng(0).normal(size=(10, 3)), 50, axis=0),
        np.repeat(np.random.default_rng(0).normal(size=(10, 1)), 50, axis=0),
        np.ones((4, 5, 6)),
        np.array([True, False] * 400),
        np.arange(6, dtype=np.float32).reshape(2, 3).T,
        np.arange(100, dtype=">i4"),
        np.array([0.1] * 500, dtype=np.float16),
        np.where(np.arange(3000) % 3 == 0, 0.0, np.random.default_rng(0).normal(size=3000)),
        np.where(np.arange(3001)[:, None] % 2 == 0, 0.0, np.random.default_rng(0).normal(size=(3001, 2))),
        np.where(np.arange(3000) % 3 == 0, -0.0, np.random.default_rng(0).normal(size=3000)),
        np.zeros(1000),
    ],
    ids=lambda a: f"{a.dtype}{a.shape}",
)
def test_packing_loses_no_bit(array):
    stored, how = container.shrink({"x": array})
    how = json.loads(json.dumps(how))
    raw = tensors.write(stored)
    back = container.expand(tensors.read(raw), how)["x"]
    assert back.dtype == array.dtype.newbyteorder("<") and back.shape == array.shape
    assert back.tobytes() == np.ascontiguousarray(array, dtype=back.dtype).tobytes()


def test_tensors_are_readable_by_the_safetensors_layout():
    raw = tensors.write({"b": np.arange(3, dtype=np.int8), "a": np.eye(2)})
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    assert (8 + length) % 8 == 0
    assert header["a"] == {"dtype": "F64", "shape": [2, 2], "data_offsets": [0, 32]}
    assert header["b"]["data_offsets"] == [32, 35]
    with pytest.raises(ModelFileError):
        tensors.write({"o": np.array([object()])})


def header(entries: dict, body: bytes) -> bytes:
    raw = json.dumps(entries).encode()
    return len(raw).to_bytes(8, "little") + raw + body


@pytest.mark.parametrize(
    "entries",
    [
        {"a": {"dtype": "F64", "shape": [1], "data_offsets": [0, 16]}},
        {"a": {"dtype": "F64", "shape": [-1], "data_offsets": [0, 8]}},
        {"a": {"dtype": "F64", "shape": [1.0], "data_offsets": [0, 8]}},
        {"a": {"dtype": "F64", "shape": [True], "data_offsets": [0, 8]}},
        {"a": {"dtype": "O", "shape": [1], "data_offsets": [0, 8]}},
        {"a": {"dtype": ["F64"], "shape": [1], "data_offsets": [0, 8]}},
        {"a": {"dtype": "F64", "shape": [1], "data_offsets": [8, 16]}},
        {
            "a": {"dtype": "F64", "shape": [2], "data_offsets": [0, 16]},
            "b": {"dtype": "F64", "shape": [1], "data_offsets": [8, 16]},
        },
        {"a": {"dtype": "F64", "shape": [1], "data_offsets": [0, 8]}},
        {"a": {"dtype": "BOOL", "shape": [16], "data_offsets": [0, 16]}},
        {"a": {"dtype": "F64", "shape": [0, 2**62], "data_offsets": [0, 0]}},
        {"a": 5},
    ],
)
def test_wrong_tensor_headers_are_refused(entries):
    with pytest.raises(ModelFileError):
        tensors.read(header(entries, b"\2" * 16))


def test_mutated_files_never_crash_hang_or_answer_otherwise():
    """Single bytes, runs and cuts anywhere; with checksums mended, so that all later checks are reached."""
    rng = np.random.default_rng(0)
    raw = good()
    original = open_bytes(raw)
    batch, _ = original.read(model_parts.rows(20))
    expected = original.answers(batch)
    parts = members(raw)
    names = [n for n in container.MEMBERS if n != "checksums.json"]
    refused = 0
    for trial in range(400):
        if trial % 4 == 0:
            data = bytearray(raw)
        else:
            name = names[trial % len(names)]
            data = bytearray(parts[name])
        for _ in range(int(rng.integers(1, 4))):
            at = int(rng.integers(len(data)))
            kind = int(rng.integers(3))
            if kind == 0:
                data[at] ^= 1 << int(rng.integers(8))
            elif kind == 1:
                data[at : at + int(rng.integers(1, 9))] = bytes(rng.integers(256, size=int(rng.integers(9))).tolist())
            else:
                data[at] = int(rng.choice([0, 48, 57, 45, 255, 123, 93]))
        mutated = bytes(data) if trial % 4 == 0 else rebuild({**parts, name: bytes(data)})
        try:
            model = open_bytes(mutated)
            if model.schema == original.schema:
                model.answers(batch)
        except ModelFileError:
            refused += 1
    assert refused > 200
    assert np.array_equal(original.answers(batch), expected)


# ---- saving ----------------------------------------------------------------------------------------------------------


@step("test_fickle", "value")
class Fickle(Step):
    """Answers differently after it was saved."""

    seen: int = 0

    def __call__(self, batch):
        answer = np.full(len(batch), float(self.seen) + id(self) % 1000)
        return answer


def test_a_model_that_would_answer_otherwise_is_not_saved(tmp_path):
    path = tmp_path / "m.em"
    path.write_bytes(b"old")
    model = Model(model_parts.regression().schema, Pack([Node("a", Fickle())]))
    kept = [Fickle() for _ in range(3)]  # so that the new object cannot get the old one's place in memory
    with pytest.raises(PackError, match="probe row"):
        model.save(path)
    assert path.read_bytes() == b"old" and kept
    assert os.listdir(tmp_path) == ["m.em"]


def test_a_full_disk_leaves_the_old_file(tmp_path):
    """RLIMIT_FSIZE makes the write itself fail, as a full disk does."""
    path = tmp_path / "m.em"
    model_parts.regression().save(path)
    before = path.read_bytes()
    script = textwrap.dedent(
        f"""
        import resource, signal, sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        import model_parts
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        model = model_parts.regression(trees=50)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            model.save({str(path)!r})
        except OSError as error:
            print("refused", error.errno)
        """
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.startswith("refused"), done.stderr
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["m.em"]


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    with pytest.raises(OSError):
        model_parts.regression().save(tmp_path / "none" / "m.em")
    monkeypatch.setattr(os, "replace", lambda *a: (_ for _ in ()).throw(PermissionError(13, "denied")))
    with pytest.raises(PermissionError):
        model_parts.regression().save(tmp_path / "m.em")
    assert os.listdir(tmp_path) == []


def test_kill_in_the_middle_of_a_save_leaves_the_old_file(tmp_path):
    path = tmp_path / "m.em"
    model_parts.regression().save(path)
    before = path.read_bytes()
    script = textwrap.dedent(
        f"""
        import os, sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        import model_parts
        real = os.fsync
        def stop(handle):
            print("writing", flush=True)
            import time; time.sleep(60)
        os.fsync = stop
        model_parts.regression(seed=9).save({str(path)!r})
        """
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as child:
        assert child.stdout.readline() == b"writing\n"
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert path.read_bytes() == before
    scoring.load(path)
    model_parts.regression(seed=9).save(path)
    assert path.read_bytes() != before


# ---- a process with numpy alone --------------------------------------------------------------------------------------


def test_a_file_opens_and_answers_without_the_libraries_that_made_it(tmp_path):
    import everymodel

    source = Path(everymodel.__file__).parent.parent
    raw = model_parts.multiclass().to_bytes()
    path = tmp_path / "m.em"
    path.write_bytes(raw)
    script = textwrap.dedent(
        f"""
        import sys
        for name in ("pandas", "sklearn", "scipy", "lightgbm", "torch", "pyarrow", "polars"):
            sys.modules[name] = None  # importing it fails
        sys.path[:0] = [{str(source)!r}, {str(Path(__file__).parent)!r}]
        from everymodel import scoring
        import model_parts
        print(scoring.load({str(path)!r}).predict(model_parts.rows(3)))
        others = [n for n in sys.modules if n.split(".")[0] in ("pandas", "sklearn", "scipy", "matplotlib", "yaml")]
        assert [n for n in others if sys.modules[n] is not None] == [], others
        """
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == scoring.load(path).predict(model_parts.rows(3))


def test_memory_limit_is_not_needed_to_refuse_a_bomb(tmp_path):
    """The bombs are refused within little memory of their own."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for case in ("inflating", "huge shape", "a bomb of zeros"):
        with pytest.raises(ModelFileError):
            open_bytes(hostile()[case])
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 600_000  # kB; the zeros themselves are 50 MB and are held a few times by the test
