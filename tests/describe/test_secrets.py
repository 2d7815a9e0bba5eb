"""Secrets do not come out, by whatever way they went in."""

from __future__ import annotations

import dataclasses
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import matplotlib.figure
import numpy as np
import pandas as pd
import pydantic
import pytest
from prefect.blocks.core import Block
from prefect.blocks.system import Secret
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from flowml import Dataset, Metric, describe, records

SECRET_NAMES = [
    "password",
    "db_password",
    "passwd",
    "token",
    "access_token",
    "apiToken",
    "secret",
    "client_secret",
    "api_key",
    "apiKey",
    "APIKEY",
    "OPENAI_API_KEY",
    "access_key",
    "aws_secret_access_key",
    "private_key",
    "credential",
    "credentials",
    "dsn",
    "auth",
    "Authorization",
    "my-token",
    "dbpassword",
    "connection_string",
    "auth_header",
]
PLAIN_NAMES = [
    "tokenizer",
    "n_tokens",
    "max_tokens",
    "max_token",
    "token_count",
    "author",
    "authors",
    "monkey",
    "key",
    "keys",
    "sort_key",
    "keyboard",
    "passes",
    "secretary",
    "compass",
    "oauthor",
]
SECRET_VALUES = [
    "sk-abcdefghijklmnopqrstuvwx",
    "sk-proj-abc_defghijklmnop-qr",
    "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
    "github_pat_11ABCDEFG0abcdefghijkl_mnop",
    "AKIAIOSFODNN7EXAMPLE",
    "xoxb-123456789012-abcdefghij",
    "glpat-abcdefghij0123456789",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc-DEF_123",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA\n-----END RSA PRIVATE KEY-----",
]


def shown(found) -> str:
    """Give all that could be read."""
    return repr([r for r in found if not isinstance(r, records.Blob)])


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_a_secret_name_hides_the_value(name):
    """As an argument, a key, in free text; as an output nothing is logged at all."""
    assert describe.inputs({name: "hunter2"}, {}) == [records.Param(name, "********")]
    for value in (
        {name: "hunter2"},
        {"a": [{name: "hunter2"}]},
        {"a": {name: {"deep": "hunter2"}}},
        [{name: "hunter2"}, object()],
    ):
        assert "hunter2" not in shown(describe.inputs({"config": value}, {}))
        assert "hunter2" not in shown(describe.outputs(value, "t"))
        assert "hunter2" not in shown(describe.named({"config": value}))
    for text in (
        f"{name}=hunter2",
        f"{name}: hunter2",
        f"'{name}': 'hunter2'",
        f'{{"{name}": "hunter2"}}',
        f"f({name}='hunter2')",
    ):
        assert "hunter2" not in describe.mask(text)
    assert describe.named({name: "hunter2"}) == []


@pytest.mark.parametrize("name", PLAIN_NAMES)
def test_whole_words_count(name):
    """A word that only holds a secret's name is none."""
    assert describe.inputs({name: "512"}, {}) == [records.Param(name, "512")]
    assert describe.mask(f"{name}=512") == f"{name}=512"


@pytest.mark.parametrize("value", SECRET_VALUES)
def test_a_value_of_a_known_form_is_hidden(value):
    """Under whatever name, as a key, in a list, in a text and in an object's repr."""

    @dataclasses.dataclass
    class Holder:
        part: str

    for holder in (
        value,
        [value, 1],
        {"a": value},
        {value: 1},
        f"see {value} there",
        Holder(value),
        {Holder(value).part},
        [object(), value],
    ):
        for found in (describe.inputs({"x": holder}, {}), describe.outputs(holder, "t"), describe.named({"x": holder})):
            assert value not in shown(found)
            assert repr(value)[1:-1] not in shown(found)
    assert describe.mask(value) == "********"
    long = "word " * 2000 + value + " word" * 2000
    assert value not in shown(describe.inputs({"x": long}, {}))


def test_only_the_password_of_an_address_is_hidden():
    """User, host and path stay readable."""
    mask = describe.mask
    assert mask("postgresql://ada:love@lace@db:5432/x") == "postgresql://ada:********@db:5432/x"
    assert mask("redis://:pw@host/0 and http://a.b:80/c?d=e@f") == "redis://:********@host/0 and http://a.b:80/c?d=e@f"
    assert describe.inputs({"uri": "https://u:p4ss@mlflow.example"}, {}) == [
        records.Param("uri", "https://u:********@mlflow.example")
    ]
    assert mask("https://h/x?token=abc&n=1") == "https://h/x?token=********&n=1"


def test_types_made_for_secrets_are_hidden():
    """Pydantic's secrets and Prefect's Secret block are masked, other blocks show their type and name."""

    class Settings(pydantic.BaseModel):
        key: pydantic.SecretStr = pydantic.SecretStr("hunter2")
        raw: pydantic.SecretBytes = pydantic.SecretBytes(b"hunter2")

    class Database(Block):
        host: str = "h"
        phrase: str = "hunter2"

    block = Database()
    block._block_document_name = "prod"
    found = describe.inputs({"s": Settings(), "p": Secret(value="hunter2"), "db": block}, {})
    assert {r.key: r.value for r in found} == {
        "s.key": "********",
        "s.raw": "********",
        "p": "********",
        "db": "Database/prod",
    }
    assert describe.outputs(Secret(value="hunter2"), "t") == []


def test_a_traceback_is_readable_without_its_secrets():
    """Only the values go."""
    text = (
        'File "a.py", line 3, in connect\n    login(user="ada", password="hunter2", token=\'t0p\')\n'
        "ValueError: bad auth=('ada', 'hunter2')"
    )
    masked = describe.mask(text)
    assert "hunter2" not in masked
    assert "t0p" not in masked
    assert 'File "a.py", line 3, in connect\n    login(user="ada", password="********"' in masked


def test_none_and_flags_under_a_secret_name_are_shown():
    """That there is no password is no secret."""
    arguments: dict[str, Any] = {"password": None, "auth": True}
    assert describe.inputs(arguments, {}) == [records.Param("password", "None"), records.Param("auth", "True")]


SCORES = {
    "token_f1": 0.91,
    "password": {"recall": 0.7, "support": 12},
    "auth_auc": np.float64(0.8),
    "cookie_ctr": Decimal("0.1"),
}
LEAVES = {"token_f1": 0.91, "password.recall": 0.7, "password.support": 12.0, "auth_auc": 0.8, "cookie_ctr": 0.1}


@dataclasses.dataclass
class Scores:
    """Fields that are named like secrets."""

    token_f1: float = 0.91
    auth_auc: float = 0.8


def test_a_returned_number_is_a_metric_whatever_its_name():
    """Of a recogniser of secrets, say: in mappings, histories, classes, by every way to log one."""

    def metrics(found):
        return {record.key: record.value for record in found if isinstance(record, records.Metric)}

    assert metrics(describe.outputs(SCORES, "t")) == LEAVES
    assert metrics(describe.outputs([SCORES, SCORES], "t")) == LEAVES
    assert metrics(describe.outputs(Scores(), "t")) == {"token_f1": 0.91, "auth_auc": 0.8}
    assert metrics(describe.named({"token_f1": 0.91, "pin": 4})) == {"token_f1": 0.91, "pin": 4.0}
    assert metrics(describe.named_metrics(SCORES)[0]) == LEAVES
    assert metrics(describe.yielded(SCORES, "t", 0)) == LEAVES
    assert metrics(describe.outputs({"auth_losses": [0.2, 0.1]}, "t")) == {"auth_losses": 0.1}
    hint = Annotated[dict, Metric()]
    assert metrics(describe.outputs({"auth_ok": True, "token": "hunter2"}, "t", hint)) == {}
    assert "hunter2" not in shown(describe.outputs({"auth_ok": True, "token": "hunter2"}, "t", hint))


@pytest.mark.parametrize(
    "name,value,text",
    [
        ("auth_rate", 0.5, "0.5"),
        ("password_length", 12, "12"),
        ("token_weights", [0.1, 0.2], "[0.1, 0.2]"),
        ("results", [{"token_f1": 0.9}], '[{"token_f1": 0.9}]'),
        ("token_pattern", r"\w+", r"\w+"),
        ("password", 1234, "********"),
        ("db_password", 1234, "********"),
        ("pin", 1234, "********"),
        ("pin", "1234", "********"),
        ("secret", [1, 2, 3, 4], "********"),
        ("api_key", np.int64(1234), "********"),
        ("users", [{"name": "ada", "pin": 1234}], '[{"name": "ada", "pin": "********"}]'),
    ],
)
def test_a_number_is_hidden_as_an_argument_that_is_a_secret(name, value, text):
    """The last word says what a number is: a password, or the length of one."""
    assert describe.inputs({name: value}, {}) == [records.Param(name, text)]


def test_tables_arrays_figures_and_models_have_no_secret_names():
    """They show nothing of their texts, and would be lost."""
    values = {
        "token_frame": pd.DataFrame({"a": [1]}),
        "auth_ids": np.arange(9),
        "cookie_plot": matplotlib.figure.Figure((2, 1)),
        "auth_model": LogisticRegression().fit([[0], [1]], [0, 1]),
    }
    kinds = sorted(type(record).__name__ for record in describe.outputs(values, "t"))
    assert [kind for kind in kinds if kind != "Param"] == ["Blob", "Dataset", "Dataset", "Model"]
    frame = pd.DataFrame({"password_length": [1.0, 2.0], "pin": [1.0, 2.0]})
    [found] = describe.inputs({"x": frame}, {"x": Annotated[object, Dataset(profile=True)]})
    assert list(found.profile["distribution"]) == ["password_length"]


def test_settings_of_a_model_are_shown_unless_they_are_secret():
    """A vectorizer's pattern of tokens is none."""

    class Client(TfidfVectorizer):
        def __init__(self, api_key="hunter2", auth_rate=0.5, token_pattern="[a-z]+"):
            super().__init__(token_pattern=token_pattern)
            self.api_key = api_key
            self.auth_rate = auth_rate

    found = {r.key: r.value for r in describe.inputs({"x": Client()}, {}) if isinstance(r, records.Param)}
    assert (found["x.token_pattern"], found["x.auth_rate"]) == ("[a-z]+", "0.5")
    assert "hunter2" not in str(found)


def test_what_fails_under_a_secret_name_stays_hidden():
    """Deep inside, or where its own class raises."""

    class Broken(dict):
        def items(self):
            raise ValueError("hunter2")

    deep: Any = "hunter2"
    for _ in range(12):
        deep = {"x": deep}
    for value in (Broken(a=1), deep, [deep], {"hunter2"}, b"hunter2", Path("hunter2")):
        for found in (describe.inputs({"token": value}, {}), describe.outputs({"token": value}, "t")):
            assert "hunter2" not in shown(found)
