"""The local servers' commands as they look in the terminal."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from types import FrameType

from rich.console import Console

from flowml.formats import size
from flowml.ops.servers.down import down, overruled, status
from flowml.ops.servers.options import Wanted
from flowml.ops.servers.up import Run
from flowml.ops.sync import waiting as offline
from flowml.stack import logs, served, servers, state
from flowml.stack.state import Stack
from flowml.store.journal.left import waiting

_RUN = "The servers of this project run already."
_IGNORED = "{} changes nothing now; to start them so, stop them first: flowml down"
_EACH = 10  # seconds between two words on what is waited for
_START = "The servers of this project are being started already; if nobody does, `flowml down` clears up."


def run_up(wanted: Wanted, *, detach: bool, serve: str | None = None) -> None:
    """Start both servers, wait until they answer, and stay with them unless detached.

    Args:
        wanted: What the options ask for.
        detach: Return when both answer.
        serve: A registered model that is served too.

    Raises:
        SettingsError: If an option or setting cannot be.
        StackError: If a server does not start, or dies.
        ServingError: If the model's does not.
        RegistryError: If there is no such model.
    """
    console = _console()
    run, stays = Run(), False
    try:
        with _ctrl_c_on_any_end():
            if there := run.start(wanted, console.print):
                console.print(_RUN if there.ready else _START)
                if ignored := wanted.options():
                    console.print(_IGNORED.format(" ".join(ignored)), style="yellow")
                _tell(console, there)
                _serve(console, serve)
                return
            _wait(console, run)
            if run.stack:
                _tell(console, run.stack)
            _serve(console, serve)
            stays = detach
            console.print(f"They run until {'`flowml down`' if stays else 'Ctrl-C'}.")
            if not stays:
                run.watch()
                console.print("Stopped by `flowml down`.")
    except KeyboardInterrupt:
        console.print("Stopping both servers.")
    finally:
        if not stays:
            with _undisturbed():
                served.stop([each for each in served.read() if each.server.name == serve])
                run.stop()


def _serve(console: Console, model: str | None) -> None:
    if model:
        from flowml.serving.deploying import find_or_start
        from flowml.store.backend.connection import connect
        from flowml.store.registered import find, parse

        connection, ref = connect(), parse(model)
        find(connection.client, ref)
        console.print(f"{ref} answers at {find_or_start(connection, ref).url}/invocations")


def run_down() -> None:
    """Stop both servers, and those that serve models."""
    console = _console()
    stopped = down()
    if not stopped:
        console.print("No servers of this project run.")
        return
    console.print(f"Stopped: {', '.join(f'{server.name} ({server.url})' for server in stopped)}.")


def run_status(*, as_json: bool) -> bool:
    """Tell how both servers are; returns whether they run."""
    told, stack = status(), state.read()
    left = [each for each in waiting() if each.is_left]
    told["waiting"] = [{"path": str(each.path), "since": each.since, "size": each.size} for each in left]
    for name, server in told["servers"].items():
        server["page"] = _page(stack, name) if stack and server["state"] == "running" else server["url"]
    console = _console()
    if as_json:
        sys.stdout.write(json.dumps(told, indent=2) + "\n")
        return bool(told["running"])
    for each in told["waiting"]:
        console.print(f"Waits for MLflow: {each['path']}, {size(each['size'])}. `flowml sync` sends it.")
    if there := offline.waiting():
        console.print(f"{there}.{' Copy them: flowml sync' if there.runs else ''}\n")
    for name, server in told["serving"].items():
        console.print(f"{name:8} {server['state']:14} {server['url']}/invocations  (pid {server['pid']})")
    if not told["servers"]:
        console.print("No servers of this project run. Start them: flowml up")
        return False
    for name, server in told["servers"].items():
        console.print(f"{name:8} {server['state']:14} {server['page']}  (pid {server['pid']})")
    for server in stack.dead() if stack else ():
        console.print(f"\nThe end of {server.log}:\n{logs.last_lines(server)}")
    console.print(f"\nFlows write to {told['tracking_uri']}. For the command `prefect`:\n  {told['export']}")
    for name in overruled(stack) if stack else ():
        console.print(f"{name} is set here, and wins.")
    return bool(told["running"])


def run_logs(server: str | None, *, follow: bool, lines: int) -> None:
    """Print the end of the logs, and what comes, if that is wanted.

    Raises:
        LookupError: If there are no servers.
    """
    stack = state.read()
    known = [*(stack.servers if stack else ()), *(each.server for each in served.read())]
    if not known:
        msg = "No servers of this project run; start them: flowml up"
        raise LookupError(msg)
    chosen = [one for one in known if server in (None, one.name)]
    if not chosen:
        msg = f"No server of this project is called {server!r}: there are {', '.join(one.name for one in known)}."
        raise LookupError(msg)
    for one in chosen:
        if len(chosen) > 1:
            sys.stdout.write(f"==> {one.log} <==\n")
        sys.stdout.write(f"{logs.last_lines(one, lines)}\n")
    sys.stdout.flush()
    if follow:
        with suppress(KeyboardInterrupt):
            followers = [threading.Thread(target=_follow, args=[one], daemon=True) for one in chosen]
            for follower in followers:
                follower.start()
            for follower in followers:
                follower.join()


def _page(stack: Stack, name: str) -> str:
    """Return the address to open a server's UI at."""
    from flowml.ops.view.front_door import of_database

    return of_database(stack.mlflow.url, stack.database) if name == "mlflow" else stack.prefect.url


def _console() -> Console:
    return Console(soft_wrap=True, highlight=False, markup=False)  # a folder may be called [red]


def _follow(server: state.Server) -> None:
    for said in logs.follow(server):
        sys.stdout.write(said)
        sys.stdout.flush()


def _wait(console: Console, run: Run) -> None:
    """Say what is waited for, for how long already, and where it says itself what it does."""
    began, named = time.monotonic(), 0
    for server in run.stack.servers if run.stack else ():
        console.print(f"Waiting for {server.name}, at {server.url}; its log is {_from_here(server.log)}")
    if not console.is_terminal:
        console.print("It takes 10 to 30 seconds.")
    shown = console.status("") if console.is_terminal else nullcontext()
    with shown as spinner:
        for waiting in run.wait_until_ready():
            names, seconds = " and ".join(server.name for server in waiting), int(time.monotonic() - began)
            if spinner is not None:
                spinner.update(f"Waiting for {names}: {seconds} s")
            elif seconds >= named + _EACH:
                named = seconds
                console.print(f"Still waiting for {names}: {seconds} s")


def _from_here(path: str) -> str:
    """Shorten a path that is below the current folder."""
    here, there = Path.cwd(), Path(path)
    return str(there.relative_to(here)) if there.is_relative_to(here) else path


def _tell(console: Console, stack: Stack) -> None:
    console.print(f"Prefect  {stack.prefect.url}", style="bold")
    console.print(f"MLflow   {_page(stack, 'mlflow')}", style="bold")
    if not servers.is_local(stack.host):
        console.print(
            f"They listen on {stack.host}, without a password: whoever reaches this machine can read and change all "
            "runs, and start deployments, which run code here. Let a firewall or a proxy decide who does.",
            style="yellow",
        )
    for name in overruled(stack):
        console.print(f"{name} is set here, and wins: flows of this terminal go there.", style="yellow")


@contextmanager
def _ctrl_c_on_any_end() -> Iterator[None]:
    """Make each signal that asks a program to end the same as Ctrl-C, so that all of them stop the servers."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        for one in asking:
            signal.signal(one, signal.SIG_IGN)  # once is enough: what follows is brief, and must be done to the end
        raise KeyboardInterrupt

    asking = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # ignored under nohup
        asking.append(signal.SIGHUP)
    before = {one: signal.signal(one, interrupt) for one in asking}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Let the servers be stopped to the end; it is a matter of seconds."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # Windows has no SIGHUP
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    yield
