"""Secrets do not come out, by whatever way they went in."""

from __future__ import annotations

import dataclasses
from typing import Any

import pydantic
import pytest
from prefect.blocks.core import Block
from prefect.blocks.system import Secret

from flowml import describe, records

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
