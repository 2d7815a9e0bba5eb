"""Models and prompts that a call reads from the registry: by name, or as an argument that its marker fills in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from enum import Enum
from functools import lru_cache
from inspect import Signature, iscoroutinefunction, signature
from typing import TYPE_CHECKING, Any, Final

from flowml import describe, records, store
from flowml.capture import wrap
from flowml.capture.call import Call
from flowml.capture.session import current
from flowml.describe.hints import marker_in
from flowml.errors import RegistryError
from flowml.options import ReadModel, ReadPrompt
from flowml.store.backend.connection import connect
from flowml.store.registered import (
    Loaded,
    ModelRef,
    NoSuchVersionError,
    Reference,
    find,
    load,
    load_version,
    parse,
    parse_prompt,
)

if TYPE_CHECKING:
    from flowml.store.backend.connection import Connection


class _Required(Enum):
    VERSION = 0


_REQUIRED: Final = _Required.VERSION


def load_model(reference: Reference, *, default: Any = _REQUIRED) -> Any:
    """Load a version of a registered model; the flow or task that is running says which version it read.

    It is loaded by the library that made it (scikit-learn, XGBoost, …), else by pyfunc, and once in a process: whoever
    asks again is given the same object. An alias is looked up at each call, so that a new champion is seen.

    Args:
        reference: Which version: ``"churn@champion"``, ``"churn/7"``, either after ``models:/``, or ``("churn", 7)``.
        default: What to return where there is no such version. Default: it is an error.

    Returns:
        The model, as its library has it.

    Raises:
        RegistryError: If there is no such version, or the reference names none.
        Exception: Whatever MLflow or the model's library raises.

    Example:
        >>> champion = flowml.load_model("churn@champion", default=None)
    """
    ref = parse(reference)
    if ref.is_prompt:
        msg = f"{ref} is a prompt. Load it by flowml.load_prompt({str(ref)!r})."
        raise RegistryError(msg)
    try:
        loaded = _load(connection_here(), ref)
    except NoSuchVersionError:
        if default is _REQUIRED:
            raise
        return default
    _tell(loaded.name, lambda: describe.read_models.told(loaded.value, ref.model) or [])
    return loaded.value


def load_prompt(reference: Reference, *, default: Any = _REQUIRED) -> Any:
    """Load a version of a prompt; the flow or task that is running says which version it read, and so do its traces.

    An alias is looked up at each call, so that a promotion is seen.

    Args:
        reference: Which version: ``"summarize@production"``, ``"summarize/3"``, either after ``prompts:/``.
        default: What to return where there is no such version. Default: it is an error.

    Returns:
        MLflow's `PromptVersion`.

    Raises:
        RegistryError: If there is no such version, or the reference names none.
        Exception: Whatever MLflow raises.

    Example:
        >>> text = flowml.load_prompt("summarize@production").format(text="...")
    """
    try:
        prompt = _load_prompt(connection_here(), parse_prompt(reference))
    except NoSuchVersionError:
        if default is _REQUIRED:
            raise
        return default
    _tell(prompt.uri, lambda: describe.prompts.told(prompt))
    return prompt


def _tell(version: str, told: Callable[[], list[records.Record]]) -> None:
    """Have the run of the flow or task that is running say which version it read."""
    session = current()
    if session is not None and session.run is not store.NO_RUN:
        with session.guard(f"tell that {version} was read"):
            session.put(told())


def connection_here(call: Call | None = None) -> Connection:
    """Return the connection to the store of what is running here, or else to the one in force.

    Args:
        call: A call that is to begin; where another process made it, that has told which store.
    """
    session = current()
    if session is not None and session.run.target is not None:
        return session.run.target.connection
    sender: records.Caller | None = call.orchestrator.find_caller() if call and session is None else None
    if sender is not None and sender.tracking_uri:
        return connect(sender.tracking_uri, sender.registry_uri)
    return connect()


def wanted(hints: Mapping[str, Any]) -> dict[str, ReadModel]:
    """Return the arguments that are to be filled in, with their markers."""
    found = {name: marker_in(hint) for name, hint in hints.items() if name != "return"}
    return {name: marker for name, marker in found.items() if isinstance(marker, ReadModel)}


def run(
    fn: Callable[..., Any],
    markers: Mapping[str, ReadModel],
    given: tuple[tuple[Any, ...], dict[str, Any]],
    call: Call | None,
) -> Any:
    """Run a function whose arguments are to be filled in, as a tracked call if it is one."""
    if iscoroutinefunction(fn):
        return _later(fn, markers, given, call)
    args, kwargs, call = _filled(fn, markers, given, call)
    return fn(*args, **kwargs) if call is None else wrap.run(call, fn, args, kwargs)


async def _later(
    fn: Callable[..., Any],
    markers: Mapping[str, ReadModel],
    given: tuple[tuple[Any, ...], dict[str, Any]],
    call: Call | None,
) -> Any:
    args, kwargs, call = await asyncio.to_thread(_filled, fn, markers, given, call)  # the event loop goes on meanwhile
    return await (fn(*args, **kwargs) if call is None else wrap.run(call, fn, args, kwargs))


def _filled(
    fn: Callable[..., Any],
    markers: Mapping[str, ReadModel],
    given: tuple[tuple[Any, ...], dict[str, Any]],
    call: Call | None,
) -> tuple[tuple[Any, ...], dict[str, Any], Call | None]:
    """Fill in the arguments that are None, or text that names a version.

    Args:
        fn: The function that is called.
        markers: What is to be filled in, by the argument's name.
        given: The arguments, by position and by name.
        call: The tracked call, if it is one.

    Returns:
        The arguments, and the call with what was filled in.

    Raises:
        RegistryError: If there is no such version, where that is not allowed.
        Exception: Whatever MLflow or the model's library raises.
    """
    bound = _signature(fn).bind(*given[0], **given[1])
    bound.apply_defaults()
    changed: dict[str, Any] = {}
    for name, marker in markers.items():
        value = bound.arguments.get(name)
        if value is None or isinstance(value, str | ModelRef):
            try:
                changed[name] = _read(connection_here(call), marker, marker.reference if value is None else value)
            except NoSuchVersionError:
                if value is not None or not marker.optional:
                    raise
    bound.arguments.update(changed)
    if call is not None and changed:
        call = replace(call, arguments={**call.arguments, **changed})
    return bound.args, bound.kwargs, call


def _read(connection: Connection, marker: ReadModel, reference: Reference) -> Any:
    """Load what a marker asks for: a model, or a prompt."""
    if isinstance(marker, ReadPrompt):
        return _load_prompt(connection, parse_prompt(reference))
    return _load(connection, parse(reference)).value


def _load_prompt(connection: Connection, ref: ModelRef) -> Any:
    prompt = load_version(connection, find(connection.client, ref))
    describe.prompts.note(prompt, str(ref))
    return prompt


def _load(connection: Connection, ref: ModelRef) -> Loaded:
    loaded = load(connection, find(connection.client, ref))
    describe.read_models.note(loaded.value, loaded.name, str(ref))
    return loaded


@lru_cache(maxsize=256)
def _signature(fn: Callable[..., Any]) -> Signature:
    return signature(fn)
