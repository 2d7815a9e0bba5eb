"""Tasks one after the other, each with a table in and out: told to an OpenLineage catalogue, and not.

Both are flowml's flows, in turns. "ms in a call" is what the user's code waits for,
"ms of its thread" the part of that in which its own thread works: a busy machine changes that less.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import time
from argparse import Namespace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from report import Goal, options, report
from stores import ground

_MOST = 0.3  # ms more in a call
WITHOUT, WITH = "not told", "told"


def serve(port: Any, count: Any) -> None:
    """Take events, and count them."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            with count.get_lock():
                count.value += 1
            self.send_response(201)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    port.value = server.server_port
    server.serve_forever()


def main(given: Namespace) -> None:
    """Measure, count and print."""
    spawn = multiprocessing.get_context("spawn")
    port, count = spawn.Value("i", 0), spawn.Value("i", 0)
    catalogue = spawn.Process(target=serve, args=(port, count), daemon=True)
    catalogue.start()
    with ground(given) as place:
        place.store("flowml", flowmls=True)
        while not port.value:
            time.sleep(0.01)
        times = _measured(given, f"http://127.0.0.1:{port.value}")
    catalogue.kill()
    wall, cpu = (
        {name: [1000 * one[of] / given.tasks for one in took] for name, took in times.items()} for of in (0, 1)
    )
    more = [told - not_told for told, not_told in zip(cpu[WITH], cpu[WITHOUT], strict=True)]
    rows = [
        {
            "contestant": name,
            "ms in a call": statistics.median(wall[name]),
            "/ not told": _ratio(wall[name], wall[WITHOUT]),
            "ms of its thread": statistics.median(cpu[name]),
        }
        for name in times
    ]
    goals = [Goal("ms more of the task's thread in a call", max(0.001, statistics.median(more)), most=_MOST)]
    wanted = 2 * (given.tasks + 1) * given.rounds
    if count.value != wanted:
        msg = f"The catalogue has {count.value} events, and should have {wanted}."
        raise SystemExit(msg)
    report(given, f"{given.tasks} tasks, {given.rounds} rounds", rows, goals, {"events": count.value})


def _ratio(took: list[float], others: list[float]) -> float:
    return statistics.median(one / other for one, other in zip(took, others, strict=True))


def _measured(given: Namespace, url: str) -> dict[str, list[tuple[float, float]]]:
    import pandas as pd
    from prefect.cache_policies import NO_CACHE

    import flowml

    frame = pd.DataFrame({name: range(100) for name in "abcde"})

    @flowml.task(cache_policy=NO_CACHE)
    def step(table: pd.DataFrame, number: int) -> pd.DataFrame:
        return table.assign(f=number)

    @flowml.flow
    def work(tasks: int) -> tuple[float, float]:
        began, began_cpu = time.perf_counter(), time.thread_time()
        for number in range(tasks):
            step(frame, number)
        return time.perf_counter() - began, time.thread_time() - began_cpu

    work(2)
    times: dict[str, list[tuple[float, float]]] = {WITHOUT: [], WITH: []}
    for number in range(given.rounds):
        for name, took in list(times.items())[:: 1 if number % 2 else -1]:
            os.environ.pop("FLOWML_OPENLINEAGE_URL", None)
            if name == WITH:
                os.environ["FLOWML_OPENLINEAGE_URL"] = url
            took.append(work(given.tasks))
    return times


if __name__ == "__main__":
    main(options(__doc__, tasks=50).parse_args())
