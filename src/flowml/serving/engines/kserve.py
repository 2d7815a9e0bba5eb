"""A version as an InferenceService of KServe, which serves it on Kubernetes; as KServe 0.21 takes it."""

from __future__ import annotations

import hashlib
import math
import re
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from flowml.errors import ServingError, SettingsError
from flowml.secrets.uris import without_credentials
from flowml.serving import server, versions
from flowml.serving.files import Files
from flowml.store.backend import connection
from flowml.store.backend.failures import explained
from flowml.store.registered import find

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from flowml.serving.engines.counts import Count
    from flowml.serving.server import Options

_LONGEST = 36  # characters of the name: KServe makes `<name>-predictor-<namespace>` of it, which may have 63
_DIGEST = 8
_READ = ("s3", "gs", "hdfs", "webhdfs", "https", "http", "pvc", "hf", "oci")  # schemes that KServe fetches from
_AZURE = re.compile(r"(?:wasbs?|abfss?)://([^@/]+)@([^./]+)\.(?:blob|dfs)\.core\.windows\.net/?(.*)")
_GIB = 2**30
_LEAST = 2  # GiB that a server takes, as KServe has it by default


def export(options: Options, count: Count, storage_uri: str = "") -> str:
    """Write a version as an InferenceService.

    Args:
        options: What is served, and how.
        count: How many replicas there are.
        storage_uri: Where the cluster finds the version's files; where they are in MLflow, if it is empty.

    Returns:
        YAML, for ``kubectl apply``.

    Raises:
        NoSuchVersionError: If there is no such model, version or alias.
        ServingError: If the version is not to be loaded, or the cluster could not read its files.
        SettingsError: If the address of the files is none that KServe reads.
        TrackingError: If MLflow cannot be reached.
    """
    import yaml

    server.prepare(options)
    here = connection.connect()
    with explained(here.uri):
        version = find(here.client, options.ref)
        found = storage_uri or _location(here.client, version)
        fetched = Files(here, options.ref).fetch(version)
    if not options.loading.pickle:
        versions.check_trusted(fetched.folder, str(fetched))
    notes = {
        "flowml.model": fetched.model,
        "flowml.model_version": fetched.version,
        "flowml.model_id": fetched.model_id,
        "flowml.alias": options.ref.alias or "",
    }
    size = sum(file.stat().st_size for file in fetched.folder.rglob("*") if file.is_file())
    room = {"cpu": "1", "memory": f"{max(_LEAST, 1 + math.ceil(2 * size / _GIB))}Gi"}
    told = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": name_of(f"{fetched.model}-{options.ref.alias or fetched.version}"),
            "annotations": {key: value for key, value in notes.items() if value},
        },
        "spec": {
            "predictor": {
                "minReplicas": count.least,
                "maxReplicas": count.most,
                "timeout": max(1, round(options.loading.limits.seconds)),
                "model": {
                    "modelFormat": {"name": "mlflow"},
                    "protocolVersion": "v2",
                    "storageUri": readable(found, fetched.version, is_given=bool(storage_uri)),
                    "env": _environment(),
                    "resources": {"requests": room, "limits": dict(room)},
                },
            }
        },
    }
    return str(yaml.safe_dump(told, sort_keys=False, allow_unicode=True))


def name_of(text: str) -> str:
    """Return a name that Kubernetes takes, for a model and an alias that may be of any letters.

    Where that changes more than capitals and separators, a part of a digest keeps two from having one name.
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    if name[:1].isalpha() and len(name) <= _LONGEST and text.isascii():
        return name
    digest = hashlib.sha256(text.encode()).hexdigest()[:_DIGEST]
    begun = name if name[:1].isalpha() else f"model-{name}"
    return f"{begun[: _LONGEST - _DIGEST - 1].strip('-')}-{digest}"


def _environment() -> list[dict[str, str]]:
    # What a version's files are was looked at here; MLflow would refuse skops, too.
    return [{"name": "MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "value": "true"}]


def _location(client: MlflowClient, version: ModelVersion) -> str:
    """Return where MLflow keeps the files of a version."""
    found = str(client.get_model_version_download_uri(version.name, version.version))
    if found.startswith("models:/") and version.model_id:
        found = str(client.get_logged_model(version.model_id).artifact_location)
    return found


def readable(uri: str, version: str, *, is_given: bool = False) -> str:
    """Return the address of a version's files as KServe reads it.

    Args:
        uri: Where they are.
        version: The version's number.
        is_given: Whether somebody named the place, and not MLflow.

    Raises:
        ServingError: If KServe cannot read where MLflow keeps the files.
        SettingsError: If it cannot read what was given.
    """
    if azure := _AZURE.fullmatch(uri):
        container, account, path = azure.groups()
        return f"https://{account}.blob.core.windows.net/{container}/{path}"
    scheme = urlsplit(uri).scheme
    if scheme in _READ:
        return uri
    shown = without_credentials(uri)
    if is_given:
        msg = f"--storage-uri cannot be {shown!r}: KServe reads {', '.join(f'{each}://' for each in _READ)}."
        raise SettingsError(msg, setting="storage-uri", value=shown)
    if scheme == "mlflow-artifacts":
        why = f"MLflow's server hands them out itself ({shown}), which KServe does not understand"
    elif scheme in {"", "file"} or Path(uri).is_absolute():
        why = f"they are in a folder of this machine ({shown})"
    else:
        why = f"KServe does not read {shown}"
    msg = (
        f"A cluster cannot fetch the files of version {version}: {why}. Copy them to a bucket or a volume of the "
        "cluster, and name the place: --storage-uri s3://bucket/folder, or pvc://claim/folder. Or let MLflow keep its "
        "artifacts in a bucket."
    )
    raise ServingError(msg)
