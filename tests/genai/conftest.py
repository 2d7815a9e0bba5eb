"""A language model's server, asked by the real client of OpenAI, whose calls MLflow traces."""

from __future__ import annotations

from collections.abc import Iterator

import mlflow
import openai
import pytest
from tests.genai.llm_server import LlmServer


@pytest.fixture
def llm() -> Iterator[LlmServer]:
    """The server; each test has one of its own."""
    with LlmServer() as server:
        yield server


@pytest.fixture
def ask(llm: LlmServer) -> Iterator[openai.OpenAI]:
    """The client of that server, which does not try again by itself; MLflow traces what it does."""
    mlflow.openai.autolog()
    with openai.OpenAI(base_url=llm.url, api_key="none", max_retries=0) as client:
        yield client
    mlflow.openai.autolog(disable=True)
