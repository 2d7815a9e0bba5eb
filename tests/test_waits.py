"""Whatever flowml waits for has a bound: read from the source, so that a new wait without one is noticed."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "src" / "flowml"
SOURCES = {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text()) for path in sorted(ROOT.rglob("*.py"))}

# Positional arguments of a call, from which on one of them is its bound.
BOUNDED_FROM = {"wait": 1, "join": 1, "result": 1, "exception": 1, "acquire": 1, "wait_for": 2, "communicate": 2}
ALWAYS_NAMED = {"FileLock", "create_connection", "urlopen", "run"}  # `run`: of subprocess
QUEUES = {"Queue", "SimpleQueue", "LifoQueue"}
LOCKS = {"Lock", "RLock", "Condition"}

UNTIL_THE_USER_ENDS_IT = {
    ("cli/servers.py", "follower.join()"),
    # A server watches the process of a version, and waits for a promotion, as long as it runs.
    ("serving/own_process.py", "self._process.wait()"),
    ("serving/own_process.py", "process.wait()"),
    ("serving/own_process.py", "answers.exception()"),
    ("serving/following.py", "self._moved.wait()"),
    ("serving/threads.py", "self._calls.get()"),
    ("serving/engines/ray.py", "over.wait()"),
    # A trial takes as long as the user's task.
    ("tuning/search.py", "done.get()"),
}
# Locks that their own holder would wait for; the others are re-entrant.
PLAIN = {
    # The sender's own, which a thread that forks takes, and another may give back.
    "store/sending/writer.py": 1,
    # No body of a task or flow is run there: no generator of theirs can be closed.
    "ops/launch/outcome.py": 1,
    "serving/threads.py": 1,
    "serving/monitoring/reporting.py": 1,
    "serving/engines/fleet.py": 1,
}
A_COMMANDS = "ops/reproducing/"  # its programs, git, uv and the flow itself, take as long as they take

# What is done under each lock, and so how long another thread waits for it. Nothing that has no end of its own.
HELD = {
    "settings.py _lock": "the environment and a file are read",
    "background.py _lock": "in memory",
    "capture/guard.py _lock": "in memory",
    "lineage/known.py _lock": "in memory",
    "lineage/sending.py _lock": "in memory, or OpenLineage's client is imported, and made of its settings",
    "capture/links/artifacts.py _counting": "in memory",
    "capture/engine/server.py _lock": "a file is read",
    "describe/dispatch.py lock": "in memory",
    "store/by_hand/autolog.py _lock": "MLflow installs an integration",
    "store/backend/in_force.py _lock": "MLflow is told where to go to",
    "store/registered/loading.py _lock": "in memory",
    "store/registered/loading.py mine": "one version is loaded, which whoever asks for the same one waits for",
    "capture/attempts.py _lock": "in memory",
    "serving/monitoring/reporting.py _lock": "in memory",
    "serving/threads.py _lock": "in memory",
    "serving/engines/fleet.py _one": "all replicas take a version that they have loaded: two minutes, then it is said",
    "store/sending/creation.py creating": "one run is created: by MLflow's own limits for requests",
    "store/flow_end/summary.py _lock": "in memory",
    "store/by_hand/spans.py _lock": "in memory",
    "genai/budget.py _lock": "in memory",
    "genai/scoring.py _first": "a scorer's first call is over, which MLflow gives no limit either",
    "genai/evaluate.py _one_at_a_time": "one evaluation is over: MLflow allows one in a process",
    "store/tracing/home.py _lock": "in memory",
    "store/tracing/home.py _entering": "in memory",
    "store/sending/child_notes.py _lock": "in memory",
    "store/sending/writer.py _making": "a writer is made: in memory",
    "store/summarized_run.py _lock": "in memory",
    "store/backend/imports.py lock": "MLflow's own, as MLflow holds it",
    "store/models/identity.py _lock": "one model is serialized, which whoever returns the same one waits for",
    "store/flow_end/losses.py _lock": "in memory",
    "store/lazy_store.py _choosing": "a store is connected to: by the setting `timeout`",
    "store/lazy_store.py _lock": "in memory",
    "store/flow_end/reading.py _lock": "a few runs are read from a database",
    "store/journal/scratch.py _lock": "in memory",
    "store/journal/journal.py _lock": "a few rows of a file of this process's own are written or read",
    "store/journal/journal.py _making": "such a file is made",
    "ops/launch/outcome.py _lock": "a small file of this process's own is written",
    "store/waiting/delay.py _lock": "a line is read from a small file, or added",
    "store/backend/connection.py _making": "a server is knocked at: three seconds; a database, by its own limits",
    "store/sending/writer.py _starting": "a thread is started",
    "store/sending/writer.py _working": "one run is sent: by MLflow's own limits for requests",
}


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Give each call with the name of what is called."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name):
            yield node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id, node


def made_of(tree: ast.AST, kinds: set[str]) -> set[str]:
    """Name the variables and attributes of a module that hold a queue, or a lock."""
    held = set()
    for node in ast.walk(tree):
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        made = {name for name, _ in calls(node.value)} if targets and node.value else set()
        factories = {each.attr for each in ast.walk(node) if isinstance(each, ast.Attribute)} if targets else set()
        if made & kinds or ("field" in made and factories & kinds):
            held |= {target.attr if isinstance(target, ast.Attribute) else target.id for target in targets}
    return held


def bound_of(call: ast.Call, first: int) -> ast.expr | None:
    """Return what bounds a call, if anything does: an argument in its place, or one with such a name."""
    named = {one.arg: one.value for one in call.keywords}
    given = named.get("timeout") or named.get("blocking")
    return given or (call.args[first - 1] if len(call.args) >= first else None)


def can_be_none(bound: ast.expr) -> bool:
    """Tell whether a bound may be None, which is no bound."""
    values = [bound.body, bound.orelse] if isinstance(bound, ast.IfExp) else [bound]
    return any(isinstance(value, ast.Constant) and value.value is None for value in values)


def unbounded(tree: ast.AST) -> Iterator[str]:
    """Give each call that may wait for ever."""
    queues = made_of(tree, QUEUES)
    for name, call in calls(tree):
        owner = call.func.value if isinstance(call.func, ast.Attribute) else None
        of = owner.attr if isinstance(owner, ast.Attribute) else owner.id if isinstance(owner, ast.Name) else ""
        first = BOUNDED_FROM.get(name) if owner is not None else None
        first = 2 if name == "get" and of in queues else first
        first = 3 if name in ALWAYS_NAMED and (name != "run" or of == "subprocess") else first
        if first is None:
            continue
        bound = bound_of(call, first)
        if bound is None or can_be_none(bound):
            yield ast.unparse(call)


def test_no_wait_is_without_a_bound():
    """Threads, futures, events, conditions, queues, locks on files, sockets and processes are waited for so long."""
    waiting = {module: tree for module, tree in SOURCES.items() if not module.startswith(A_COMMANDS)}
    found = {(module, call) for module, tree in waiting.items() for call in unbounded(tree)}
    assert found == UNTIL_THE_USER_ENDS_IT


def test_it_is_known_what_is_done_under_each_lock():
    """A lock that is waited for without a limit is listed here with what bounds its holder."""
    names = {module: made_of(tree, LOCKS) for module, tree in SOURCES.items()}
    known = set().union(*names.values())
    entered = set()
    for module, tree in SOURCES.items():
        for node in ast.walk(tree):
            for item in node.items if isinstance(node, ast.With | ast.AsyncWith) else []:
                held = item.context_expr
                name = held.attr if isinstance(held, ast.Attribute) else held.id if isinstance(held, ast.Name) else ""
                if name in known:
                    entered.add(f"{module} {name}")
    assert entered == set(HELD)


def test_a_lock_can_be_taken_again_by_who_holds_it():
    """The garbage collector may close a generator task anywhere, whose end takes locks: a plain one would hang."""
    plain = {module: [name for name, _ in calls(tree)].count("Lock") for module, tree in SOURCES.items()}
    assert {module: count for module, count in plain.items() if count} == PLAIN


def test_a_lock_is_free_in_a_forked_child():
    """One that can be taken again is made by `flowml.locks`: another thread of the parent may hold it at the fork."""
    made = {
        module
        for module, tree in SOURCES.items()
        for name, call in calls(tree)
        if ast.unparse(call.func) == "threading.RLock"
    }
    imported = {
        module
        for module, tree in SOURCES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        and node.module == "threading"
        and "RLock" in {each.name for each in node.names}
    }
    assert made | imported == {"locks.py"}


@pytest.mark.parametrize(
    "waits",
    [
        *("thread.join()", "future.result()", "future.exception()", "event.wait()", "event.wait(timeout=None)"),
        *("lock.acquire()", "condition.wait_for(ready)", "told = Queue()\ntold.get()", "FileLock(path)"),
        *("told = Queue()\ntold.get(timeout=1 if busy else None)", "socket.create_connection(address)"),
    ],
)
def test_a_wait_without_a_bound_is_noticed(waits):
    """The test above would see each kind of wait that has none."""
    assert list(unbounded(ast.parse(waits)))


@pytest.mark.parametrize(
    "waits",
    [
        *("thread.join(5)", "future.result(0)", "event.wait(timeout=1)", "lock.acquire(blocking=False)"),
        *("condition.wait_for(ready, 3)", "told = Queue()\ntold.get(timeout=1)", "variable.get()", "', '.join(names)"),
        "FileLock(path, timeout=60)",
    ],
)
def test_a_wait_with_a_bound_is_none_of_them(waits):
    """And it sees no wait in what has one, or is none."""
    assert not list(unbounded(ast.parse(waits)))
