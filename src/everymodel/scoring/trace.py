"""One row's way through a network, with every number in the open: preparation, forward, loss, backward, update.

Works on the steps of a pack: networks, and linear and logistic models, which are networks of one layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from everymodel.core.errors import CapabilityError, ParameterError
from everymodel.scoring.explain import _cell
from everymodel.scoring.features import stages
from everymodel.scoring.layers import base
from everymodel.scoring.layers.base import Layer
from everymodel.scoring.layers.feed import Activation, Affine, Dense, Members, Sequential, activate
from everymodel.scoring.neuron import FORMULAS, default_loss, loss_and_delta, loss_formulas
from everymodel.scoring.steps.base import Batch, Sparse, Step

if TYPE_CHECKING:
    from everymodel.core.schema import Column
    from everymodel.scoring.graph import Node, Pack
    from everymodel.scoring.model import Model

# (layer, x, dLoss/dy) -> (dLoss/dx, gradients of its arrays): for layers without a backward pass of their own.
Otherwise = Callable[[Layer, Any, np.ndarray], tuple[np.ndarray, dict[str, np.ndarray]]]
_DIFFERENCES = 3000  # numbers whose gradients are found by trying, at most
SUPERVISED = ("regression", "binary", "multiclass", "multilabel")


@dataclass
class Net:
    """A network taken out of its step, in float64.

    root : the layers up to the last weighted sum. phi : what turns that sum into the answer. x : what the first layer
    gets for the row; names : of its inputs. members : how many networks lie side by side in `root` (0: one alone).
    scale, offset (t,) : from the network's unit to the step's answer, which is held within low and high (t,) before.
    places : class of each output, or None.
    """

    root: Layer
    phi: str
    x: Any
    names: list[str]
    members: int = 0
    scale: np.ndarray | None = None
    offset: np.ndarray | None = None
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    places: np.ndarray | None = None


@dataclass
class Part:
    """A layer in a trace: its formulas, its inputs and its numbers, all as arrays of one row.

    values : "z" and "a" (out,); with a target "delta" (dLoss/dz, or dLoss/da where there is no z); its parameters by
    name ("W" (out, in), "b" (out,), ...), "grad_" and "new_" of each.
    """

    number: int
    title: str
    formulas: list[str]
    x: np.ndarray
    values: dict[str, np.ndarray]
    names: list[str] = field(default_factory=list)
    parameters: list[str] = field(default_factory=list)

    @property
    def width(self) -> int:
        return len(self.values["a"])


@dataclass
class Trace:
    """Every number of one row's answer, loss and update. See `trace`.

    cells : (column, cell as read). stages : of the preparation. parts : layers in order. networks : all that the model
    has, with their answers; `network` is the number of the one shown. loss, after : before and after the step of length
    `lr`. wanted : the target in the network's unit (out,);
    delta (out,) : of the loss by the last z. output : of the network, in the unit of its step's answer.
    answer : of the whole model; decision : what it predicts. notes : what to know when reading.
    """

    task: str
    title: str
    cells: list[tuple[str, Any]]
    stages: list[dict[str, Any]]
    x: np.ndarray
    inputs: list[str]
    parts: list[Part]
    networks: list[dict[str, Any]]
    network: int
    outputs: list[str]
    output: np.ndarray
    answer: np.ndarray
    labels: list[str]
    decision: Any
    target: Any = None
    wanted: np.ndarray | None = None
    delta: np.ndarray | None = None
    loss_name: str = ""
    loss_formula: str = ""
    loss: float | None = None
    after: float | None = None
    lr: float | None = None
    notes: list[str] = field(default_factory=list)

    def columns(self) -> dict[str, np.ndarray]:
        """The long form: equally long arrays layer, neuron, name, input, quantity, value.

        Layer 0 is the input. `input` is the number of the input that a weight belongs to, else -1. Other arrays than
        "W" and "b" are listed in their order, `neuron` counting on. The loss belongs to no neuron (-1).
        """
        made: list[tuple[Any, ...]] = [(0, *_listed("x", self.x, self.inputs))]
        for part in self.parts:
            made += [(part.number, *_listed(k, v, part.names)) for k, v in part.values.items()]
        for name, value in (("loss", self.loss), ("loss_after", self.after)):
            if value is not None:
                minus = np.array([-1])
                made.append((len(self.parts), minus, np.array([""], dtype=object), minus, name, np.array([value])))
        sizes = [len(m[-1]) for m in made]
        layer, quantity = (np.repeat(np.array(v), sizes) for v in ([m[0] for m in made], [m[4] for m in made]))
        neuron, name, source, value = (np.concatenate([m[i] for m in made]) for i in (1, 2, 3, 5))
        return {"layer": layer, "neuron": neuron, "name": name, "input": source, "quantity": quantity, "value": value}

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data."""
        told = {f.name: getattr(self, f.name) for f in fields(self)}
        told["parts"] = [{**{f.name: getattr(p, f.name) for f in fields(p)}} for p in self.parts]
        return _plain(told)


def _shown(model: Model, batch: Batch, column: Column) -> Any:
    """A cell as the model read it; of images and sequences how large they are."""
    if column.kind not in ("image", "sequence"):
        return _cell(model, batch, column.name, 0)
    value = batch.columns[column.name][0]
    return None if value is None else f"{column.kind}, {' × '.join(map(str, np.shape(value)))}"


def _numeric(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind in "iufb"


def _listed(quantity: str, values: np.ndarray, names: list[str]) -> tuple[Any, ...]:
    flat = np.ravel(values)
    neuron, source = np.arange(flat.size), np.full(flat.size, -1)
    if values.ndim == 2 and quantity in ("W", "grad_W", "new_W"):
        neuron, source = (i.ravel() for i in np.indices(values.shape))
    called = np.array([*names, ""], dtype=object)
    name = called[np.where(neuron < len(names), neuron, len(names))]
    return neuron, name, source, quantity, flat.astype(np.float64)


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value


def trace(
    model: Model,
    batch: Batch,
    y: Any = None,
    *,
    lr: float | None = 0.01,
    member: int = 0,
    otherwise: Otherwise | None = None,
) -> Trace:
    """Follow one row through one of the model's networks.

    Parameters
    ----------
    batch : one row, as the model's schema has read it.
    y : its target as `table.parse_target` gives it: a class code, a number, or (t,) of several. None: no loss.
    lr : length of the step of plain gradient descent that the update shows; None for none.
    member : which of the model's networks, in the order of `Trace.networks`.
    otherwise : gives gradients of layers that have no backward pass in numpy.

    Raises
    ------
    CapabilityError
        for models that are no network, or of tasks without a target.
    ParameterError
        for a member that does not exist, another number of rows than one, a step length that is no number.
    """
    if batch.n != 1:
        raise ParameterError(f"{batch.n} rows came; a trace follows exactly one.")
    if lr is not None and not (isinstance(lr, int | float) and np.isfinite(lr)):
        raise ParameterError(f"lr={lr!r}: expected a number such as 0.1.")
    values, prepared, found = _all(model, batch, member)
    node, net, which = found[member]
    events: list[tuple[str, Layer, Any, Any]] = []
    out = net.root.run(net.x, lambda *event: events.append(event))
    z = out[0, which] if net.members else out[0]  # (o,)
    a = activate(z, net.phi)
    outputs, labels = _outputs(model, net, len(z))
    answer = np.asarray(values[model.pack.answer], dtype=np.float64)
    made = Trace(
        task=model.task,
        title=str(model.manifest.get("title") or model.manifest.get("name") or "model"),
        cells=[(c.name, _shown(model, batch, c)) for c in model.schema.features],
        stages=[s for s in prepared.values() if s["names"] and s["node"] in _before(model.pack, node)],
        x=np.ravel(net.x).astype(np.float64) if _numeric(net.x) else np.empty(0),
        inputs=net.names,
        parts=[],
        networks=[_told(*one, model.pack) for one in found],
        network=member,
        outputs=outputs,
        output=_answered(net, a),
        answer=answer.reshape(-1),
        labels=labels,
        decision=_plain(model.decide(answer)[0]),
    )
    if len(found) > 1:
        share = made.networks[member]["weight"]
        share = "" if share is None else f", which is {share:.1%} of the answer"
        made.notes.append(f"The model answers with {len(found)} networks; shown is network {member}{share}.")
    if net.low is not None and (np.any(a < net.low) or np.any(a > net.high)):
        made.notes.append("The output lies beyond all targets seen in training; the answer is held at their end.")
    wanted = None if y is None else _wanted(model, net, node, y, len(z), made.notes)
    pulled: dict[str, tuple[np.ndarray, dict[str, np.ndarray]]] = {}
    if wanted is not None:
        made.wanted = wanted
        kind = default_loss(net.phi)
        made.loss_name, made.loss_formula = kind.replace("_", "-"), loss_formulas(kind, net.phi)[0]
        each, delta = loss_and_delta(kind, net.phi, z[None], a[None], wanted[None])
        made.loss, made.lr = float(each[0]), lr
        made.delta = delta[0]
        d = np.zeros_like(out)
        d[(0, which) if net.members else 0] = delta[0]
        try:
            if any(layer.word == "views" for _, layer, _, _ in events):
                made.notes.append("The answer is a mean over mirror images; gradients are those by the image itself.")
            back = _Back(otherwise)
            net.root.pull(net.x, d, lambda path, _, d, dx, grads: pulled.__setitem__(path, (d, grads)), "", back)
            if back.words:
                made.notes.append(f"Gradients of {', '.join(back.words)} are central differences: no closed form here.")
        except NotImplementedError as error:
            made.notes.append(f"Gradients end here, going back from the answer, and the step moves no more: {error}.")
        if lr is not None:
            made.after = _after(net, which, events, pulled, lr, kind, wanted)
            if not made.after <= made.loss:
                made.notes.append(f"The loss grows: a step of lr = {lr:g} is too long for this row. Try a smaller lr.")
    made.parts = _parts(net, which, events, pulled, made, None if wanted is None else lr)
    if made.parts:
        made.parts[-1].names = made.parts[-1].names or outputs
    return made


class _Back:
    """Gradients of layers without a backward pass: `otherwise` first, then central differences where few are needed."""

    def __init__(self, otherwise: Otherwise | None):
        self.otherwise, self.words = otherwise, []

    def __call__(self, layer: Layer, x: Any, d: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        if self.otherwise is not None:
            try:
                return self.otherwise(layer, x, d)
            except NotImplementedError:
                pass
        if not isinstance(x, np.ndarray) or x.dtype.kind != "f" or layer.parts():
            raise NotImplementedError(f"the layer {layer.word!r} has no backward pass here")
        arrays = _arrays(layer)
        count = np.size(x) + sum(a.size for _, a in arrays)
        if count > _DIFFERENCES:
            raise NotImplementedError(f"the layer {layer.word!r} has no backward pass here, and {count:,} numbers are "
                                      "too many for differences")  # fmt: skip
        self.words = list(dict.fromkeys([*self.words, layer.word]))
        grads = {name: _differences(lambda: layer(x), array, d) for name, array in arrays}
        return _differences(lambda: layer(x), x, d), grads


def _differences(call: Callable[[], Any], array: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Gradients of sum(d * call()) for every element of `array`, which is moved in place and put back."""
    grad = np.zeros(array.shape)
    for place in np.ndindex(array.shape):
        kept = array[place]
        h = 1e-5 * max(1.0, abs(float(kept)))
        sides = []
        for step in (h, -h):
            array[place] = kept + step
            sides.append(float((d * call()).sum()))
        array[place] = kept
        grad[place] = (sides[0] - sides[1]) / (2 * h)
    return grad


# --- finding networks ------------------------------------------------------------------------------------------------


def traceable(model: Model, batch: Batch, member: int = 0) -> tuple[Node, Net, int]:
    """(node, network holding all rows of `batch`, its member) of the model's network of this number; see `trace`."""
    return _all(model, batch, member)[2][member]


def _all(model: Model, batch: Batch, member: int) -> tuple[dict[str, Any], dict[str, Any], list[tuple[Node, Net, int]]]:
    """(what every node gives, stages of preparation, networks); errors where there are none, or not so many."""
    if model.task not in SUPERVISED:
        raise CapabilityError(f"This model ({model.task}) is no network, so there is nothing to trace.")
    values = _values(model.pack, batch)
    prepared = stages(model.pack, model.schema, values)
    found = _networks(model, values, prepared)
    if not found:
        kinds = ", ".join(dict.fromkeys(n.step.word for n in model.pack.nodes if n.step.output != "matrix"))
        raise CapabilityError(
            f"This model answers by {kinds or 'steps'}, not by weighted sums, so there is nothing to trace. "
            "Use explain, or fit a network: models=['feed_forward']."
        )
    if not isinstance(member, int) or not 0 <= member < len(found):
        raise ParameterError(f"member={member!r}: this model has the networks 0 to {len(found) - 1}.")
    return values, prepared, found


def _values(pack: Pack, batch: Batch) -> dict[str, Any]:
    """What every node gives for the row."""
    values: dict[str, Any] = {"table": batch}
    for node in pack.nodes:
        values[node.name] = node.step(*[values[name] for name in node.inputs])
        if node.name == pack.answer:
            break
    return values


def _networks(model: Model, values: dict[str, Any], prepared: dict[str, Any]) -> list[tuple[Node, Net, int]]:
    """(node, network, member of it) of all networks that read prepared columns rather than other models' answers."""
    found = []
    for node in model.pack.nodes:
        if len(node.inputs) != 1 or node.inputs[0] not in prepared or node.name not in values:
            continue
        x, names = values[node.inputs[0]], prepared[node.inputs[0]]["names"]
        found += [(node, net, m) for net, m in nets_of(node.step, x, names)]
    return found


def nets_of(step: Step, x: Any, names: list[str]) -> Iterator[tuple[Net, int]]:
    """The networks in a step, each with the number of its member; nothing for other steps. x (1, p)."""
    x = x.toarray() if isinstance(x, Sparse) else x
    if step.word == "network":
        net = _of_network(step, x, names)
        for m in range(max(net.members, 1)):
            yield net, m
    elif step.word == "dense":
        from everymodel.scoring.steps.dense import encoded

        s: Any = step
        wide = encoded(np.asarray(x, dtype=np.float64), s.low, s.high, s.column, s.start, s.width)
        if s.column is not None:
            names = [*names, *(f"{names[j]} above {v:.4g}" for j, v in zip(s.column.tolist(), s.start.tolist()))]
        kind = {"logistic": "sigmoid"}.get(s.activation, s.activation)
        for layers in s._layers():
            chain: list[Layer] = []
            for W, b in layers:
                chain += [Dense(W, b), Activation(kind)]
            root = Sequential(chain[:-1])
            yield Net(root, s.link, wide, names, scale=s.scale, offset=s.offset, places=s.places), 0
    elif step.word in ("linear", "linear_probabilities"):
        s = step
        phi = {"softmax": "softmax", "sigmoid": "sigmoid", "each": "sigmoid"}.get(getattr(s, "link", ""), "identity")
        if step.word == "linear" or s.link in ("softmax", "each") or (s.link == "sigmoid" and s.coef.ndim == 1):
            coef = np.asarray(s.coef, dtype=np.float64)
            coef = coef[:, None] if coef.ndim == 1 else coef
            root = Sequential([Dense(coef, np.asarray(s.intercept, dtype=np.float64).reshape(-1))])
            yield Net(root, phi, np.asarray(x, dtype=np.float64), names), 0


def _of_network(step: Any, x: Any, names: list[str]) -> Net:
    told, arrays = base.write(step.layers)
    root = base.read(told, {k: a.astype(np.float64) if a.dtype.kind == "f" else a for k, a in arrays.items()})
    chain = _flat(root)
    net = Net(root, "identity", x.astype(np.float64) if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x, names)
    if len(chain) == 1 and chain[0].word == "ragged" and len(x) == 1:  # one row needs no batches of similar length
        outer: Any = chain[0]
        values, lengths = outer.reader(x)
        net.x, net.names, chain = (values[None].astype(np.float64), lengths), [], _flat(outer.body)
    if step.gives == "probabilities":
        net.phi = {"binary": "sigmoid"}.get(step.link, step.link)
        net.places = step.places
    elif chain and isinstance(chain[-1], Affine):
        tail = chain.pop()
        net.scale, net.offset = tail.scale, tail.shift
    if step.gives == "value" and chain and chain[-1].word == "clip":
        hold: Any = chain.pop()
        net.low, net.high = hold.low, hold.high
    mean = None
    if chain and isinstance(chain[-1], Members):
        mean = chain.pop()
        net.phi = mean.kind if mean.kind != "identity" else net.phi
    if chain and isinstance(chain[-1], Activation) and net.phi == "identity" and step.gives == "probabilities":
        net.phi = chain.pop().kind
    net.root = Sequential(chain)
    if mean is not None:
        net.members = net.root(net.x).shape[1]
    return net


def _flat(layer: Layer) -> list[Layer]:
    """Layers in sequences of sequences, one after the other."""
    if isinstance(layer, Sequential):
        return [inner for part in layer.layers for inner in _flat(part)]
    return [layer]


def _before(pack: Pack, node: Node) -> set[str]:
    """Names of the nodes that lead to `node`."""
    by_name = {n.name: n for n in pack.nodes}
    open_, seen = [*node.inputs], set()
    while open_:
        name = open_.pop()
        if name in by_name and name not in seen:
            seen.add(name)
            open_ += by_name[name].inputs
    return seen


def _after_it(pack: Pack, node: Node) -> Iterator[tuple[Node, int]]:
    """(step, place among its inputs) from the node to the answer, as long as there is one way only."""
    name = node.name
    while name != pack.answer:
        users = [(n, n.inputs.index(name)) for n in pack.nodes if name in n.inputs]
        if len(users) != 1:
            return
        yield users[0]
        name = users[0][0].name


def _told(node: Node, net: Net, which: int, pack: Pack) -> dict[str, Any]:
    """A network in the list of all: its node, its share in the answer where that is plain, its answer in its unit."""
    out = net.root(net.x)
    z = out[0, which] if net.members else out[0]
    side = net.members or getattr(node.step, "members", 1)
    weight: float | None = 1.0 / side
    answer, last, alone = _answered(net, activate(z, net.phi)), node.name, True
    for user, place in _after_it(pack, node):
        s: Any = user.step
        last = user.name
        if s.word in ("blend", "mean"):
            weights = np.asarray(s.weights) if s.word == "blend" else np.full(len(user.inputs), 1 / len(user.inputs))
            weight = weight * float(weights[place]) if weight is not None and weights.ndim == 1 else None
            alone = False
        elif s.word in ("transform", "clip") and alone:
            answer = np.ravel(s(answer[None] if np.ndim(getattr(s, "scale", 0)) else answer))
        elif s.word not in ("transform", "clip", "calibrate", "bands", "place"):
            weight = None
    weight = weight if last == pack.answer else None
    return {"node": node.name, "member": which, "weight": weight, "answer": answer.tolist()}


# --- targets and answers ---------------------------------------------------------------------------------------------


def _answered(net: Net, a: np.ndarray) -> np.ndarray:
    """The network's output (o,) in the unit of its step's answer."""
    if net.low is not None and not net.members:
        a = np.clip(a, net.low, net.high)
    a = a if net.scale is None else a * net.scale
    return a if net.offset is None else a + net.offset


def _outputs(model: Model, net: Net, o: int) -> tuple[list[str], list[str]]:
    """(names of the network's outputs, names of the model's answers)."""
    if model.task == "regression":
        return model.targets if len(model.targets) == o else [f"output {j + 1}" for j in range(o)], model.targets
    labels = [str(c) for c in model.classes]
    if o == 1 and model.task == "binary":
        place = int(net.places[1]) if net.places is not None and len(net.places) > 1 else 1
        return [labels[place] if place < len(labels) else "1"], labels
    if net.places is not None:
        return [labels[p] if p < len(labels) else str(p) for p in net.places.tolist()], labels
    return labels if len(labels) == o else [f"output {j + 1}" for j in range(o)], labels


def _wanted(model: Model, net: Net, node: Node, y: Any, o: int, notes: list[str]) -> np.ndarray | None:
    """The target as the network's outputs (o,) should be; None (and a note) where the network cannot know it."""
    values = np.ravel(np.asarray(y, dtype=np.float64))
    if model.task == "regression":
        for user, _ in reversed(list(_after_it(model.pack, node))):
            s: Any = user.step
            if s.word == "transform":
                values = (_undone(values, s.kind) - s.offset) / s.scale
                notes.append(f"The network learns the target after a transform ({s.kind}, scaled), undone in the end.")
            elif s.word not in ("blend", "mean", "clip"):
                notes.append(f"The loss compares before the step {s.word!r}, which follows the network.")
        values = values if net.offset is None else values - net.offset
        values = values if net.scale is None else values / net.scale
        if net.scale is not None:
            notes.append("The network answers in units of the target's spread: target = offset + scale · output.")
        if not np.isfinite(values).all():
            notes.append("The target lies where the transform of the target is not defined, so there is no loss.")
            return None
        return np.broadcast_to(values, (o,)).copy()
    if model.task == "multilabel":
        return values
    code = int(values[0])
    known = list(range(2 if o == 1 else o)) if net.places is None else net.places.tolist()
    if code not in known:
        notes.append(f"This network never saw the class {model.classes[code]!r}, so there is no loss for it.")
        return None
    place = known.index(code)
    return np.array([float(place)]) if o == 1 else np.eye(o)[place]


def targets(model: Model, net: Net, node: Node, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(targets (n, o) in the network's unit, (n,) whether the network knows them) for y of `table.parse_target`."""
    o = net.root(net.x).shape[-1]
    rows = [_wanted(model, net, node, one, o, []) for one in y]
    known = np.array([r is not None for r in rows])
    return np.array([np.zeros(o) if r is None else r for r in rows]), known


def _undone(y: np.ndarray, kind: str) -> np.ndarray:
    """u where the transform of this kind gives y."""
    with np.errstate(invalid="ignore", divide="ignore"):
        if kind == "log1p":
            return np.log1p(y)
        if kind == "log":
            return np.log(y)
        return np.sign(y) * np.log1p(np.abs(y)) if kind == "signed_log" else y


def _after(
    net: Net, which: int, events: list[Any], pulled: dict[str, Any], lr: float, kind: str, wanted: np.ndarray
) -> float:
    """The loss once all arrays with gradients have moved by -lr times these."""
    kept = []
    for path, layer, _, _ in events:
        for name, grad in pulled.get(path, (None, {}))[1].items():
            owner, field_ = _owner(layer, name)
            kept.append((owner, field_, getattr(owner, field_)))
            setattr(owner, field_, kept[-1][2] - lr * grad)
    with np.errstate(over="ignore", invalid="ignore"):
        out = net.root(net.x)
        z = (out[0, which] if net.members else out[0])[None]
        each, _ = loss_and_delta(kind, net.phi, z, activate(z, net.phi), wanted[None])
    for layer, name, array in reversed(kept):
        setattr(layer, name, array)
    return float(each[0])


# --- layers ----------------------------------------------------------------------------------------------------------


def _parts(net: Net, which: int, events: list[Any], pulled: dict[str, Any], made: Trace, lr: Any) -> list[Part]:
    """Events of the forward pass with those of the backward pass, a weighted sum and its activation in one."""
    parts: list[Part] = []
    groups: list[list[Any]] = []
    for event in events:
        last = groups[-1] if groups else []
        joins = len(last) == 1 and isinstance(last[0][1], Dense) and isinstance(event[1], Activation)
        if joins and event[2] is last[0][3]:
            last.append(event)
        else:
            groups.append([event])

    told = {id(layer) for _, layer, _, _ in events}

    def own(array: Any, like: Any) -> np.ndarray:
        """The member's part of an array of values for one row; nothing of what is no array (a text, a graph)."""
        if isinstance(array, tuple) and len(array) == 2 and np.ndim(array[0]) == 3:  # steps, and how many of them count
            return np.ravel(array[0][0, : int(array[1][0])]).astype(np.float64)
        if not _numeric(array):
            return np.empty(0)
        array = array.astype(np.float64)
        return np.ravel(array[0, which] if net.members and np.ndim(like) == 3 else array[0])

    for i, group in enumerate(groups):
        path, layer, x, y = group[0]
        bend = group[1] if len(group) > 1 else None
        ends = i == len(groups) - 1
        slope, _ = pulled.get(path, (None, {}))
        values: dict[str, np.ndarray] = {}
        if isinstance(layer, Dense):
            values["z"] = own(y, y)
            if bend is not None:
                values["a"] = own(bend[3], bend[3])
            else:
                values["a"] = activate(values["z"], net.phi) if ends else values["z"]
        elif ends and net.phi != "identity":
            values["z"] = own(y, y)
            values["a"] = activate(values["z"], net.phi)
        else:
            values["a"] = own(y, y)
        if ends and made.delta is not None and len(made.delta) == len(values["a"]):
            values["delta"] = made.delta
        elif slope is not None:
            values["delta"] = own(slope, slope)
        names = []
        for event in group:
            grads = pulled.get(event[0], (None, {}))[1]
            for name, array in _arrays(event[1], told):
                if (
                    net.members
                    and np.ndim(event[3]) == 3
                    and len(array) == net.members
                    and _per_member(event[1], array)
                ):
                    array, grad = array[which], None if name not in grads else grads[name][which]
                else:
                    grad = grads.get(name)
                short = {"weight": "W", "bias": "b"}[name] if isinstance(event[1], Dense) else name
                turn = np.transpose if short == "W" else np.asarray  # shown as (out, in), so that z = W x + b
                names.append(short)
                values[short] = turn(array)
                if grad is not None:
                    values[f"grad_{short}"] = turn(grad)
                    if lr is not None:
                        values[f"new_{short}"] = turn(array - lr * grad)
        following = groups[i + 1][0][1] if not ends else None
        learns, ending = bool(pulled.get(path, (None, {}))[1]), net.phi if ends else None
        title, formulas = _words(layer, bend[1] if bend else None, ending, following, made, slope, learns)
        parts.append(Part(i + 1, title, formulas, own(x, x), values, [], names))
    return parts


def _arrays(layer: Layer, told: set[int] | None = None, prefix: str = "") -> list[tuple[str, np.ndarray]]:
    """Arrays of floats by name; also those of layers inside, by their place, unless `told` has these (by their ids)."""
    held = [(prefix + f.name, getattr(layer, f.name)) for f in fields(layer)]  # type: ignore[arg-type]
    made = [(name, a) for name, a in held if isinstance(a, np.ndarray) and a.dtype.kind == "f"]
    for i, part in enumerate(layer.parts() if told is not None else []):
        if told is not None and id(part) not in told:
            made += _arrays(part, told, f"{prefix}{i}.")
    return made


def _owner(layer: Layer, name: str) -> tuple[Layer, str]:
    """The layer inside, and the field, that a name such as "0.weight" means."""
    *places, field_ = name.split(".")
    for place in places:
        layer = layer.parts()[int(place)]
    return layer, field_


def _per_member(layer: Layer, array: np.ndarray) -> bool:
    """Whether the first axis of a layer's array counts members."""
    return layer.weight.ndim == 3 if isinstance(layer, Dense) else array.ndim >= 2


def _last_delta(phi: str) -> str:
    told = loss_formulas(default_loss(phi), phi)[1]
    return told if default_loss(phi) == "cross_entropy" else f"δ = ∂L/∂z, {told}"


def _words(
    layer: Layer,
    bend: Activation | None,
    phi: str | None,
    following: Layer | None,
    made: Trace,
    slope: Any,
    learns: bool,
) -> tuple[str, list[str]]:
    """Title and formulas of a layer."""
    steps = made.lr is not None
    if not isinstance(layer, Dense):
        formulas, ended = [layer.formula], phi is not None and made.delta is not None
        if phi is not None and phi != "identity":
            formulas = [layer.formula.replace("a =", "z ="), f"a = φ(z) = {FORMULAS[phi][0]}"]
        if ended:
            formulas.append(_last_delta(phi or "identity"))
        elif slope is not None:
            formulas.append("δ = ∂L/∂a")
        if steps and learns:
            formulas.append("new = old - lr · gradient")
        return layer.word.capitalize() + (f" {layer.kind}" if isinstance(layer, Activation) else ""), formulas
    kind = bend.kind if bend is not None else phi or "identity"
    inputs, outputs = layer.weight.shape[-2:]
    title = f"Dense {inputs} → {outputs}, {kind}"
    formulas = ["z = W x + b", f"a = φ(z) = {FORMULAS[kind][0]}"]
    if bend is not None and bend.amount is not None:
        formulas[1] = f"a = z + amount · (φ(z) - z), φ(z) = {FORMULAS[kind][0]}"
    if slope is None:
        return title, formulas
    if bend is None and phi is not None:
        formulas.append(_last_delta(phi))
    elif kind == "identity":
        formulas.append("δ = ∂L/∂z = W₊ᵀ δ₊ (of the next layer)" if isinstance(following, Dense) else "δ = ∂L/∂z")
    else:
        back = "(W₊ᵀ δ₊)" if isinstance(following, Dense) else "∂L/∂a"
        formulas.append(f"δ = {back} ⊙ φ'(z), φ'(z) = {FORMULAS[kind][1]}")
    formulas.append("∂L/∂W = δ xᵀ, ∂L/∂b = δ")
    if steps:
        formulas.append(f"new W = W - {made.lr:g} ∂L/∂W, new b = b - {made.lr:g} ∂L/∂b")
    return title, formulas
