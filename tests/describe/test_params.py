"""Parameters that a marker asks for: whole mappings and configurations, under names that go back into a constructor."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Iterator
from types import MappingProxyType
from typing import Annotated, Any, NamedTuple

import attrs
import numpy as np
import pydantic
import pytest

from flowml import Metric, Param, Skip, describe, records

BARE = Param(prefix=False)


@dataclasses.dataclass(frozen=True)
class Frozen:
    """A frozen dataclass with a field of each kind."""

    max_depth: int = 3
    rate: float = 0.1
    note: Annotated[str, Skip()] = "hidden"


class Tuned(NamedTuple):
    """A named tuple."""

    max_depth: int = 3
    rate: float = 0.1


@attrs.define
class Span:
    """An attrs class."""

    max_depth: int = 3
    rate: float = 0.1


class Model(pydantic.BaseModel):
    """A pydantic model."""

    max_depth: int = 3
    rate: float = 0.1


NAMED = {
    "dict": {"max_depth": 3, "rate": 0.1},
    "ordered": OrderedDict(max_depth=3, rate=0.1),
    "proxy": MappingProxyType({"max_depth": 3, "rate": 0.1}),
    "frozen dataclass": Frozen(),
    "named tuple": Tuned(),
    "attrs": Span(),
    "pydantic": Model(),
}
KEYS = {"max_depth": "3", "rate": "0.1"}


def params(found: list[records.Record]) -> dict[str, str]:
    """Give the parameters."""
    return {r.key: r.value for r in found if isinstance(r, records.Param)}


def metrics(found: list[records.Record]) -> dict[str, float]:
    """Give the metrics."""
    return {r.key: r.value for r in found if isinstance(r, records.Metric)}


@pytest.mark.parametrize("value", NAMED.values(), ids=NAMED.keys())
def test_without_a_prefix_keys_have_their_own_names(value: Any) -> None:
    """As an argument, as a returned value, in a tuple, and where the marker has a name that a number would have."""
    for marker in (BARE, Param("best", prefix=False)):
        hint = Annotated[object, marker]
        assert describe.inputs({"params": value}, {"params": hint}) == [records.Param(*item) for item in KEYS.items()]
        assert params(describe.outputs(value, "tune", hint)) == KEYS
        assert params(describe.outputs((value, 0.5), "tune", tuple[hint, float])) == KEYS
        assert params(describe.outputs({"params": value}, "tune", dict[str, hint])) == KEYS


@pytest.mark.parametrize("value", NAMED.values(), ids=NAMED.keys())
def test_with_a_prefix_keys_begin_with_the_values_name(value: Any) -> None:
    """The default: the argument's name, the task's and the position, the marker's; none for what is returned alone."""
    assert params(describe.inputs({"p": value}, {"p": Annotated[object, Param()]})) == {
        f"p.{key}": text for key, text in KEYS.items()
    }
    assert params(describe.outputs(value, "tune", Annotated[object, Param("best")])) == {
        f"best.{key}": text for key, text in KEYS.items()
    }
    assert params(describe.outputs(value, "tune", Annotated[object, Param()])) == KEYS
    assert params(describe.outputs((value, "a", {"b": 1}), "tune", tuple[Annotated[object, Param()], str, dict])) == {
        "tune.1": "a",
        **{f"tune.0.{key}": text for key, text in KEYS.items()},
    }


def test_what_has_no_keys_has_its_own_name_still() -> None:
    """A number, None, an empty mapping or a list with the marker is one parameter."""
    for value, text in ((3, "3"), (None, "None"), (np.bool_(True), "True"), ({}, "{}"), ([1, 2], "[1, 2]")):
        assert describe.inputs({"p": value}, {"p": Annotated[object, BARE]}) == [records.Param("p", text)]
        assert describe.outputs(value, "tune", Annotated[object, BARE]) == [records.Param("return", text)]


def test_what_is_nested_keeps_the_names_below() -> None:
    """The outermost prefix alone is left out; keys that are no text are written as elsewhere."""
    value = {"net": {"depth": 3, "config": Frozen()}, 1: "a", "scores": {np.int64(2): np.float32(0.5)}}
    assert params(describe.inputs({"p": value}, {"p": Annotated[dict, BARE]})) == {
        "net.depth": "3",
        "net.config.max_depth": "3",
        "net.config.rate": "0.1",
        "1": "a",
        "scores.2": "0.5",
    }


def test_markers_on_fields_are_over_the_one_on_the_whole() -> None:
    """A field can be a metric, be left out, or be bare itself."""

    @dataclasses.dataclass
    class Report:
        params: Annotated[dict[str, Any], BARE]
        loss: Annotated[float, Metric("loss")]
        secret: Annotated[str, Skip()] = "x"

    hints = {"Report": Report, "BARE": BARE, "Metric": Metric, "Skip": Skip, "Annotated": Annotated, "Any": Any}
    Report.__annotations__ = {
        name: eval(hint, hints) if isinstance(hint, str) else hint  # local names do not resolve by themselves
        for name, hint in Report.__annotations__.items()
    }
    for hint in (None, Annotated[Report, Param()]):
        found = describe.outputs(Report({"max_depth": 3}, 0.5), "tune", hint)
        assert (params(found), metrics(found)) == ({"max_depth": "3"}, {"loss": 0.5})


def test_a_marked_mapping_takes_no_prefix_from_a_plain_one() -> None:
    """Metrics beside marked parameters keep their names, whatever the marker; two plain mappings do not."""
    scores = {"rmse": 1.5}
    for marker in (BARE, Param(), Param("best"), Skip(), Metric("valid")):
        found = describe.outputs(({"max_depth": 3}, scores), "tune", tuple[Annotated[dict, marker], dict])
        assert metrics(found)["rmse"] == 1.5
    found = describe.outputs((scores, {"mae": 1.0}), "tune", tuple[dict, dict])
    assert metrics(found) == {"tune.0.rmse": 1.5, "tune.1.mae": 1.0}
    found = describe.outputs((scores, 1), "tune", tuple[Annotated[dict, Metric()], int])
    assert metrics(found) == {"rmse": 1.5, "tune.1": 1.0}


def test_the_same_key_twice_costs_neither_value() -> None:
    """A bare key that is another argument's name, or another mapping's, is kept beside it under a number."""
    hint = Annotated[dict, BARE]
    found = describe.inputs({"rate": 0.1, "p": {"rate": 0.2}, "q": {"rate": 0.1}}, {"p": hint, "q": hint})
    assert params(found) == {"rate": "0.1", "rate.2": "0.2"}
    found = describe.outputs(({"rate": 0.1}, {"rate": 0.2}, {"rate": 0.3}), "tune", tuple[hint, hint, hint])
    assert params(found) == {"rate": "0.1", "rate.2": "0.2", "rate.3": "0.3"}


def test_secrets_stay_hidden_without_a_prefix() -> None:
    """By the name of the whole, by that of a key, or by what a text looks like; also in a dataclass."""

    @dataclasses.dataclass(frozen=True)
    class Login:
        password: str = "hunter2"
        user: str = "ada"

    hint = Annotated[object, BARE]
    assert params(describe.inputs({"p": Login()}, {"p": hint})) == {"password": "********", "user": "ada"}
    assert params(describe.inputs({"credentials": Login()}, {"credentials": hint})) == {"credentials": "********"}
    for value in (Login(), {"password": "hunter2", "url": "http://ada:hunter2@db"}, [Login()]):
        assert "hunter2" not in str(describe.outputs(value, "tune", hint))
        assert "hunter2" not in str(describe.outputs((value, 1), "tune", tuple[hint, int]))


def test_a_circle_ends_and_costs_no_other_key() -> None:
    """A mapping that holds itself, and one whose items cannot be read, are told of in short."""
    circle: dict[str, Any] = {"max_depth": 3}
    circle["self"] = circle

    class Broken(OrderedDict[str, int]):
        def __iter__(self) -> Iterator[str]:
            raise ValueError

        def items(self) -> Any:
            raise ValueError

    found = params(describe.inputs({"p": circle, "b": Broken(a=1), "x": 1}, {"p": Annotated[dict, BARE]}))
    assert (found["max_depth"], found["x"]) == ("3", "1")
    assert found.keys() >= {"self"}
