"""What groups are, in words: size, what sets them apart, prototypes, rules."""

from __future__ import annotations

from typing import Any

import numpy as np

from everymodel.workflow.unsupervised.material import Material


def profile(material: Material, labels: np.ndarray, memberships: np.ndarray) -> list[dict[str, Any]]:
    """One dict per group: number, name, sentence, rows, share, confidence.

    Parameters
    ----------
    labels : (n,) group of each row, -1 for noise.
    memberships : (n, k) or (n, k + 1) with noise last.
    """
    told = []
    for group in range(int(labels.max()) + 1):
        at = labels == group
        traits = _traits(material, at)
        name = ", ".join(f"{'high' if z > 0 else 'low'} {column}" for column, z in traits) or f"group {group}"
        told.append(
            {
                "number": group,
                "name": name,
                "sentence": f"{name[:1].upper()}{name[1:]}.",
                "rows": int(at.sum()),
                "share": float(at.mean()),
                "confidence": float(memberships[at, group].mean()) if at.any() else 0.0,
            }
        )
    return told


def _traits(material: Material, at: np.ndarray) -> list[tuple[str, float]]:
    found = []
    for column in material.schema.features:
        if column.kind != "number":
            continue
        values = material.batch.columns[column.name]
        spread = float(np.nanstd(values)) or 1.0
        found.append((column.name, float(np.nanmean(values[at]) - np.nanmean(values)) / spread))
    return [t for t in sorted(found, key=lambda t: -abs(t[1]))[:3] if abs(t[1]) > 0.5]
