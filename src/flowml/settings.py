"""flowml's settings: the environment's ``FLOWML_*`` over ``[tool.flowml]`` in pyproject.toml over the defaults."""

from __future__ import annotations

import os
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

from pydantic import BaseModel, ByteSize, ConfigDict, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    PyprojectTomlConfigSettingsSource,
    SettingsConfigDict,
)

from flowml.errors import SettingsError
from flowml.locks import RLock
from flowml.options import ModelParams, Models, OnError, Write


class Protection(BaseModel):
    """What a version must have before it may get an alias.

    Attributes:
        gate: Whether it has to have passed a gate.
        approvals: How many people have to have approved it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    gate: bool = False
    approvals: int = Field(0, ge=0)


class Price(BaseModel):
    """What a model's tokens cost, in US dollars for a million of them.

    Attributes:
        input: Of what it is given.
        output: Of what it answers.
        cached: Of what it is given and had in its cache. Default: as ``input``.
        written: Of what it is given and puts into its cache. Default: as ``input``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    input: Decimal = Field(ge=0)
    output: Decimal = Field(ge=0)
    cached: Decimal | None = Field(None, ge=0)
    written: Decimal | None = Field(None, ge=0)


class Settings(BaseSettings):
    """Every setting of flowml; ``docs/reference/settings.md`` is the same table with examples.

    Example:
        >>> Settings(timeout=5).timeout
        5.0
    """

    model_config = SettingsConfigDict(
        env_prefix="FLOWML_",
        pyproject_toml_table_header=("tool", "flowml"),
        pyproject_toml_depth=8,
        extra="forbid",
        frozen=True,
    )

    enabled: bool = Field(True, description="Track at all. Off, flows and tasks are exactly Prefect's.")
    tracking_uri: str | None = Field(
        None, description="Where MLflow keeps runs. Default: what MLflow was told, else a SQLite file in `home`."
    )
    registry_uri: str | None = Field(None, description="Where MLflow keeps registered models. Default: with the runs.")
    experiment: str | None = Field(
        None, description="The experiment of every flow. Default: what MLflow was told, else the flow's name."
    )
    home: Path = Field(
        Path(".flowml"), description="Folder of the embedded MLflow store; relative to the project's folder."
    )
    offline: bool = Field(
        False,
        description="Open no connection: runs go to `offline.db` in `home`, and `flowml sync` copies them from there.",
    )
    on_error: OnError = Field(
        "warn", description='When MLflow fails: "warn" once and go on, or "raise" `TrackingError`.'
    )
    timeout: float = Field(
        15.0, gt=0, description="Seconds to wait for MLflow before going on without it; ten times as long for files."
    )
    max_delay: float = Field(
        10.0,
        ge=0,
        description="Seconds that MLflow may delay a flow in all, when it fails or does not answer; what waits then "
        "stays in the journal.",
    )
    journal: bool = Field(
        True,
        description="Keep what is logged on this machine's disk, in `journal` in `home`, until MLflow has it: nothing "
        "is lost with the process. `flowml sync` sends what was left.",
    )
    journal_limit: ByteSize = Field(
        ByteSize(10 * 2**30),
        description="Bytes, or a size such as `10GiB`, of files that may wait for MLflow; more are not logged.",
    )
    write: Write = Field(
        "background", description='Send to MLflow in the "background", or at once while the task waits: "sync".'
    )
    models: Models = Field(
        "auto",
        description='Log as models what can predict or has a `Model` marker ("auto"), or only the latter ("marked").',
    )
    model_params: ModelParams = Field(
        "changed",
        description="Hyper-parameters of a model that are parameters: those that are not its class's defaults, with "
        'all in a file ("changed"), or each ("all").',
    )
    file_limit: ByteSize = Field(
        ByteSize(100_000_000),
        description="Bytes, or a size such as `1GB`, up to which a file or folder is logged whose `Path` is returned; "
        "above it, or 1,000 files, its path, size and digest are. An `Artifact` marker logs it all the same.",
    )
    events: bool = Field(
        True,
        description="Emit Prefect events for finished runs, models and thresholds, for deployments to be triggered by.",
    )
    trace: bool = Field(
        False,
        description="Make each outermost flow run one MLflow trace, with a span for each attempt of each call inside, "
        "where `Track(trace=...)` does not say otherwise.",
    )
    trace_sampling_rate: float = Field(
        1.0, ge=0, le=1, description="Share of the flow runs to be traced that are; the others are as without a trace."
    )
    system_metrics: bool = Field(
        False,
        description="Sample CPU, memory, disk, network and GPUs while a task works, where `Track(system_metrics=...)` "
        "does not say otherwise.",
    )
    openlineage_url: str | None = Field(
        None,
        description="The OpenLineage catalogue that is told what each call read and made, such as "
        "`http://marquez:5000`. Default: what OpenLineage's own variables or `openlineage.yml` say, if they do.",
    )
    openlineage_namespace: str | None = Field(
        None,
        description="Where the names of flows and tasks are unique, for the catalogue. Default: "
        "`OPENLINEAGE_NAMESPACE`, else `flowml`.",
    )
    reproduce: bool = Field(
        True,
        description="Keep with each outermost flow's run what `flowml reproduce` needs: commit, changes, "
        "parameters and packages.",
    )
    registry: Mapping[str, Mapping[str, Protection]] = Field(
        {},
        description="Protected aliases of registered models, such as "
        "`churn = { champion = { gate = true, approvals = 1 } }`.",
    )
    prices: Mapping[str, Price] = Field(
        {},
        description="What models cost, in US dollars for a million tokens, such as "
        '`"gpt-4o-mini" = { input = 0.15, output = 0.6, cached = 0.075 }`; a name may end in `*`. Default: as the span '
        "says, else by MLflow's own list.",
    )
    prices_file: Path | None = Field(
        None, description="JSON file with more `prices`; relative to the project's folder."
    )
    adopt_active_run: bool = Field(
        True,
        description="Put a flow's run under the MLflow run that is active then, or under that of Airflow's DAG run.",
    )
    mlflow_ui_url: str | None = Field(
        None, description="Where people open MLflow. Default: the tracking URI, if it is a server, else `flowml up`'s."
    )
    prefect_ui_url: str | None = Field(
        None,
        description="Where people open Prefect. Default: `PREFECT_UI_URL`, else what follows from the API's address.",
    )
    task_links: int = Field(
        20,
        ge=0,
        description="How many task runs of a flow run get a link to MLflow in Prefect, the first ones in each process; "
        "0: none.",
    )
    artifacts: str | None = Field(
        None, description="Folder or bucket for the artifacts of the embedded store. Default: `artifacts` in `home`."
    )
    prefect_db: str | None = Field(
        None, description="Database of `flowml up`'s Prefect server. Default: a SQLite file in `home`."
    )
    host: str = Field("127.0.0.1", description="Address that `flowml up` listens on.")
    prefect_port: int | None = Field(
        None, ge=1, le=65535, description="Port of `flowml up`'s Prefect server. Default: the first free one from 4200."
    )
    mlflow_port: int | None = Field(
        None, ge=1, le=65535, description="Port of `flowml up`'s MLflow server. Default: the first free one from 5000."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is pydantic's
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment over pyproject.toml over defaults."""
        return init_settings, env_settings, PyprojectTomlConfigSettingsSource(settings_cls)


_lock = RLock()
_current: Settings | None = None


def current() -> Settings:
    """Return the settings in force; they are read once, and again at each `reload`."""
    return _current or reload()


def on_error() -> OnError:
    """Return what to do when MLflow fails; "warn" also where the settings themselves cannot be read."""
    try:
        return current().on_error
    except SettingsError:
        return "warn"


def reload() -> Settings:
    """Read the settings again, as each outermost flow does when it begins.

    Raises:
        SettingsError: If one cannot be used; the message names it, its value and what is allowed.
    """
    global _current  # noqa: PLW0603 - the one place that holds them
    with _lock:
        try:
            _current = Settings()
        except ValidationError as error:
            raise _explain(error) from None
        return _current


def resolved(uri: str | None) -> str | None:
    """Return a URI; where ``env:NAME`` stands in its place, what that environment variable holds.

    Raises:
        SettingsError: If the variable is not set.
    """
    if uri is None or not uri.startswith("env:"):
        return uri
    name = uri.removeprefix("env:")
    if not os.environ.get(name):
        msg = f"A URI is to come from the environment variable {name} ({uri!r}), which is not set here."
        raise SettingsError(msg, setting="tracking_uri", value=uri)
    return os.environ[name]


def from_environment(name: str) -> str:
    """Return what a variable holds that somebody named; empty if it is not set."""
    return os.environ.get(name, "")


def of_openlineage() -> dict[str, str]:
    """Return the variables of OpenLineage's client, and the file that it would read, under ``file``."""
    found = {name: value for name, value in os.environ.items() if name.startswith("OPENLINEAGE_")}
    places = (found.get("OPENLINEAGE_CONFIG"), "openlineage.yml", "~/.openlineage/openlineage.yml")
    files = [file for place in places if place and (file := Path(place).expanduser()).is_file()]
    return {**found, **({"file": str(files[0].absolute())} if files else {})}


def project_folder() -> Path:
    """Return the project's folder: the nearest one upwards with a pyproject.toml or .git, else this one."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "pyproject.toml").is_file() or (folder / ".git").exists():
            return folder
    return here


def home_folder() -> Path:
    """Return the folder of the embedded store and of the local servers, with an absolute path."""
    home = current().home.expanduser()
    return Path(os.path.realpath(home if home.is_absolute() else project_folder() / home))


def _explain(error: ValidationError) -> SettingsError:
    first = error.errors()[0]
    name = str(first["loc"][0]) if first["loc"] else ""
    known = ", ".join(Settings.model_fields)
    if first["type"] == "extra_forbidden":
        message = f"flowml has no setting {name!r} (in [tool.flowml] of pyproject.toml); it has {known}."
    else:
        message = (
            f"The setting {name} (FLOWML_{name.upper()}, or {name} in [tool.flowml]) "
            f"cannot be {first['input']!r}: {first['msg']}."
        )
    return SettingsError(message, setting=name, value=first.get("input"))
