"""Optional packages: imported where used, and their absence prints the pip line."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

from everymodel.core.errors import NotInstalledError

# Which extra of ours brings a package (import name -> extra).
EXTRA_OF = {
    "catboost": "boost",
    "xgboost": "boost",
    "torch": "deep",
    "onnx": "fast",
    "onnxruntime": "fast",
    "gymnasium": "rl",
    "tokenizers": "text",
    "safetensors": "text",
    "starlette": "serve",
    "uvicorn": "serve",
    "msgspec": "serve",
    "pyspark": "spark",
    "optuna": "tune",
    "pyarrow": "tables",
    "polars": "tables",
    "openpyxl": "tables",
    "lxml": "tables",
    "sqlalchemy": "tables",
    "shap": "explain",
    "umap": "maps",
}


def installed(package: str) -> bool:
    """Whether `package` can be imported, without importing it."""
    return importlib.util.find_spec(package) is not None


def pip_line(package: str) -> str:
    """The line that installs `package`."""
    name = package.partition(".")[0]
    if (
        name == "xgboost"
    ):  # in no extra, and without what it names: numpy and scipy are here, and NCCL for GPUs is 469 MB
        return "pip install --no-deps xgboost"
    extra = EXTRA_OF.get(name)
    return f'pip install "everymodel[{extra}]"' if extra else f"pip install {package}"


def require(package: str, purpose: str) -> ModuleType:
    """Import `package`, or raise NotInstalledError with the line that installs it."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise NotInstalledError(
            f"{purpose} needs the package {package}, which is not installed. Run: {pip_line(package)}"
        ) from error
