"""The first models of a process: what is looked up for all models is looked up once."""

from __future__ import annotations

import functools
import threading
from concurrent.futures import ThreadPoolExecutor

import importlib_metadata
import pytest
from mlflow.utils import requirements_utils

from flowml.store.models import imports, log_model

AT_ONCE = 6


@pytest.fixture
def listings(monkeypatch) -> list[str]:
    """Let nothing be known of the installed packages, and note each thread that lists them."""
    seen: list[str] = []
    really = importlib_metadata.packages_distributions

    @functools.wraps(really)  # else the library refers to this module, and a model needs all that it imports
    def listed():
        seen.append(threading.current_thread().name)
        return really()

    monkeypatch.setattr(importlib_metadata, "packages_distributions", listed)
    monkeypatch.setattr(requirements_utils, "_MODULES_TO_PACKAGES", None)
    monkeypatch.setattr(imports, "_owners", {})
    return seen


def test_first_models_at_once_have_the_packages_listed_once(fit, listings):
    """Of tasks that end together with their first models, one has the installed packages listed and the others wait."""
    records = [fit("logistic").record() for _ in range(AT_ONCE)]
    together = threading.Barrier(AT_ONCE)

    def save(record):
        together.wait(timeout=30)
        return log_model.save(record)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        saved = list(pool.map(save, records))
    assert len(listings) == 1
    assert all("scikit-learn==" in (each.folder / "requirements.txt").read_text() for each in saved)
