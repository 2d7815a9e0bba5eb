"""How a version is named, and what is said of a name that names none."""

from __future__ import annotations

import pytest

from flowml.errors import RegistryError
from flowml.store.registered.references import ModelRef, NoSuchVersionError, find, parse


@pytest.mark.parametrize("reference", ["churn@champion", "models:/churn@champion", ModelRef("churn", alias="champion")])
def test_an_alias_is_named_in_each_form(reference):
    """Each form of a name with an alias means the same."""
    ref = parse(reference)
    assert (ref.model, ref.version, ref.alias) == ("churn", None, "champion")
    assert (str(ref), ref.uri) == ("churn@champion", "models:/churn@champion")


@pytest.mark.parametrize("reference", ["churn/7", "models:/churn/7", ("churn", 7), ("churn", "7"), "churn/07"])
def test_a_version_is_named_in_each_form(reference):
    """Each form of a name with a number means the same."""
    assert parse(reference) == ModelRef("churn", version="7")


@pytest.mark.parametrize(
    "reference, fault",
    [
        ("", "empty"),
        ("churn", "without an alias or a version"),
        ("churn@", "no alias follows"),
        ("@champion", "no model stands before"),
        ("churn/champion", "'champion' is no number"),
        ("churn/0", "'0' is no number"),
        ("a/b/7", "holds no /"),
        ("churn/7@champion", "not both"),
        (("churn", 0), "a name and a number"),
        (("churn", True), "a name and a number"),
        (("churn",), "a name and a number"),
        (7, "names no version"),
    ],
)
def test_what_names_no_version_is_told(reference, fault):
    """A reference that cannot be read says what is wrong with it, and how it is written."""
    with pytest.raises(RegistryError, match=fault) as problem:
        parse(reference)
    assert "Write 'churn@champion'" in str(problem.value)


def test_what_there_is_is_found(versions):
    """A version is found by its number and by its alias."""
    client = versions("churn", 3)
    client.set_registered_model_alias("churn", "champion", "2")
    assert str(find(client, "churn@champion").version) == "2"
    assert str(find(client, ("churn", 3)).version) == "3"


@pytest.mark.parametrize(
    "reference, told",
    [
        ("chrun@champion", "There is no registered model 'chrun'. Did you mean 'churn'?"),
        ("churn@champoin", "churn has no alias 'champoin'. Did you mean 'champion'?"),
        ("churn@best", "churn has no alias 'best'. Its aliases: champion."),
        ("churn/9", "churn has no version 9. Its last versions: 3, 2, 1."),
    ],
)
def test_what_there_is_not_is_told_with_the_nearest(versions, reference, told):
    """A model, alias or version that is not there is named, with the nearest that is."""
    client = versions("churn", 3)
    client.set_registered_model_alias("churn", "champion", "2")
    with pytest.raises(NoSuchVersionError) as problem:
        find(client, reference)
    assert str(problem.value) == told
