"""Real tables that ship inside scikit-learn, so that every command can be tried without a file: `sample:iris`."""

from __future__ import annotations

from pathlib import Path
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

_NUCLEI = ("radius", "texture", "perimeter", "area", "smoothness", "compactness", "concavity", "concave_points",
           "symmetry", "fractal_dimension")  # fmt: skip
# name -> (file inside scikit-learn, names of the columns): to import sklearn.datasets takes a second or more.
_FILES = {
    "iris": ("iris.csv", "sepal_length sepal_width petal_length petal_width"),
    "wine": (
        "wine_data.csv",
        "alcohol malic_acid ash alcalinity_of_ash magnesium total_phenols flavanoids nonflavanoid_phenols "
        "proanthocyanins color_intensity hue od280/od315_of_diluted_wines proline",
    ),
    "breast_cancer": (
        "breast_cancer.csv",
        " ".join(
            [
                *(f"mean_{what}" for what in _NUCLEI),
                *(f"{what}_error" for what in _NUCLEI),
                *(f"worst_{what}" for what in _NUCLEI),
            ]
        ),
    ),
}


def load(name: str) -> pd.DataFrame:
    """The sample called `name` (with or without the prefix "sample:"), class labels as words."""
    word = name.removeprefix("sample:")
    if word not in SAMPLES:
        import difflib

        near = difflib.get_close_matches(word, SAMPLES, n=1)
        hint = f"Did you mean sample:{near[0]}? " if near else ""
        raise ReadError(f"There is no sample {word!r}. {hint}The samples are {', '.join(SAMPLES)}.")
    if word in _FILES:
        made = _from_file(word)
        if made is not None:
            return made
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


def _from_file(word: str) -> pd.DataFrame | None:
    """The sample as scikit-learn's loader gives it, or None where its file is not as it used to be."""
    import importlib.util

    import pandas as pd

    spec = importlib.util.find_spec("sklearn")
    file, names = _FILES[word]
    path = Path(spec.origin or "").parent / "datasets" / "data" / file if spec else Path(file)
    try:
        with path.open(encoding="utf-8") as lines:
            rows, columns, *classes = next(lines).strip().split(",")  # the first line counts and names the classes
            frame = pd.read_csv(lines, header=None, names=[*names.split(), SAMPLES[word][1]])
        if frame.shape != (int(rows), int(columns) + 1) or frame.isna().any(axis=None):
            return None
    except (OSError, ValueError, StopIteration):
        return None
    target = frame.columns[-1]
    frame[target] = [classes[code] for code in frame[target]]
    return frame.astype(dict.fromkeys(names.split(), float))
