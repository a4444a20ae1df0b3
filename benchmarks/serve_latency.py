"""One row over HTTP: our server against the one that people write by hand (Starlette, pandas, a scikit-learn pipeline).

Both serve gradient boosting with 100 trees on the same made-up table of 12 columns, in turn, on the same machine. The
client holds `--connections` keep-alive connections and sends one row after the other on each. Processor time is that of
the server process alone, so it does not depend on how busy the machine is.

python benchmarks/serve_latency.py [--seconds 3] [--connections 1 8]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

HAND_WRITTEN = """
import sys, joblib, pandas as pd, uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
model = joblib.load(sys.argv[1])
async def predict(request):
    row = (await request.json())["row"]
    return JSONResponse({"prediction": model.predict(pd.DataFrame([row])).tolist()[0]})
app = Starlette(routes=[Route("/v1/predict", predict, methods=["POST"])])
uvicorn.run(app, port=int(sys.argv[2]), log_level="warning")
"""


def table(rows: int = 5000) -> pd.DataFrame:
    random = np.random.default_rng(0)
    made = {f"x{i}": random.normal(size=rows).round(3) for i in range(8)}
    made |= {f"c{i}": random.choice(["red", "green", "blue", "grey"], rows) for i in range(4)}
    frame = pd.DataFrame(made)
    frame["y"] = frame["x0"] * 3 + np.abs(frame["x1"]) + (frame["c0"] == "red") * 2 + random.normal(size=rows) * 0.3
    return frame


def ours(frame: pd.DataFrame, folder: Path) -> list[str]:
    """[model file] whose pack is one booster of 100 trees."""
    from everymodel import catalog
    from everymodel.core.schema import Column, Schema
    from everymodel.preprocessing.preparation import Preparation
    from everymodel.scoring import Model, table
    from everymodel.scoring.graph import Node, Pack

    columns = [Column(n, "number", low=-4.0, high=4.0) for n in frame.columns if n.startswith("x")]
    columns += [
        Column(n, "category", levels=tuple(sorted(frame[n].unique()))) for n in frame.columns if n.startswith("c")
    ]
    schema = Schema((*columns, Column("y", "number", role="target")), task="regression")
    card = catalog.find("gradient_boosting", "regression")
    batch, _ = table.parse(schema, frame)
    y = frame["y"].to_numpy()
    preparation = Preparation.for_card(card, schema, "regression")
    matrix = preparation.fit_transform(batch, y)
    model = catalog.make(card, max_iter=100).fit(matrix, y)
    nodes = preparation.nodes()
    pack = Pack([*nodes, Node("answer", catalog.module(card).pack(model), (nodes[-1].name,))])
    path = folder / "model.em"
    Model(schema, pack, {"name": "booster"}).save(path)
    return [str(path)]


def theirs(frame: pd.DataFrame, folder: Path) -> list[str]:
    """[joblib file] of the same booster in a pipeline."""
    import joblib
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    words = [n for n in frame.columns if n.startswith("c")]
    encode = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), words), remainder="passthrough"
    )
    model = make_pipeline(encode, HistGradientBoostingRegressor(max_iter=100)).fit(frame.drop(columns="y"), frame["y"])
    path = folder / "model.joblib"
    joblib.dump(model, path)
    return [str(path)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def used(process: int) -> tuple[float, float]:
    """(processor seconds, megabytes resident) of a process."""
    told = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    ticks = os.sysconf("SC_CLK_TCK")
    memory = int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    return (int(told[11]) + int(told[12])) / ticks, memory


async def load(port: int, request: bytes, seconds: float, connections: int) -> list[float]:
    """Seconds of each request."""
    taken: list[float] = []

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        until = time.perf_counter() + seconds
        while (started := time.perf_counter()) < until:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
            await reader.readexactly(length)
            taken.append(time.perf_counter() - started)
        writer.close()

    await asyncio.gather(*(one() for _ in range(connections)))
    return taken


def wait_for(port: int) -> None:
    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit("the server did not start")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 8])
    options = parser.parse_args()
    frame = table()
    row = frame.drop(columns="y").iloc[0].to_dict()
    body = json.dumps({"row": row}).encode()
    head = (
        f"POST /v1/predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    request = head.encode() + body
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        script = folder / "hand_written.py"
        script.write_text(HAND_WRITTEN)
        servers = {
            "everymodel": lambda port: ["-m", "everymodel.interfaces.server", *ours(frame, folder), "--port", port],
            "hand-written": lambda port: [str(script), *theirs(frame, folder), port],
        }
        print(
            f"{'':14} {'conn':>4} {'CPU us/req':>10} {'p50 ms':>8} {'p99 ms':>8} {'req/s':>8} {'MB':>6} "
            f"{'start CPU s':>11}"
        )
        for label, words in servers.items():
            port = free_port()
            command = [sys.executable, *words(str(port))]
            # One thread each: for one row, more only cost the peer time.
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment)
            try:
                wait_for(port)
                asyncio.run(load(port, request, 0.3, 1))  # the first requests warm it up
                start, _ = used(process.pid)
                for connections in options.connections:
                    before, _ = used(process.pid)
                    taken = asyncio.run(load(port, request, options.seconds, connections))
                    after, memory = used(process.pid)
                    p50, p99 = np.percentile(taken, [50, 99]) * 1e3
                    print(
                        f"{label:14} {connections:4d} {(after - before) / len(taken) * 1e6:10.0f} {p50:8.2f} "
                        f"{p99:8.2f} "
                        f"{len(taken) / options.seconds:8.0f} {memory:6.0f} {start:11.2f}"
                    )
            finally:
                process.terminate()
                process.wait(10)


if __name__ == "__main__":
    main()
