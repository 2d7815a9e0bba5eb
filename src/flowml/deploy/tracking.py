"""What a deployment carries to a worker, so that its runs are tracked where they would be from here.

A worker's environment is overruled by what is carried, as a program's is by the arguments of its call. Passwords are
not carried: Prefect keeps a deployment's variables as they are, for everybody to read.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from flowml import settings
from flowml.errors import DeploymentError
from flowml.secrets import mask
from flowml.store.backend import embedded, offline
from flowml.store.backend.in_force import uris as in_force

if TYPE_CHECKING:
    from flowml.deploy.deployment import Deployment

_HANDLED_APART = {"tracking_uri", "registry_uri", "experiment", "home"}
_PASSWORDS = {"MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"}
_LOCAL = {"prefect_db", "host", "prefect_port", "mlflow_port"}  # of `flowml up`, on this machine
_OPTIONS = sorted(settings.Settings.model_fields.keys() - _HANDLED_APART - _LOCAL)
_REMEDY = (
    'Give a reference: "env:NAME", an environment variable that is set where the worker runs, or "secret:NAME", a '
    "Secret block of Prefect's; as tracking_uri= (registry_uri=) of the Deployment, or --tracking-uri (--registry-uri)."
)


def environment(deployment: Deployment) -> dict[str, str]:
    """Return the environment variables that a worker gets.

    Raises:
        DeploymentError: If one would hold a password.
    """
    wanted = settings.reload()
    with offline.reaching_out():  # a worker that stays offline is to know where its runs are meant to be
        uri, registry_uri = in_force()
    uri, registry_uri = _reference(wanted.tracking_uri) or uri, _reference(wanted.registry_uri) or registry_uri
    found: dict[str, Any] = {name: getattr(wanted, name) for name in _OPTIONS if _differs(name)}
    found["experiment"] = wanted.experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME")
    found["tracking_uri"] = _referred(deployment.tracking_uri) or uri
    found["registry_uri"] = _referred(deployment.registry_uri) or registry_uri
    if wanted.offline or embedded.is_embedded(str(found["tracking_uri"])):
        found["home"] = settings.home_folder()
    for name, value in found.items():
        if value is not None and mask(str(value)) != str(value):
            msg = f"{name} {mask(str(value))} holds a password, which Prefect would show to everybody. {_REMEDY}"
            raise DeploymentError(msg)
    return {f"FLOWML_{name.upper()}": _text(value) for name, value in sorted(found.items()) if value is not None}


def variables(deployment: Deployment) -> dict[str, Any]:
    """Return the variables that a deployment declares for a worker itself, references as the worker resolves them.

    Raises:
        DeploymentError: If one is a password.
    """
    declared = dict(deployment.job_variables.get("env") or {})
    for name, value in declared.items():
        if name in _PASSWORDS and not str(value).startswith(("secret:", "{{")):
            msg = f"{name} of job_variables is a password, which Prefect would show to everybody. Give the name of a "
            msg += 'Secret block of Prefect\'s, "secret:NAME", or set the variable where the worker runs.'
            raise DeploymentError(msg)
    return {name: _referred(value) if isinstance(value, str) else value for name, value in declared.items()}


def secrets_of(deployment: Deployment) -> list[str]:
    """Return the names of the Secret blocks that a deployment refers to."""
    values = [deployment.tracking_uri, deployment.registry_uri, *(deployment.job_variables.get("env") or {}).values()]
    return [one.removeprefix("secret:") for one in values if isinstance(one, str) and one.startswith("secret:")]


def only_here(deployment: Deployment) -> str | None:
    """Return where runs go, if that is a file of this machine, which a worker on another one does not see."""
    uri = deployment.tracking_uri or in_force()[0]
    return uri if uri.startswith("sqlite") else None


def _referred(uri: str | None) -> str | None:
    """Return a reference as the worker resolves it: Prefect's workers put a block's value in the place of its name."""
    if uri is None or not uri.startswith("secret:"):
        return uri
    name = uri.removeprefix("secret:")
    if not re.fullmatch(r"[a-z0-9-]+", name):
        msg = f"{uri!r} names no Secret block: their names have lower-case letters, digits and dashes."
        raise DeploymentError(msg)
    return f"{{{{ prefect.blocks.secret.{name} }}}}"


def _reference(uri: str | None) -> str | None:
    """Return the setting itself where it names a variable: what that holds is not for Prefect to keep."""
    return uri if uri and uri.startswith("env:") else None


def _differs(name: str) -> bool:
    return bool(getattr(settings.current(), name) != settings.Settings.model_fields[name].default)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
