"""What a user can say about tracking: ``track=`` on a flow or task, and markers on single values."""

from __future__ import annotations

import dataclasses
import re
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from string import Formatter
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from flowml.errors import did_you_mean, pass_on

if TYPE_CHECKING:
    from typing_extensions import Self

RunChoice: TypeAlias = Literal["own", "parent", "skip"]
Children: TypeAlias = Literal["all", "failed", "none"]
OnError: TypeAlias = Literal["warn", "raise"]
Write: TypeAlias = Literal["background", "sync"]
Models: TypeAlias = Literal["auto", "marked"]
ModelParams: TypeAlias = Literal["changed", "all"]

AUTOLOG_LIBRARIES = {
    "sklearn": "sklearn",
    "xgboost": "xgboost",
    "lightgbm": "lightgbm",
    "statsmodels": "statsmodels",
    "keras": "keras",
    "tensorflow": "tensorflow",
    "pytorch": "lightning",
    "transformers": "transformers",
}
"""What ``Track(autolog=...)`` can name, and the library it is about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """How one flow or task is tracked; pass it as ``track=``.

    Args:
        inputs: Log the arguments: all, none, or only those named.
        outputs: Log what is returned or yielded.
        autolog: Turn MLflow's autologging on inside this call only: for the libraries in use, or for those named, such
            as ``"sklearn"``. The models are flowml's to log, when the task returns them.
        run: ``"own"`` opens a run for each call; ``"parent"`` logs into the caller's run; ``"skip"`` logs nothing
            here, while what is called inside goes on being tracked under the caller's run.
        children: Which of the calls made inside get runs of their own: all, those that failed, or none. Of the others
            a summary is kept here: how many, how long, their metrics, and a table with a row for each. A call that logs
            by plain ``mlflow.*`` gets its run in any case, as do a flow that another process calls, and a call in
            another process that is over only after this one.
        experiment: The MLflow experiment: a name, a template over the flow's parameters such as ``"churn-{region}"``,
            or a function without arguments that returns a name. A flow that is called by another, and names one, gets a
            run of its own there, linked with the other's. Default: that of the caller, of an outermost flow its name.
        tags: Tags for each run.
        on_error: ``"warn"`` lets your code go on when MLflow fails; ``"raise"`` raises `TrackingError`.
            Default: the setting ``on_error``.
        trace: On a flow, make its flow run one MLflow trace, with a span for each attempt of each call inside. False
            begins none, and on a call inside a traced flow makes no span for it. Default: the setting ``trace``.
        system_metrics: Sample the machine while the call works: CPU, memory, disk, network and, where there are some,
            GPUs; also each node of a training that it starts. Default: the setting ``system_metrics``, for tasks.
        foreign_tasks: On a flow, also track the plain Prefect tasks and flows that are called inside.

    Raises:
        TypeError: If an option does not exist or has the wrong type.
        ValueError: If an option has a value that is not among those allowed.

    Example:
        >>> Track(inputs=["learning_rate"], tags={"team": "risk"}).run
        'own'
    """

    inputs: bool | Collection[str] = True
    outputs: bool = True
    autolog: bool | str | Collection[str] = False
    run: RunChoice = "own"
    children: Children = "all"
    experiment: str | Callable[[], str] | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    on_error: OnError | None = None
    trace: bool | None = None
    system_metrics: bool | None = None
    foreign_tasks: bool = False

    def __new__(cls, **options: object) -> Self:
        """Refuse options that do not exist, and say which do."""
        allowed = [option.name for option in dataclasses.fields(cls)]
        for name in options:
            if name not in allowed:
                msg = f"Track has no option {name!r}; it takes {', '.join(allowed)}. {did_you_mean(name, allowed)}"
                raise TypeError(msg.rstrip())
        return object.__new__(cls)

    def __post_init__(self) -> None:
        named = isinstance(self.inputs, Collection) and not isinstance(self.inputs, str) and _all_text(self.inputs)
        _check("inputs", self.inputs, named or isinstance(self.inputs, bool), "True, False or a list of argument names")
        _check("outputs", self.outputs, isinstance(self.outputs, bool), "True or False")
        flavors = [self.autolog] if isinstance(self.autolog, str) else self.autolog
        if not isinstance(flavors, bool):
            _check("autolog", self.autolog, isinstance(flavors, Collection), "True, False or names of libraries")
            for flavor in flavors:
                _choose("autolog", flavor, AUTOLOG_LIBRARIES)
        if self.run == "none":  # type: ignore[comparison-overlap]
            warnings.warn('Track(run="none") is now Track(run="skip").', DeprecationWarning, stacklevel=3)
            object.__setattr__(self, "run", "skip")
        _choose("run", self.run, get_args(RunChoice))
        _choose("children", self.children, get_args(Children))
        some_name = callable(self.experiment) or (isinstance(self.experiment, str) and bool(self.experiment.strip()))
        allowed = "a name, a function that returns one, or None for the flow's own"
        _check("experiment", self.experiment, some_name or self.experiment is None, allowed)
        text = isinstance(self.tags, Mapping) and _all_text(self.tags) and _all_text(self.tags.values())
        _check("tags", self.tags, text, "a mapping of text to text")
        if self.on_error is not None:
            _choose("on_error", self.on_error, get_args(OnError))
        for option, chosen in (("trace", self.trace), ("system_metrics", self.system_metrics)):
            _check(option, chosen, chosen is None or isinstance(chosen, bool), "True, False or None for the setting")
        _check("foreign_tasks", self.foreign_tasks, isinstance(self.foreign_tasks, bool), "True or False")

    def experiment_fields(self) -> list[str]:
        """Return the parameters that the template of the experiment's name is filled in with.

        Raises:
            ValueError: If it is no template that can be filled in.
        """
        if not isinstance(self.experiment, str):
            return []
        try:
            names = [name for _, name, _, _ in Formatter().parse(self.experiment) if name is not None]
        except ValueError as error:
            msg = f"Track(experiment={self.experiment!r}) is no template: {error}. A brace itself is written twice."
            raise ValueError(msg) from None
        return [re.split(r"[.\[]", name)[0] for name in names]

    def experiment_for(self, arguments: Mapping[str, Any]) -> str | None:
        """Return the name of the experiment for one call.

        Args:
            arguments: What the call was given, by name.

        Raises:
            ValueError: If it cannot be made, or is empty.
        """
        if self.experiment is None:
            return None
        try:
            made = self.experiment() if callable(self.experiment) else self.experiment.format(**arguments)
        except BaseException as error:
            pass_on(error)
            msg = f"Track(experiment={self.experiment!r}) gave no name: {type(error).__name__}: {error}."
            raise ValueError(msg) from error
        if not isinstance(made, str) or not made.strip():
            msg = f"Track(experiment={self.experiment!r}) gave {made!r}, which is no name of an experiment."
            raise ValueError(msg)
        return made

    @classmethod
    def parse(cls, value: Track | bool) -> Track | None:  # noqa: FBT001 - as it is written in track=
        """Read what was passed as ``track=``: None stands for "not at all".

        Raises:
            TypeError: If it is neither a bool nor a `Track`.
        """
        if isinstance(value, Track):
            return value
        if value is True:
            return cls()
        if value is False:
            return None
        msg = f"track= takes True, False or a flowml.Track, not {value!r}."
        raise TypeError(msg)


def _check(option: str, value: object, fits: bool, allowed: str) -> None:  # noqa: FBT001 - private, and clear here
    if not fits:
        msg = f"Track({option}=...) takes {allowed}, not {value!r}."
        raise TypeError(msg)


def _choose(option: str, value: object, allowed: Collection[str]) -> None:
    choices = " or ".join(map(repr, allowed))
    _check(option, value, isinstance(value, str), choices)
    if value not in allowed:
        msg = f"Track({option}=...) takes {choices}, not {value!r}."
        raise ValueError(msg)


def _all_text(values: Iterable[object]) -> bool:
    return all(isinstance(value, str) for value in values)


class Marker:
    """What an ``Annotated`` value can carry to say how it is logged."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Param(Marker):
    """Log this value as a parameter, whatever its type; a mapping or a configuration as one for each key or field.

    Args:
        name: The parameter's name, or what the keys' names begin with. Default: the argument's or the task's.
        prefix: Whether the keys' names begin with it. Without, they are the keys themselves, as a constructor takes
            them: ``Model(**run.data.params)``.

    Example:
        ``def tune(df: DataFrame) -> tuple[Annotated[dict, Param(prefix=False)], Annotated[int, Param("rows")]]: ...``
    """

    name: str | None = None
    prefix: bool = True


@dataclass(frozen=True, slots=True)
class Metric(Marker):
    """Log this number (or mapping or list of numbers) as metrics, also where it would be a parameter."""

    name: str | None = None


@dataclass(frozen=True, slots=True)
class Dataset(Marker):
    """Log this table or array as an MLflow dataset.

    Args:
        name: The dataset's name. Default: the argument's or the task's.
        save: Also store the content, as Parquet or ``.npz``.
        profile: Also log the percentiles of the numeric columns of a table, for `OnDataset` to see when they drift.
        source: The address that it was read from: ``"s3://bucket/orders.parquet"``, ``"postgresql://db/shop#public.orders"``,
            a path. ``{name}`` stands for what the call was given under that name. MLflow and a catalogue of lineage
            show it, without passwords.
        revision: Which version of the source it was, such as a snapshot's id; a template too.

    Raises:
        ValueError: If a template has a brace that is not closed, or ``revision`` is given without ``source``.

    Example:
        ``def load(day: str) -> Annotated[pd.DataFrame, Dataset(source="s3://shop/orders/{day}.parquet")]: ...``
    """

    name: str | None = None
    save: bool = False
    profile: bool = False
    source: str | None = None
    revision: str | None = None

    def __post_init__(self) -> None:
        if self.revision is not None and self.source is None:
            msg = f"Dataset(revision={self.revision!r}) needs source=: a revision is one of a source."
            raise ValueError(msg)
        for name, template in (("source", self.source), ("revision", self.revision)):
            try:
                list(Formatter().parse(template or ""))
            except ValueError as error:
                msg = f"Dataset({name}={template!r}) is no template: {error}. A brace itself is written twice."
                raise ValueError(msg) from None


@dataclass(frozen=True, slots=True)
class Model(Marker):
    """Log this value as an MLflow model, also what would not be one by itself, such as a fitted scaler.

    Args:
        name: The logged model's name. Default: the task's.
        register: Register it in the model registry under this name.
        alias: Give the new version this alias; needs ``register``.
        trust: Full names of types that loading the model may create, beyond those of scikit-learn, NumPy and SciPy.

    Raises:
        ValueError: If ``alias`` is given without ``register``.

    Example:
        ``def fit(df: pd.DataFrame) -> Annotated[Pipeline, Model("clf", register="churn", alias="challenger")]: ...``
    """

    name: str | None = None
    register: str | None = None
    alias: str | None = None
    trust: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.alias and not self.register:
            msg = f"Model(alias={self.alias!r}) needs register=: an alias names a version of a registered model."
            raise ValueError(msg)

    @classmethod
    def ref(cls, reference: str, *, optional: bool = False) -> ReadModel:
        """Mark an argument that is filled in with a version of a registered model where it is None.

        Args:
            reference: Which version: ``"churn@champion"``, ``"churn/7"``, either after ``models:/``.
            optional: Whether the argument stays None where there is no such version yet.

        Example:
            ``def score(rows: DataFrame, champion: Annotated[Any, Model.ref("churn@champion")] = None) -> Series: ...``
        """
        return ReadModel(reference, optional=optional)


@dataclass(frozen=True, slots=True)
class ReadModel(Marker):
    """Fill this argument in from the model registry where it is None, or text that names a version.

    Args:
        reference: Which version, where the argument is None.
        optional: Whether the argument stays None where there is no such version yet.
    """

    reference: str
    optional: bool = False


class Prompt:
    """Versions of prompts in MLflow's prompt registry, as arguments."""

    __slots__ = ()

    @staticmethod
    def ref(reference: str, *, optional: bool = False) -> ReadPrompt:
        """Mark an argument that is filled in with a version of a prompt where it is None.

        Args:
            reference: Which version: ``"summarize@production"``, ``"summarize/3"``, either after ``prompts:/``.
            optional: Whether the argument stays None where there is no such version yet.

        Example:
            ``def answer(text: str, prompt: Annotated[Any, Prompt.ref("summarize@production")] = None) -> str: ...``
        """
        return ReadPrompt(reference, optional=optional)


@dataclass(frozen=True, slots=True)
class ReadPrompt(ReadModel):
    """Fill this argument in from the prompt registry where it is None, or text that names a version."""


@dataclass(frozen=True, slots=True)
class Artifact(Marker):
    """Log this value as a file among the run's artifacts; a returned `Path` whatever its size.

    Args:
        path: Where, such as ``"report.json"``. The ending chooses the format; one that the value cannot be written in
            is told in the log, with those that it can. Default: by type.

    Raises:
        TypeError: If the path is no text.
        ValueError: If it is no place among the artifacts.
    """

    path: str | None = None

    def __post_init__(self) -> None:
        if self.path is None:
            return
        example = 'such as "report.json" or "plots/roc.svg"'
        if not isinstance(self.path, str):
            msg = f"Artifact(path={self.path!r}) takes text, {example}."
            raise TypeError(msg)
        parts = self.path.replace("\\", "/").split("/")
        is_elsewhere = ".." in parts or self.path[:1] in {"/", "\\"} or re.match(r"[A-Za-z]:[\\/]", self.path)
        if is_elsewhere or "\0" in self.path or not any(part.strip(". ") for part in parts):
            msg = f"Artifact(path={self.path!r}) is no place among a run's artifacts; write a relative path, {example}."
            raise ValueError(msg)


@dataclass(frozen=True, slots=True)
class Skip(Marker):
    """Do not log this value at all."""


def marker_of(annotation: Any) -> Marker | None:
    """Find the marker in ``Annotated[X, marker]``; the last one wins."""
    found = None
    for part in getattr(annotation, "__metadata__", ()):
        if isinstance(part, Marker):
            found = part
        elif isinstance(part, type) and issubclass(part, Marker):
            found = part()
    return found
