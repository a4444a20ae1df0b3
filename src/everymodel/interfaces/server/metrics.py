"""Counters in Prometheus' text format. Labels come from a fixed set, so a caller cannot make them grow."""

from __future__ import annotations

import os
import time
from bisect import bisect_left

BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


class Metrics:
    """Requests by route and status, their seconds, rows answered, notes made. One event loop writes, so no lock."""

    def __init__(self, model: str, version: str):
        self.model, self.version = model, version
        self.started = time.time()
        self.requests: dict[tuple[str, str, int], int] = {}
        self.seconds: dict[str, tuple[list[int], list[float]]] = {}  # route -> (count per bucket, [sum])
        self.rows = 0
        self.notes = 0
        self.in_flight = 0

    def observe(self, route: str, method: str, status: int, seconds: float) -> None:
        key = (route, method, status)
        self.requests[key] = self.requests.get(key, 0) + 1
        counts, total = self.seconds.setdefault(route, ([0] * (len(BUCKETS) + 1), [0.0]))
        counts[bisect_left(BUCKETS, seconds)] += 1
        total[0] += seconds

    def text(self) -> str:
        lines: list[str] = []

        def head(name: str, kind: str, sentence: str) -> None:
            lines.extend((f"# HELP {name} {sentence}", f"# TYPE {name} {kind}"))

        head("everymodel_model_info", "gauge", "The model that is served.")
        lines.append(f'everymodel_model_info{{model="{_escape(self.model)}",version="{_escape(self.version)}"}} 1')
        head("everymodel_requests_total", "counter", "Requests answered.")
        for (route, method, status), count in sorted(self.requests.items()):
            lines.append(f'everymodel_requests_total{{route="{route}",method="{method}",status="{status}"}} {count}')
        head("everymodel_request_seconds", "histogram", "Seconds from the first byte of a request to its answer.")
        for route, (counts, total) in sorted(self.seconds.items()):
            running = 0
            for bound, count in zip((*(f"{b:g}" for b in BUCKETS), "+Inf"), counts):
                running += count
                lines.append(f'everymodel_request_seconds_bucket{{route="{route}",le="{bound}"}} {running}')
            lines.append(f'everymodel_request_seconds_sum{{route="{route}"}} {total[0]:.6f}')
            lines.append(f'everymodel_request_seconds_count{{route="{route}"}} {running}')
        head("everymodel_rows_total", "counter", "Rows answered.")
        lines.append(f"everymodel_rows_total {self.rows}")
        head(
            "everymodel_notes_total",
            "counter",
            "Cells that were taken in another way than they came (unseen levels, ...).",
        )
        lines.append(f"everymodel_notes_total {self.notes}")
        head("everymodel_requests_in_flight", "gauge", "Requests being answered now.")
        lines.append(f"everymodel_requests_in_flight {self.in_flight}")
        head("process_start_time_seconds", "gauge", "When the server started, in seconds since 1970.")
        lines.append(f"process_start_time_seconds {self.started:.3f}")
        head("process_cpu_seconds_total", "counter", "Processor time of the server.")
        lines.append(f"process_cpu_seconds_total {time.process_time():.3f}")
        memory = _resident()
        if memory is not None:
            head("process_resident_memory_bytes", "gauge", "Memory of the server.")
            lines.append(f"process_resident_memory_bytes {memory}")
        return "\n".join(lines) + "\n"


def _resident() -> int | None:
    try:
        with open("/proc/self/statm", encoding="ascii") as stream:
            return int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None
