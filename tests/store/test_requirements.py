from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess

import mlflow
import numpy as np
import pytest
from packaging.requirements import Requirement
from sklearn import compose, linear_model, pipeline, preprocessing

from flowml import records
from flowml.store.models import log_model


def listed(saved: log_model.SavedModel) -> list[str]:
    """What a saved model's requirements.txt asks for."""
    return (saved.folder / "requirements.txt").read_text().splitlines()


@pytest.mark.slow
def test_nothing_that_mlflow_infers_is_missing(any_model):
    """The list contains each package that MLflow finds by loading the model in a subprocess, at the same version."""
    saved = log_model.save(any_model.record())
    inferred = mlflow.models.infer_pip_requirements(str(saved.folder), any_model.flavor)
    assert set(inferred) <= set(listed(saved)), f"missing {sorted(set(inferred) - set(listed(saved)))}"


def test_each_requirement_is_pinned_to_what_is_installed(fit):
    """Each line pins one installed package, once, and MLflow itself comes first."""
    requirements = [Requirement(line) for line in listed(log_model.save(fit("random forest").record()))]
    assert requirements[0].name == "mlflow"
    assert len({requirement.name for requirement in requirements}) == len(requirements)
    for requirement in requirements:
        assert str(requirement.specifier) == f"=={importlib.metadata.version(requirement.name)}"


def test_conda_and_pip_ask_for_the_same(fit):
    """conda.yaml lists the pip requirements of requirements.txt in the same order."""
    saved = log_model.save(fit("xgboost classifier").record())
    conda = re.findall(r"^  - (\S+)$", (saved.folder / "conda.yaml").read_text(), flags=re.MULTILINE)
    assert conda == listed(saved)


@pytest.mark.parametrize(
    "name,packages",
    [
        ("logistic", {"scikit-learn", "skops"}),
        ("xgboost in a pipeline", {"scikit-learn", "xgboost"}),
        ("lightgbm booster", {"lightgbm"}),
        ("catboost classifier", {"catboost"}),
        ("least squares", {"statsmodels"}),
        ("python model round a model", {"cloudpickle", "scikit-learn", "scipy"}),
    ],
)
def test_the_libraries_that_a_model_needs_are_listed(fit, name, packages):
    """A model's list names its own library, that of its format, and those of the parts inside it."""
    named = {Requirement(line).name for line in listed(log_model.save(fit(name).record()))}
    assert packages <= {package.replace("xgboost-cpu", "xgboost") for package in named}


def test_a_model_does_not_ask_for_the_libraries_of_another(fit):
    """What else this process has loaded, such as Prefect or another model's library, is not listed."""
    fit("catboost classifier")
    names = {Requirement(line).name for line in listed(log_model.save(fit("logistic").record()))}
    assert names.isdisjoint({"catboost", "xgboost", "lightgbm", "statsmodels", "prefect", "flask", "sqlalchemy"})


def test_functions_held_by_a_model_bring_their_library():
    """A function inside a pipeline counts, as loading the pipeline imports the library that it lives in."""
    import statsmodels.tools.tools as sm_tools

    steps = compose.make_column_transformer((preprocessing.FunctionTransformer(sm_tools.add_constant), [0, 1]))
    model = pipeline.make_pipeline(steps, linear_model.Ridge()).fit(np.eye(4)[:, :2], np.arange(4))
    record = records.Model("m", model, "sklearn", trust=("statsmodels.tools.tools.add_constant",))
    assert any(line.startswith("statsmodels==") for line in listed(log_model.save(record)))


def test_saving_starts_no_process(fit, monkeypatch):
    """No kind of saving starts a subprocess."""

    def refuse(*_args, **_options):
        pytest.fail("a subprocess was started")

    names = ("logistic", "xgboost booster", "lightgbm classifier", "least squares", "python model")
    fitted = [fit(name) for name in names]  # LightGBM asks `lscpu` how many cores there are
    monkeypatch.setattr(subprocess, "Popen", refuse)
    monkeypatch.setattr(os, "fork", refuse)
    for each in fitted:
        log_model.save(each.record())
