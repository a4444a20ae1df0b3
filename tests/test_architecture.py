"""The house rules that import-linter does not see: what an import loads, file sizes, folder names, stubs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "everymodel"
HEAVY = ("pandas", "sklearn", "scipy", "torch", "lightgbm", "matplotlib", "catboost", "pyarrow")


def loaded_by(code: str) -> set[str]:
    """Top-level packages that a fresh interpreter holds after running `code`."""
    script = f"{code}\nimport sys\nprint(' '.join(sorted({{m.partition('.')[0] for m in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "code",
    [
        "import everymodel",
        "import everymodel.catalog; assert len(everymodel.catalog.cards()) > 30",
        "import everymodel; everymodel.__version__",
    ],
)
def test_light_imports(code):
    assert not loaded_by(code) & {*HEAVY, "numpy"} - {"numpy"}


def test_scoring_needs_numpy_alone():
    assert not loaded_by("import everymodel.scoring") & {*HEAVY, "rich", "typer", "jinja2", "safetensors", "msgspec"}


def test_no_folder_or_file_is_called_utils():
    assert not [p for p in PACKAGE.rglob("*") if p.stem in ("utils", "util", "helpers", "misc", "common")]


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_stay_readable(path):
    limit = 400 if "models" in path.relative_to(PACKAGE).parts else 800
    assert len(path.read_text().splitlines()) <= limit


def test_stub_is_fresh():
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "make_stubs.py"), "--check"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_version_stands_in_the_changelog_or_is_unreleased():
    assert "## [Unreleased]" in (ROOT / "CHANGELOG.md").read_text()


def test_unknown_names_are_attribute_errors_with_a_hint():
    import everymodel as em

    with pytest.raises(AttributeError, match="Did you mean Lasso"):
        _ = em.Laso
