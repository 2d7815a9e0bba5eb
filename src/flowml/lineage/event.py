"""Makes events of the OpenLineage standard of what calls tell: in the background, where git and files can be asked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from functools import cache, lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowml.lineage import naming, revisions
from flowml.lineage.told import Data, Told
from flowml.provenance import code
from flowml.secrets import mask
from flowml.secrets.uris import without_credentials

if TYPE_CHECKING:
    from openlineage.client.event_v2 import RunEvent
    from openlineage.client.facet_v2 import DatasetFacet, JobFacet, RunFacet

PRODUCER = "urn:flowml:prefect-flowml"
_MOST_FIELDS = 1_000


def made(told: Told) -> RunEvent:
    """Make an event of what a call told."""
    from openlineage.client import event_v2

    inputs = [(place, facets) for data in told.inputs for place, facets in [_described(data, told)]]
    outputs = [(place, facets) for data in told.outputs for place, facets in [_described(data, told)]]
    return event_v2.RunEvent(
        eventType=event_v2.RunState[told.kind],
        eventTime=datetime.fromtimestamp(told.when / 1000, timezone.utc).isoformat(timespec="milliseconds"),
        run=event_v2.Run(told.ids.run, facets=_of_run(told)),
        job=event_v2.Job(told.ids.namespace, told.ids.job, facets=_of_job(told)),
        inputs=[event_v2.InputDataset(*place, facets=facets) for place, facets in inputs],
        outputs=[event_v2.OutputDataset(*place, facets=facets) for place, facets in outputs],
        producer=PRODUCER,
    )


def _of_run(told: Told) -> dict[str, RunFacet]:
    from openlineage.client.facet_v2 import error_message_run, parent_run, processing_engine_run, tags_run

    engine = processing_engine_run.ProcessingEngineRunFacet(
        version=_version("prefect"), name="Prefect", openlineageAdapterVersion=_version("prefect-flowml")
    )
    facets: dict[str, RunFacet] = {"processing_engine": engine}
    if told.above:
        facets["parent"] = parent_run.ParentRunFacet(
            run=parent_run.Run(told.above.run),
            job=parent_run.Job(told.above.namespace, told.above.job),
            root=parent_run.Root(
                run=parent_run.RootRun(told.ids.root),
                job=parent_run.RootJob(told.ids.root_namespace, told.ids.root_job),
            ),
        )
    if told.error:
        facets["errorMessage"] = error_message_run.ErrorMessageRunFacet(
            message=told.error, programmingLanguage="PYTHON", stackTrace=told.trace or None
        )
    key, its_id = told.identity.tag
    tags = {key: its_id, "name": told.identity.name, "attempt": str(told.identity.attempt)}
    facets["tags"] = tags_run.TagsRunFacet(
        tags=[tags_run.TagsRunFacetFields(key, value, "FLOWML") for key, value in tags.items()]
    )
    return facets


@cache
def _version(package: str) -> str:
    return version(package)


def _of_job(told: Told) -> dict[str, JobFacet]:
    from openlineage.client.facet_v2 import documentation_job, job_type_job, source_code_location_job

    kind = job_type_job.JobTypeJobFacet(
        processingType="BATCH", integration="FLOWML", jobType=told.identity.kind.upper()
    )
    facets: dict[str, JobFacet] = {"jobType": kind}
    if told.identity.about:
        facets["documentation"] = documentation_job.DocumentationJobFacet(description=mask(told.identity.about))
    file = Path(told.identity.source).resolve() if told.identity.source else None
    if file and (root := code.root_of(file)) and (facts := _checked_out(root, _changed(root))):
        path = file.relative_to(root).as_posix()
        facets["sourceCodeLocation"] = source_code_location_job.SourceCodeLocationJobFacet(
            type="git",
            url=_page(facts["url"], facts["commit"], path) or file.as_uri(),
            repoUrl=facts["url"] or None,
            path=path,
            version=facts["commit"],
            branch=facts["branch"] or None,
        )
    return facets


def _changed(root: Path) -> int:
    """Tell when another commit was checked out last: git notes each in its log."""
    try:
        return (root / ".git" / "logs" / "HEAD").stat().st_mtime_ns
    except OSError:
        return 0


@lru_cache(maxsize=64)
def _checked_out(root: Path, _: int) -> Mapping[str, str] | None:
    def ask(*words: str) -> str:
        return (code.git(root, *words) or b"").decode("utf-8", "replace").strip()

    commit = ask("rev-parse", "--verify", "HEAD")
    if not commit:
        return None
    url = without_credentials(ask("config", "--get", "remote.origin.url"))
    return {"commit": commit, "branch": ask("branch", "--show-current"), "url": url}


def _page(repository: str, commit: str, path: str) -> str | None:
    """Return the page of a file where the repository's address tells it, as on the common hosts."""
    if repository.startswith("git@"):
        repository = f"https://{repository.removeprefix('git@').replace(':', '/', 1)}"
    if not repository.startswith(("http://", "https://")):
        return None
    return f"{repository.removesuffix('.git')}/blob/{commit}/{path}"


def _described(data: Data, told: Told) -> tuple[tuple[str, str], dict[str, DatasetFacet]]:
    from openlineage.client.facet_v2 import dataset_type_dataset, dataset_version_dataset, schema_dataset, tags_dataset

    place, revision = (told.ids.namespace, data.name), None
    if data.kind == "FILE":
        place, revision = naming.of_file(data.name), revisions.of_path(Path(data.name))
    elif data.kind == "SOURCE":
        place = naming.of_source(data.name)
        revision = None if data.version else revisions.of_source(data.name)
    tags = {"digest": data.digest, "revision_by": revision.by if revision else "", "type": data.about}
    kind = "TABLE" if data.kind == "SOURCE" else data.kind
    facets: dict[str, DatasetFacet] = {"datasetType": dataset_type_dataset.DatasetTypeDatasetFacet(kind)}
    if its_version := (revision.version if revision else data.version or data.digest):
        facets["version"] = dataset_version_dataset.DatasetVersionDatasetFacet(its_version)
    if found := _fields(data.schema):
        facets["schema"] = schema_dataset.SchemaDatasetFacet(
            [schema_dataset.SchemaDatasetFacetFields(name, kind) for name, kind in found]
        )
    known = [tags_dataset.TagsDatasetFacetFields(key, value, "FLOWML") for key, value in tags.items() if value]
    if known:
        facets["tags"] = tags_dataset.TagsDatasetFacet(tags=known)
    return place, facets


def _fields(schema: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name the columns of a schema in MLflow's form, each with its type; of an array, its shape."""
    if columns := schema.get("mlflow_colspec"):
        return [(str(column.get("name")), str(column.get("type"))) for column in columns[:_MOST_FIELDS]]
    tensors = (schema.get("mlflow_tensorspec") or {}).get("features")
    specs = json.loads(tensors) if tensors else []
    inner = [(spec.get("name"), spec["tensor-spec"]) for spec in specs if "tensor-spec" in spec]
    return [(str(name or "values"), f"{spec['dtype']}{spec['shape']}") for name, spec in inner]
