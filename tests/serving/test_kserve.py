"""`flowml serve-model --export kserve`: a version as an InferenceService of Kubernetes."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from tests.serving.conftest import Churn
from tests.serving.test_serve_model import bring_a_pickle

from flowml.cli import app
from flowml.errors import ServingError, SettingsError
from flowml.serving.engines.cluster import check_installed
from flowml.serving.engines.kserve import name_of, readable

SCHEMA = json.loads((Path(__file__).parent / "inference_service.json").read_text())
VALID = Draft202012Validator(SCHEMA, format_checker=Draft202012Validator.FORMAT_CHECKER)
NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")  # of what KServe admits


def exported(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    """Run the command, and return what it wrote, which fits KServe's schema."""
    capsys.readouterr()
    app.app(["serve-model", "churn@champion", "--export", "kserve", *words], result_action="return_value")
    told = yaml.safe_load(capsys.readouterr().out)
    assert [error.message for error in VALID.iter_errors(told)] == []
    return dict(told)


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Run the command, which ends with 2, and return what it said."""
    with pytest.raises(SystemExit) as ended:
        app.app(["serve-model", "churn@champion", *words], result_action="return_value")
    assert ended.value.code == 2
    return capsys.readouterr().err


def test_a_version_becomes_an_inference_service(churn: Churn, capsys: pytest.CaptureFixture[str]) -> None:
    """It names MLflow's format, where the files are, how many replicas there are, and which version it is."""
    churn.promote(churn.add())
    told = exported(capsys, "--replicas", "2:10", "--storage-uri", "s3://models/churn/1", "--timeout", "30s")
    found = churn.client.get_model_version("churn", "1")
    assert told["metadata"] == {
        "name": "churn-champion",
        "annotations": {
            "flowml.model": "churn",
            "flowml.model_version": "1",
            "flowml.model_id": found.source.removeprefix("models:/"),
            "flowml.alias": "champion",
        },
    }
    predictor = told["spec"]["predictor"]
    assert (predictor["minReplicas"], predictor["maxReplicas"], predictor["timeout"]) == (2, 10, 30)
    assert predictor["model"]["modelFormat"] == {"name": "mlflow"}
    assert (predictor["model"]["protocolVersion"], predictor["model"]["storageUri"]) == ("v2", "s3://models/churn/1")


def test_files_that_a_cluster_cannot_fetch_are_refused(churn: Churn, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder of this machine is none for a cluster: it is said, with what to do."""
    churn.promote(churn.add())
    said = refused(capsys, "--export", "kserve")
    assert "they are in a folder of this machine" in said
    assert "--storage-uri s3://bucket/folder" in said
    assert "KServe reads s3://" in refused(capsys, "--export", "kserve", "--storage-uri", "ftp://somewhere/else")


@pytest.mark.parametrize(
    "there, read",
    [
        ("s3://bucket/1/models/m-1/artifacts", "s3://bucket/1/models/m-1/artifacts"),
        ("wasbs://box@account.blob.core.windows.net/1/m-1", "https://account.blob.core.windows.net/box/1/m-1"),
        ("abfss://box@account.dfs.core.windows.net/1/m-1", "https://account.blob.core.windows.net/box/1/m-1"),
    ],
)
def test_the_place_in_mlflow_is_where_kserve_looks(there: str, read: str) -> None:
    """A bucket is named as it is; one of Azure in KServe's own way."""
    assert readable(there, "1") == read


def test_files_that_only_mlflow_hands_out_are_refused() -> None:
    """What goes through MLflow's server has no address that KServe knows."""
    with pytest.raises(ServingError, match="which KServe does not understand"):
        readable("mlflow-artifacts:/1/models/m-1/artifacts", "1")


def test_a_pickle_is_exported_only_when_told_so(churn: Churn, capsys: pytest.CaptureFixture[str]) -> None:
    """What runs code of its own when it is loaded is refused, as it is for serving."""
    churn.promote(churn.add(spoil=bring_a_pickle))
    words = ("--export", "kserve", "--storage-uri", "gs://models/churn")
    assert "is saved by pickle" in refused(capsys, *words)
    exported(capsys, *words[2:], "--allow-pickle")


@pytest.mark.parametrize(
    "words, told",
    [
        (["--replicas", "2"], "--replicas 2 is for --engine ray and --export"),
        (["--engine", "ray", "--workers", "2"], "On a cluster say how many by --replicas 2"),
        (["--engine", "ray", "--replicas", "5:2"], "--replicas cannot be '5:2'"),
        (["--export", "kserve", "--replicas", "many"], "--replicas cannot be 'many'"),
        (["--storage-uri", "s3://models"], "is for --export"),
    ],
)
def test_options_that_do_not_fit_are_refused(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What says nothing to what is asked for is no option of it; the text names the one that is."""
    assert told in refused(capsys, *words)


def test_ray_serve_that_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """The text has the command that installs it."""
    monkeypatch.setitem(sys.modules, "ray", None)  # as Python marks what is not to be found
    with pytest.raises(SettingsError, match=r"pip install 'prefect-flowml\[ray-serve\]'"):
        check_installed()


@pytest.mark.parametrize(
    "text, name",
    [
        ("churn-champion", "churn-champion"),
        ("Customer Churn-champion", "customer-churn-champion"),
        ("prod.models.churn-3", "prod-models-churn-3"),
    ],
)
def test_a_name_is_one_that_kubernetes_takes(text: str, name: str) -> None:
    """Capitals become small, and what is neither letter nor digit a hyphen."""
    assert name_of(text) == name


def test_names_that_kubernetes_cannot_take_stay_apart() -> None:
    """Long names, and those of other letters, are shortened and get a part of a digest."""
    texts = ["x" * 80, "x" * 81, "客户流失-champion", "모델-champion", "1-champion", "küche-champion", "---"]
    names = [name_of(text) for text in texts]
    assert len(set(names)) == len(names)
    assert [name for name in names if not NAME.fullmatch(name) or len(name) > 36] == []
