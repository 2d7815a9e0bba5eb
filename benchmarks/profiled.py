"""Where flowml's time goes in a sequence of empty tasks: in the task's thread and in the sender's, by cProfile.

The profiler itself makes small functions look expensive; what it is for is the order of the costs.
"""

from __future__ import annotations

import cProfile
import io
import pstats
from argparse import Namespace
from typing import Any

from report import options
from stores import ground


def main(given: Namespace) -> None:
    """Profile and print."""
    in_tasks, in_sender = cProfile.Profile(), cProfile.Profile()
    is_on = False

    def calls(step: Any, tasks: int) -> None:
        from contestants import all_sent
        from flowml.store.backend.connection import connect
        from flowml.store.sending.writer import writer_of
        from sequence import one_by_one

        if not is_on:
            return one_by_one(step, tasks)
        writer = writer_of(connect())
        writer.ask(in_sender.enable)
        in_tasks.enable()
        one_by_one(step, tasks)
        in_tasks.disable()
        with all_sent():
            pass
        writer.ask(in_sender.disable)
        return None

    with ground(given) as place:
        from contest import without_heartbeat
        from contestants import FLOWML, contestants

        flowml = next(each for each in contestants(place, calls) if each.name == FLOWML)
        with without_heartbeat():
            flowml.turn(2)
            is_on = True
            flowml.turn(given.tasks)
    for title, profile in (("the task's thread", in_tasks), ("the sender's thread", in_sender)):
        for order in ("cumulative", "tottime"):
            told = io.StringIO()
            pstats.Stats(profile, stream=told).strip_dirs().sort_stats(order).print_stats(given.lines)
            print(f"{title}, {given.tasks} tasks, by {order}\n{told.getvalue()}")


if __name__ == "__main__":
    parser = options(__doc__, tasks=200)
    parser.add_argument("--lines", type=int, default=60)
    main(parser.parse_args())
