"""everymodel doctor: does this installation work, and what could be added."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from typing import Annotated, Any

import typer

from everymodel.interfaces.cli import draw
from everymodel.interfaces.cli.shell import Json, Quiet, Verbose, console, emit, examples, guarded, working

EXAMPLES = examples("everymodel doctor", "everymodel doctor --no-run --json")
BASE = {
    "numpy": "numpy",
    "pandas": "pandas",
    "scikit-learn": "sklearn",
    "lightgbm": "lightgbm",
    "matplotlib": "matplotlib",
    "jinja2": "jinja2",
    "rich": "rich",
    "typer": "typer",
}
PURPOSE = {
    "boost": "CatBoost and XGBoost",
    "deep": "neural networks with PyTorch",
    "explain": "SHAP summaries in the report",
    "fast": "batches through ONNX Runtime",
    "rl": "agents and environments",
    "serve": "everymodel serve",
    "spark": "data and search on Apache Spark",
    "tables": "Parquet, polars, Excel, HTML, SQL",
    "text": "tokenisers",
    "tune": "Bayesian tuning",
}


@guarded
def command(
    run: Annotated[
        bool, typer.Option("--run/--no-run", help="Also fit, save, load and compare a real model (5 s).")
    ] = True,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Prove that the installation works: packages, threads, GPU, and a real run of about five seconds."""
    from everymodel import __version__

    told: dict[str, Any] = {
        "everymodel": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "base": {name: _version(name, module) for name, module in BASE.items()},
        "extras": extras(),
        "machine": machine(),
    }
    problems = [f"{name} is missing: pip install {name}" for name, version in told["base"].items() if version is None]
    told["run"] = {"ok": None, "message": "not run"}
    if run and not problems:
        present = [p for extra in told["extras"].values() for p, version in extra["packages"].items() if version]
        with working("A real run of about five seconds", quiet or as_json):
            trying = try_imports([*BASE.values(), *present])
            told["run"] = real_run()
            problems += [f"{name} is installed but broken: {reason}" for name, reason in broken(trying).items()]
    if told["run"]["ok"] is False:
        problems.append(told["run"]["message"])
    told["ok"], told["problems"] = not problems, problems
    if as_json:
        emit(told)
    else:
        show(told, quiet)
    if problems:
        raise typer.Exit(1)


def _version(name: str, module: str) -> str | None:
    """Version of an installed distribution; None where it cannot be imported."""
    from importlib import metadata

    from everymodel.core.optional import installed

    if not installed(module):
        return None
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "?"


def extras() -> dict[str, dict[str, Any]]:
    """Each extra: its packages with versions (None: absent) and the line that adds it."""
    from everymodel.core.optional import EXTRA_OF

    found: dict[str, dict[str, Any]] = {}
    for package, extra in sorted(EXTRA_OF.items(), key=lambda item: (item[1], item[0])):
        entry = found.setdefault(extra, {"purpose": PURPOSE.get(extra, ""), "packages": {}})
        entry["packages"][package] = _version(package, package)
    for extra, entry in found.items():
        # XGBoost is not part of the extra, because it brings 469 MB of GPU libraries along.
        needed = {p: v for p, v in entry["packages"].items() if p != "xgboost"}
        entry["complete"] = all(v is not None for v in needed.values())
        entry["install"] = "" if entry["complete"] else f'pip install "everymodel[{extra}]"'
    return found


_TRY = """
import importlib, sys
for name in sys.argv[1:]:
    print("try", name, flush=True)
    try:
        importlib.import_module(name)
    except BaseException as error:
        print("bad", name, f"{type(error).__name__}: {error}".replace(chr(10), " "), flush=True)
    else:
        print("good", name, flush=True)
"""


def try_imports(packages: list[str]) -> subprocess.Popen[str]:
    """A process that imports each package in turn: a broken native library may end it, but not this one."""
    words = [sys.executable, "-P", "-c", _TRY, *packages]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def broken(trying: subprocess.Popen[str]) -> dict[str, str]:
    """Package to reason, from what `try_imports` has printed."""
    try:
        printed, _ = trying.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        trying.kill()
        printed, _ = trying.communicate()
    found, last = {}, ""
    for line in printed.splitlines():
        word, _, rest = line.partition(" ")
        name, _, reason = rest.partition(" ")
        if word == "bad":
            found[name] = reason[:300]
        last = name if word == "try" else ""
    if last:
        found[last] = f"importing it ended the process (code {trying.returncode})"
    return found


def machine() -> dict[str, Any]:
    """Cores, memory, disk space and GPU."""
    import shutil

    from everymodel.core.settings import Settings

    told: dict[str, Any] = {"cores": os.cpu_count(), "cores_used": Settings.load().cores()}
    told["threads_set"] = {k: os.environ[k] for k in ("OMP_NUM_THREADS", "EVERYMODEL_THREADS") if k in os.environ}
    try:
        told["memory_gb"] = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (ValueError, AttributeError, OSError):
        told["memory_gb"] = None
    told["disk_free_gb"] = round(shutil.disk_usage(".").free / 1e9, 1)
    told["gpu"] = _gpu()
    return told


def _gpu() -> list[str]:
    import shutil

    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    try:
        done = subprocess.run(
            [tool, "--query-gpu=name,memory.total", "--format=csv,noheader"], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()] if done.returncode == 0 else []


def real_run() -> dict[str, Any]:
    """Fit on a bundled table, save, load, and compare the answers."""
    import tempfile
    from pathlib import Path

    started = time.monotonic()
    try:
        from sklearn.datasets import load_iris

        import everymodel as em
        from everymodel import scoring

        data = load_iris(as_frame=True).frame
        with tempfile.TemporaryDirectory(prefix="everymodel-doctor-") as folder:
            # Limited by work, not by time: a busy machine is slow, not broken.
            run = em.fit(data, target="target", models=["logistic"], trials=1, out=Path(folder) / "run", progress=False)
            path = Path(folder) / "iris.em"
            run.model.save(path)
            before = run.model.predict_proba(data).to_numpy()
            after = scoring.load(path).predict_proba(data).to_numpy()
            accuracy = float((run.model.predict(data).to_numpy() == data["target"].to_numpy()).mean())
            same = bool((before == after).all())
    except Exception as error:
        return {
            "ok": False,
            "message": f"The run failed: {type(error).__name__}: {error}",
            "seconds": time.monotonic() - started,
        }
    seconds = round(time.monotonic() - started, 1)
    if not same:
        return {"ok": False, "message": "The saved model answers differently from the fitted one.", "seconds": seconds}
    if accuracy < 0.9:
        return {"ok": False, "message": f"The model is right for only {accuracy:.0%} of iris.", "seconds": seconds}
    return {
        "ok": True,
        "message": f"fitted, saved, loaded and compared in {seconds} s",
        "seconds": seconds,
        "accuracy": accuracy,
    }


def show(told: dict[str, Any], quiet: bool) -> None:
    out = console()
    if not quiet:
        out.print(draw.heading(f"everymodel {told['everymodel']}, Python {told['python']} ({sys.executable})"))
        made = draw.table("", "part", "what for", "", wrap=[3])
        base = [f"{n} {v}" if v else f"{n} missing" for n, v in told["base"].items()]
        good = all(told["base"].values())
        made.add_row(
            draw.text("✔" if good else "✖", "green" if good else "red"), "base", "", draw.text(", ".join(base))
        )
        for name, extra in told["extras"].items():
            present = [f"{p} {v}" for p, v in extra["packages"].items() if v]
            line = ", ".join(present) if extra["complete"] else ", ".join([*present, extra["install"]])
            mark = draw.text("✔", "green") if extra["complete"] else draw.text("-", "dim")
            made.add_row(
                mark, name, draw.text(extra["purpose"], "dim"), draw.text(line, "" if extra["complete"] else "dim")
            )
        out.print(made)
        m = told["machine"]
        cores = f"{m['cores_used']} of {m['cores']} used"
        if m["threads_set"]:
            cores += " (" + ", ".join(f"{k}={v}" for k, v in m["threads_set"].items()) + ")"
        out.print()
        out.print(
            draw.pairs(
                [
                    ("cores", cores),
                    ("memory", f"{m['memory_gb']} GB" if m["memory_gb"] else ""),
                    ("disk free", f"{m['disk_free_gb']} GB"),
                    ("GPU", ", ".join(m["gpu"]) or "none found; none is needed"),
                    ("real run", told["run"]["message"]),
                ]
            )
        )
        out.print()
    if told["ok"]:
        proven = "Everything that is installed works." if told["run"]["ok"] else "Everything needed is installed."
        out.print(draw.text(proven, "bold green"))
    for problem in told["problems"]:
        out.print(draw.text(f"✖ {problem}", "bold red"))
