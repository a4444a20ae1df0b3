"""Graph networks on Cora and Citeseer, the fixed Planetoid split: accuracy over seeds and CPU seconds of a fit.

    OMP_NUM_THREADS=1 python benchmarks/graph.py --folder FOLDER [--seeds 10] [--models gcn,gat,sage] [--peer]

FOLDER holds ind.cora.* and ind.citeseer.* (as in the repository tkipf/gcn). 20 labels a class teach and 1,000 nodes are
the test; labels of the 500 usual validation nodes are not read. --peer N also times the example of PyTorch Geometric
with N seeds in the same run, where it is installed.
"""

from __future__ import annotations

import argparse
import io
import pickle
import time
from pathlib import Path

import numpy as np

_ALLOWED = {
    ("numpy", "ndarray"), ("numpy", "dtype"), ("numpy.core.multiarray", "_reconstruct"), ("_codecs", "encode"),
    ("scipy.sparse.csr", "csr_matrix"), ("collections", "defaultdict"), ("__builtin__", "list"),
}  # fmt: skip


class _Restricted(pickle.Unpickler):
    """Opens these old files and nothing else: what they may name is listed."""

    def find_class(self, module: str, name: str):
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name} is not expected in these files")
        if name == "_reconstruct":
            return np.ndarray.__reduce__(np.zeros(1))[0]
        if name == "csr_matrix":
            from scipy.sparse import csr_matrix

            return csr_matrix
        return super().find_class("builtins" if module == "__builtin__" else module, name)


def load(folder: Path, name: str):
    """(features csr, labels (n,), edges (m, 2), training and test nodes)."""
    import scipy.sparse as sp

    def part(word: str):
        return _Restricted(io.BytesIO((folder / f"ind.{name}.{word}").read_bytes()), encoding="latin1").load()

    allx, ally, tx, ty, y = (part(word) for word in ("allx", "ally", "tx", "ty", "y"))
    index = np.loadtxt(folder / f"ind.{name}.test.index", dtype=int)
    n = max(int(index.max()) + 1, allx.shape[0] + tx.shape[0])
    features = sp.lil_matrix((n, allx.shape[1]))
    features[: allx.shape[0]] = allx
    features[index] = tx
    hot = np.zeros((n, ally.shape[1]))
    hot[: len(ally)], hot[index] = ally, ty
    labels = np.where(hot.sum(axis=1) > 0, hot.argmax(axis=1), -1)
    edges = np.array([(a, b) for a, others in part("graph").items() for b in others])
    return features.tocsr(), labels, edges, np.arange(len(y)), np.sort(index)


def ours(model, data, seeds: int) -> tuple[np.ndarray, np.ndarray]:
    """(accuracies, CPU seconds of making the graph and fitting)."""
    from everymodel.core.graph import Graph

    features, labels, edges, train, test = data
    scores, times = [], []
    for seed in range(seeds):
        began = time.process_time()
        graph = Graph(edges, nodes=np.arange(len(labels)), features=features)
        mask = np.zeros(len(labels), bool)
        mask[train] = True
        made = model(random_state=seed).fit(graph, labels, train_mask=mask)
        times.append(time.process_time() - began)
        scores.append(np.mean(made.predict(test) == labels[test]))
    return np.array(scores), np.array(times)


def peer(data, seeds: int) -> tuple[np.ndarray, np.ndarray]:
    """PyTorch Geometric's own example (examples/gcn.py): cached normalisation, dense features, Adam, 200 epochs."""
    import torch
    from torch.nn import functional as F
    from torch_geometric.nn import GCNConv

    features, labels, edges, train, test = data
    scores, times = [], []
    for seed in range(seeds):
        torch.manual_seed(seed)
        began = time.process_time()
        x = torch.tensor(features.toarray(), dtype=torch.float32)
        x = x / x.sum(1, keepdim=True).clamp(min=1)
        both = np.unique(np.concatenate([edges, edges[:, ::-1]]), axis=0)
        index, y = torch.tensor(both.T), torch.tensor(labels)
        first, second = GCNConv(x.shape[1], 16, cached=True), GCNConv(16, int(labels.max()) + 1, cached=True)
        groups = [{"params": first.parameters(), "weight_decay": 5e-4}, {"params": second.parameters()}]
        optimizer = torch.optim.Adam(groups, lr=0.01)

        def forward(training: bool, x=x, index=index, first=first, second=second):
            h = F.dropout(x, 0.5, training)
            h = F.dropout(F.relu(first(h, index)), 0.5, training)
            return second(h, index)

        for _ in range(200):
            optimizer.zero_grad()
            F.cross_entropy(forward(True)[train], y[train]).backward()
            optimizer.step()
        times.append(time.process_time() - began)
        with torch.no_grad():
            scores.append(np.mean(forward(False)[test].argmax(1).numpy() == labels[test]))
    return np.array(scores), np.array(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--models", default="gcn")
    parser.add_argument("--peer", type=int, default=0, help="seeds for the example of PyTorch Geometric")
    given = parser.parse_args()
    import torch

    import everymodel as em

    torch.set_num_threads(1)
    kinds = {"gcn": "GraphConvolutionClassifier", "gat": "GraphAttentionClassifier", "sage": "GraphSAGEClassifier"}
    print(f"{'set':10} {'model':28} {'accuracy':>18} {'CPU s':>7}")
    for name in ("cora", "citeseer"):
        data = load(given.folder, name)
        rows = [(kinds[word], ours(getattr(em, kinds[word]), data, given.seeds)) for word in given.models.split(",")]
        if given.peer:
            rows.append(("PyTorch Geometric's example", peer(data, given.peer)))
        for title, (scores, times) in rows:
            told = f"{100 * scores.mean():.2f} +- {100 * scores.std():.2f}"
            print(f"{name:10} {title:28} {told:>18} {np.median(times):7.3f}", flush=True)


if __name__ == "__main__":
    main()
