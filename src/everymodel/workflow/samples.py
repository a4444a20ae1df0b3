"""Real tables that ship inside scikit-learn, so that every command can be tried without a file: `sample:iris`."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from everymodel.core.errors import ReadError

if TYPE_CHECKING:
    import pandas as pd

# name -> (loader in sklearn.datasets, name of the target column, what it is)
SAMPLES = {
    "iris": ("load_iris", "species", "150 iris flowers of three species (Fisher 1936)"),
    "wine": ("load_wine", "cultivar", "178 wines of three cultivars, 13 chemical measurements"),
    "breast_cancer": ("load_breast_cancer", "diagnosis", "569 breast tumours, 30 measurements of cell nuclei"),
    "digits": ("load_digits", "digit", "1797 handwritten digits of 8 x 8 pixels"),
    "diabetes": ("load_diabetes", "progression", "442 patients, progression of diabetes after one year"),
    "linnerud": ("load_linnerud", "", "20 men, three exercises and three body measurements"),
}


def load(name: str) -> pd.DataFrame:
    """The sample called `name` (with or without the prefix "sample:"), class labels as words."""
    word = name.removeprefix("sample:")
    if word not in SAMPLES:
        near = difflib.get_close_matches(word, SAMPLES, n=1)
        hint = f"Did you mean sample:{near[0]}? " if near else ""
        raise ReadError(f"There is no sample {word!r}. {hint}The samples are {', '.join(SAMPLES)}.")
    from sklearn import datasets

    loader, target, _ = SAMPLES[word]
    bunch = getattr(datasets, loader)(as_frame=True)
    frame = bunch.frame.copy()
    frame.columns = [str(c).replace(" (cm)", "").replace(" ", "_") for c in frame.columns]
    if target:
        values = frame.pop("target")
        names = bunch.get("target_names")
        if names is not None and word not in ("diabetes", "digits"):
            values = [str(names[int(v)]) for v in values]
        frame[target] = values
    return frame
