"""A registered model with versions that need no files."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from mlflow import MlflowClient
from tests.events.conftest import environment  # noqa: F401 - fixtures of tests with MLflow's webhooks
from tests.events.test_webhooks import receiver, server  # noqa: F401

from flowml.store.backend.connection import connect


@pytest.fixture
def versions(project) -> Callable[[str, int], MlflowClient]:
    """Make a registered model with so many versions, and return the client of its store."""

    def make(name: str, count: int) -> MlflowClient:
        client = connect().client
        client.create_registered_model(name)
        for number in range(count):
            client.create_model_version(name, f"/models/{name}/{number + 1}")
        return client

    return make
