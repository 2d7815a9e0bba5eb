"""The Ray that replicas run on: joined where RAY_ADDRESS names one, else started for as long as the command runs."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flowml import settings
from flowml.errors import ServingError, SettingsError
from flowml.serving import server
from flowml.serving.following import shortly
from flowml.serving.said import say
from flowml.stack import servers

if TYPE_CHECKING:
    from flowml.serving.server import Options

_INSTALL = "pip install 'prefect-flowml[ray-serve]'"
_MORE = 5.0  # seconds that Ray Serve's proxy waits beyond MLflow's own limit, which answers first
_LOCAL = ("sqlite:", "file:", "/")


@dataclass(frozen=True, slots=True)
class Cluster:
    """A Ray that Ray Serve runs on.

    Attributes:
        url: Where its Ray Serve answers; empty if that could not be found out.
        is_own: Whether it was started here, and ends with the command.
    """

    url: str
    is_own: bool


def check_installed() -> None:
    """Check that there is Ray Serve.

    Raises:
        SettingsError: If there is not.
    """
    try:
        from ray import serve  # noqa: F401 - whether all that it needs is there, too
    except ImportError as error:
        msg = f"--engine ray needs Ray Serve, which is not installed here ({error.name} is missing): {_INSTALL}"
        raise SettingsError(msg, setting="engine", value="ray") from None


@contextmanager
def joined(options: Options, most: int) -> Iterator[Cluster]:
    """Join the Ray that RAY_ADDRESS names, or start one on this machine; with Ray Serve on it.

    Args:
        options: How the model is served.
        most: The most replicas that there may be.

    Raises:
        ServingError: If the Ray that is named cannot be reached.
        SettingsError: If it cannot be used, or an option cannot be.
    """
    import ray

    address = settings.from_environment("RAY_ADDRESS")
    for name in ("ray", "ray.serve"):
        logging.getLogger(name).setLevel(logging.WARNING)
    if not address:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        processors = max(os.cpu_count() or 1, most)  # each replica is one more process here, not a reservation
        context = ray.init(address="local", num_cpus=processors, include_dashboard=False, **_QUIET)
    else:
        context = _join(address)
    try:
        yield Cluster(_serving(options, context.dashboard_url or "", is_own=not address), is_own=not address)
    finally:
        ray.shutdown()


_QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}


def _join(address: str) -> Any:
    import ray

    if address.startswith("ray://"):
        msg = f"RAY_ADDRESS cannot be {address!r} here: start the command on a machine of the cluster, with "
        raise SettingsError(msg + "RAY_ADDRESS=auto or the address of its head.", setting="RAY_ADDRESS", value=address)
    try:
        return ray.init(address=address, **_QUIET)
    except (ConnectionError, ValueError, RuntimeError) as error:
        why = " ".join(str(error).split())[:300]
        msg = f"RAY_ADDRESS is {address!r}, and no Ray could be joined there: {why}. Start it with `ray start --head`; "
        raise ServingError(msg + "or unset RAY_ADDRESS, and a Ray is started on this machine.") from None


def _serving(options: Options, dashboard: str, *, is_own: bool) -> str:
    """Start Ray Serve, unless it runs there; return its address."""
    from ray import serve

    if serve.status().proxies:
        return _known_address(options, dashboard)
    port = server.kept(options.host, options.port)
    http = {"host": options.host, "port": port.number, "request_timeout_s": options.loading.limits.seconds + _MORE}
    try:
        serve.start(proxy_location="HeadOnly" if is_own else "EveryNode", http_options=http)
    finally:
        port.give_back()
    return servers.address(options.host, port.number)


def _known_address(options: Options, dashboard: str) -> str:
    """Find out where a Ray Serve answers that others started, from the cluster's dashboard.

    Raises:
        SettingsError: If whoever reaches it could ask the model.
    """
    from ray.dashboard.modules.serve.sdk import ServeSubmissionClient

    host = url = ""
    try:
        told = ServeSubmissionClient(f"http://{dashboard}").get_serve_details()["http_options"]
        host, url = told["host"], servers.address(told["host"], int(told["port"]))
    except Exception as error:  # noqa: BLE001 - it may have no dashboard, or let nobody in
        say(f"The cluster's dashboard does not say where its Ray Serve answers: {shortly(error)}.")
    if not options.token and not (host and servers.is_local(host)):
        msg = (
            f"Whoever reaches the cluster's Ray Serve{f' at {url}' if url else ''} could ask the model. Name an "
            "environment variable with a token that requests must bring: --token-env NAME."
        )
        raise SettingsError(msg, setting="token-env", value=None)
    return url


def check_store(uri: str) -> None:
    """Check that all machines of the cluster can reach a store.

    Raises:
        SettingsError: If it is a file of this machine, and there are others.
    """
    import ray

    machines = {node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]}
    if len(machines) > 1 and uri.startswith(_LOCAL):
        msg = (
            f"MLflow's store is {uri}, a file of this machine, and the cluster has {len(machines)} machines, which "
            "could not read it. Let all of them reach an MLflow server: FLOWML_TRACKING_URI=http://..."
        )
        raise SettingsError(msg, setting="tracking_uri", value=uri)
