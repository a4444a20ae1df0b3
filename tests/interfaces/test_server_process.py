"""The server as a real process on a loopback port."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

pytest.importorskip("uvicorn")

from hand_models import ROW


@contextmanager
def serving(*words: str) -> Iterator[tuple[subprocess.Popen, str]]:
    """(process, base URL) of a server that has said where it listens."""
    process = subprocess.Popen(
        [sys.executable, "-m", "everymodel.interfaces.server", *words, "--port", "0"], stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        first = process.stderr.readline()
        found = re.search(r"http://[^ ]+", first)
        assert found, first + process.stderr.read()
        yield process, found.group()
    finally:
        process.kill()
        process.communicate()


def test_a_real_server_answers_and_stops_in_good_order(price_file: Path) -> None:
    with serving(str(price_file)) as (process, base):
        with httpx.Client(base_url=base) as client:
            assert client.post("/v1/predict", json={"row": ROW}).json()["prediction"] == 4405.0
            assert client.get("/nope").status_code == 404
            # What is between two lines of text on the wire, not only what a client library shows.
            assert client.head("/healthz").status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def test_running_requests_are_answered_before_it_stops(price_file: Path) -> None:
    with serving(str(price_file)) as (process, base):
        body = json.dumps({"row": ROW}).encode()
        host, port = base.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as wire:
            head = f"POST /v1/predict HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n"
            wire.sendall(head.encode() + b"content-type: application/json\r\n\r\n" + body[:10])
            time.sleep(0.3)
            process.send_signal(signal.SIGTERM)
            threading.Timer(0.3, lambda: wire.sendall(body[10:])).start()
            came = b""
            while part := wire.recv(4096):
                came += part
        assert came.startswith(b"HTTP/1.1 200") and b"4405" in came
        assert process.wait(10) == 0


def test_the_server_needs_neither_pandas_nor_scikit_learn(price_file: Path) -> None:
    code = (
        "import sys\n"
        "from everymodel.interfaces.server import make_app\n"
        "from everymodel.interfaces.server import run\n"
        "from everymodel.scoring import load\n"
        f"make_app(load({str(price_file)!r}))\n"
        "print([m for m in ('pandas', 'sklearn', 'scipy', 'torch', 'matplotlib', 'lightgbm') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["nothing.em"], "nothing.em"),
        ([__file__], "model file"),
        (["MODEL", "--host", "256.1.1.1"], "--host"),
        (["MODEL", "--port", "70000"], "--port"),
    ],
)
def test_what_cannot_start_says_why_in_one_line(price_file: Path, words: list[str], expected: str) -> None:
    words = [str(price_file) if w == "MODEL" else w for w in words]
    done = subprocess.run(
        [sys.executable, "-m", "everymodel.interfaces.server", "--port", "0", *words],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith("Error: ") and expected in done.stderr and "Traceback" not in done.stderr


def test_a_port_in_use_is_said(price_file: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "-m", "everymodel.interfaces.server", str(price_file), "--port", port],
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 1 and "another program" in done.stderr and "Traceback" not in done.stderr
